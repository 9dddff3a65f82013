"""Progress: a bar where somebody looks, else a line now and then."""

import itertools

from tqdm import tqdm

from data_pipelines.schema import progress


def test_lines_are_logged_now_and_then_and_nothing_is_drawn(monkeypatch, caplog, capsys):
    clock = itertools.count(0, 10)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(progress, "_is_watched", lambda: False)
    with caplog.at_level("INFO", "lcjax"):
        shown = progress.bar(range(8), desc="evaluate", unit="tile")
        assert list(shown) == list(range(8))
        for _ in range(4):
            shown.display()
    assert 1 <= len(caplog.messages) <= 3 and "evaluate: 8 of 8 tiles" in caplog.messages[0]
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    assert type(progress.bar(range(2), disable=True)) is tqdm
