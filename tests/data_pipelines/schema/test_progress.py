"""Progress: a bar where somebody looks, else a line now and then."""

import itertools

from tqdm import tqdm

from data_pipelines.schema import progress


def test_lines_are_logged_now_and_then_and_nothing_is_drawn(monkeypatch, caplog, capsys):
    clock = itertools.count(0, 10)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(progress, "_is_watched", lambda: False)
    with caplog.at_level("INFO", "lcjax"):
        shown = progress.bar(range(8), desc="evaluate", unit=" tiles")
        assert list(shown) == list(range(8))
        for _ in range(4):
            shown.display()
    assert 1 <= len(caplog.messages) <= 3 and "evaluate: 8 of 8 tiles" in caplog.messages[0]
    assert capsys.readouterr().err == ""


def test_a_line_names_batches_and_bytes_as_one_would_say_them(monkeypatch):
    monkeypatch.setattr(progress, "_is_watched", lambda: False)
    assert str(progress.bar(total=66, desc="evaluate", unit=" batches")).startswith(
        "evaluate: 0 of 66 batches, ? batches/s"
    )
    loaded = progress.bar(total=3_000_000, desc="a.zip", unit="B", unit_scale=True)
    assert str(loaded).startswith("a.zip: 0.00 of 3.00MB, ?B/s")
    assert str(progress.bar(desc="chips", unit=" chips")).startswith("chips: 0 chips, ? chips/s")


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    assert type(progress.bar(range(2), disable=True)) is tqdm
