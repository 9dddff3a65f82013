"""Runs with trackers: TensorBoard with pictures and hyperparameters, Weights & Biases offline, MLflow in a file."""

import json
import pathlib
import struct

import pytest
from networks import small
from tensorboardX.proto.event_pb2 import Event

from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from lcjax.configs import dfc2020
from lcjax.training.run import train


def tracked(data_dir, trackers, steps=4, **fields):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir, steps)
    config.trackers = trackers
    config.update(fields)
    return config


def history(workdir: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def events(workdir: pathlib.Path) -> list[Event]:
    """What the event files of TensorBoard hold, in order."""
    found = []
    for path in sorted((workdir / "tensorboard").iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            found.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found


def scalars(workdir: pathlib.Path) -> list[tuple[str, int, float]]:
    values = [(event.step, value) for event in events(workdir) for value in event.summary.value]
    return [(value.tag, step, value.simple_value) for step, value in values if value.HasField("simple_value")]


@pytest.fixture(scope="module")
def shown(data_dir, tmp_path_factory) -> pathlib.Path:
    """A run whose pictures are tracked."""
    folder = tmp_path_factory.mktemp("shown") / "run"
    train(tracked(data_dir, ["tensorboard"], tracked_images=2), folder)
    return folder


def test_tensorboard_has_the_curves_of_the_log(shown):
    wanted = [
        (f"{row['split']}/{name}", row["step"], pytest.approx(value))
        for row in history(shown)
        for name, value in row.items()
        if name not in ("step", "split") and value is not None
    ]
    there = [one for one in scalars(shown) if not one[0].startswith("clock/")]
    assert there == wanted and len(wanted) > 20


def test_tensorboard_has_pictures_of_each_evaluation(shown):
    pictures = [
        (value.tag, event.step, value.image.encoded_image_string, (value.image.width, value.image.height))
        for event in events(shown)
        for value in event.summary.value
        if value.HasField("image")
    ]
    assert [one[:2] for one in pictures] == [
        (name, step) for step in (2, 4) for name in ("validation/confusion", "validation/tiles")
    ]
    for _, _, png, size in pictures:
        assert png[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", png[16:24]) == size and min(size) > 100


def test_tensorboard_has_the_hyperparameters_once(shown):
    tags = [value.tag for event in events(shown) for value in event.summary.value]
    begun = [tag for tag in tags if tag.startswith("_hparams_/")]
    assert begun == [f"_hparams_/{name}" for name in ("experiment", "session_start_info", "session_end_info")]
    data = next(
        value.metadata.plugin_data.content
        for event in events(shown)
        for value in event.summary.value
        if value.tag == "_hparams_/session_start_info"
    )
    assert b"optimizer.learning_rate" in data and b"data_dir" not in data


def test_pictures_change_no_number(shown, data_dir, tmp_path):
    train(tracked(data_dir, []), tmp_path / "plain")
    assert history(tmp_path / "plain") == history(shown)
    assert not (tmp_path / "plain" / "tensorboard").exists()


def test_pictures_that_a_run_cannot_have_are_said(data_dir, tmp_path, capsys):
    config = tracked(data_dir, [], steps=2, tracked_images=2)
    config.split.validation = ""
    train(config, tmp_path / "run")
    assert "config.tracked_images=2 does nothing: it needs a run that maps" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_package_that_is_missing_is_said_before_anything_begins(name, data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda found: None)
    with pytest.raises(InputError, match=rf"config.trackers='{name}': needs .* pip install 'lcjax\[{name}\]'"):
        train(tracked(data_dir, [name]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_tracker_of_the_docs_works(data_dir, tmp_path, monkeypatch):
    page = (pathlib.Path(__file__).parents[3] / "docs" / "extending.md").read_text()
    (text,) = (block for block in page.split("```python\n")[1:] if block.startswith('"""A tracker'))
    (tmp_path / "own_table.py").write_text(text.partition("```")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_allowed", {"own_table"})
    train(tracked(data_dir, ["own_table:Table"], steps=2), tmp_path / "run")
    table = (tmp_path / "run" / "table.csv").read_text().splitlines()
    losses = {str(row["step"]): row["loss"] for row in history(tmp_path / "run") if row["split"] == "train"}
    assert {row.split(",")[0]: float(row.split(",")[2]) for row in table if ",train/loss," in row} == losses
