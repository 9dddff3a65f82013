"""Runs with trackers: TensorBoard with pictures and hyperparameters, Weights & Biases offline, MLflow in a file."""

import json
import pathlib
import re
import shutil
import struct

import pytest
from networks import small
from tensorboardX.proto.event_pb2 import Event

from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from lcjax.configs import dfc2020
from lcjax.training.run import train
from lcjax.training.trackers import mlflow_tracker, tensorboard_tracker
from lcjax.training.trackers.interface import Run


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


def of_the_log(workdir: pathlib.Path) -> list[tuple]:
    """The scalars that TensorBoard must hold."""
    return [
        (f"{row['split']}/{name}", row["step"], pytest.approx(value))
        for row in history(workdir)
        for name, value in row.items()
        if name not in ("step", "split") and value is not None
    ]


def test_tensorboard_has_the_curves_of_the_log(shown):
    there = [one for one in scalars(shown) if not one[0].startswith("clock/")]
    assert there == of_the_log(shown) and len(there) > 20


def test_tensorboard_has_each_row_when_it_was_told(tmp_path):
    """A kill, after which nothing is closed, loses none; the next start says from which step on all is told again."""
    board = tensorboard_tracker.TensorBoard(Run(tmp_path, {"seed": 1}, "OA"))
    assert board.begins_anew and len(events(tmp_path)) == 5  # the file's own, two of the start, two of the config
    board.scalars(1, {"train/loss": 2.0, "train/x y": 3.0})
    assert scalars(tmp_path) == [("train/loss", 1, 2.0), ("train/x_y", 1, 3.0)]
    again = tensorboard_tracker.TensorBoard(Run(tmp_path, {"seed": 1}, "OA", step=1))
    assert not again.begins_anew
    assert [event.step for event in events(tmp_path) if event.HasField("session_log")] == [1, 2]
    again.close(ended=False)
    board.close(ended=False)


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


def own_table() -> str:
    """The tracker of the docs."""
    page = (pathlib.Path(__file__).parents[3] / "docs" / "extending.md").read_text()
    (text,) = (block for block in page.split("```python\n")[1:] if block.startswith("# own_table.py"))
    return text.partition("```")[0]


def test_the_tracker_of_the_docs_works(data_dir, tmp_path, monkeypatch):
    (tmp_path / "own_table.py").write_text(own_table())
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_allowed", {"own_table"})
    train(tracked(data_dir, ["own_table:Table"], steps=2), tmp_path / "run")
    table = (tmp_path / "run" / "table.csv").read_text().splitlines()
    losses = {str(row["step"]): row["loss"] for row in history(tmp_path / "run") if row["split"] == "train"}
    assert {row.split(",")[0]: float(row.split(",")[2]) for row in table if ",train/loss," in row} == losses


def killed_and_gone_on(config, folder: pathlib.Path) -> None:
    """Trains to the end, takes the last checkpoint away as if it had been killed before, and goes on."""
    train(config, folder)
    steps = sorted(int(path.name) for path in (folder / "checkpoints" / "last").iterdir() if path.name.isdigit())
    shutil.rmtree(folder / "checkpoints" / "last" / str(steps[-1]))
    train(config, folder)


def wanted(workdir: pathlib.Path, split: str) -> dict[int, dict[str, float]]:
    """What a tracker must hold of a split: step -> values by name."""
    rows = [row for row in history(workdir) if row["split"] == split]
    return {
        row["step"]: {
            f"{split}/{key}": one for key, one in row.items() if key not in ("step", "split") and one is not None
        }
        for row in rows
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of SQLAlchemy, by MLflow
@pytest.mark.parametrize("store", ["file://{}/mlruns", pytest.param("sqlite:///{}/mlflow.db", marks=pytest.mark.slow)])
def test_mlflow_holds_a_run_that_was_killed_once_and_each_step_once(store, data_dir, tmp_path, monkeypatch):
    from mlflow.tracking import MlflowClient

    uri = store.format(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)  # beside a database it keeps pictures in the current folder
    killed_and_gone_on(tracked(data_dir, ["mlflow"], tracked_images=1), tmp_path / "run")
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("lcjax")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "run" and run.info.status == "FINISHED"
    assert run.data.params["optimizer.name"] == "adamw" and "data_dir" not in run.data.params
    for split in ("train", "validation"):
        for key in next(iter(wanted(tmp_path / "run", split).values())):
            told = [
                (point.step, point.value)
                for point in client.get_metric_history(run.info.run_id, mlflow_tracker.metric_key(key))
            ]
            there = [(step, values[key]) for step, values in wanted(tmp_path / "run", split).items() if key in values]
            assert [step for step, _ in told] == [step for step, _ in there], key
            assert [value for _, value in told] == pytest.approx([value for _, value in there]), key


def test_mlflow_finds_the_last_step_of_any_metric(tmp_path, monkeypatch):
    """The first metric of a split may be absent from its last steps, where it was not finite."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    begun = mlflow_tracker.MLflow(Run(tmp_path / "run", {"seed": 1}, "OA"))
    for step, values in ((1, {"train/a": 1.0, "train/b": 1.0}), (2, {"train/b": 1.0}), (3, {"train/c": 1.0})):
        begun.scalars(step, values)
    assert mlflow_tracker.MLflow(Run(tmp_path / "run", {}, "OA", 3, begun.id)).holds == {"train": 3}


def test_names_that_mlflow_does_not_take_stay_apart():
    names = ["IoU/a&b", "IoU/a+b", "IoU/a:26:b", "IoU/Wälder (nass)", "IoU/a b.c_d-e"]
    keys = [mlflow_tracker.metric_key(name) for name in names]
    assert len(set(keys)) == len(names) and keys[-1] == names[-1]
    assert all(re.fullmatch(r"[/\w.\- :]+", key, re.ASCII) for key in keys)


@pytest.fixture
def wandb_anew():
    """The package reads its settings once in a process."""
    import wandb

    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture
def offline(monkeypatch, wandb_anew):
    for name in ("WANDB_PROJECT", "WANDB_API_KEY", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")


def offline_rows(folder: pathlib.Path) -> tuple[str, list[dict]]:
    """The id of the run in an offline folder of Weights & Biases, and what was logged, in order.

    The file is a log as LevelDB has it: 7 bytes of its own, then blocks of 32 kB that begin with them, of parts with a
    checksum, a length and a kind (whole, first, middle, last).
    """
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("run-*.wandb")
    content, at, record, rows, name = path.read_bytes(), 7, b"", [], ""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind not in (1, 4):
            continue
        found, record = wandb_internal_pb2.Record.FromString(record), b""
        name = found.run.run_id or name
        if found.WhichOneof("record_type") == "history":
            items = found.history.item
            rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return name, rows


def test_weights_and_biases_offline_each_folder_holds_the_whole_run_under_one_id(offline, data_dir, tmp_path):
    killed_and_gone_on(tracked(data_dir, ["wandb"], tracked_images=1), tmp_path / "run")
    folders = sorted((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert len(folders) == 2
    ids = set()
    for folder in folders:
        name, rows = offline_rows(folder)
        ids.add(name)
        assert [row["_step"] for row in rows] == sorted({row["_step"] for row in rows})  # each once
        for split in ("train", "validation"):
            pictures = (f"{split}/confusion", f"{split}/tiles")
            told = {
                row["_step"]: {k: v for k, v in row.items() if k.startswith(f"{split}/") and not k.startswith(pictures)}
                for row in rows
            }
            assert {step: values for step, values in told.items() if values} == {
                step: pytest.approx(values) for step, values in wanted(tmp_path / "run", split).items()
            }
    assert len(ids) == 1
    assert list(folders[0].glob("files/media/images/validation/*.png"))


@pytest.mark.slow
def test_a_server_that_nobody_is_logged_in_to_loses_no_run(data_dir, tmp_path, monkeypatch, wandb_anew, capsys):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    train(tracked(data_dir, ["wandb"], steps=2), tmp_path / "run")
    out = capsys.readouterr().out
    assert out.count("warning: tracker wandb: nobody is logged in; run `wandb login`") == 1
    assert len(history(tmp_path / "run")) == 4


def test_a_run_that_has_ended_tells_what_was_missed(data_dir, tmp_path, monkeypatch, capsys):
    """By the same command again, to a tracker that could not be reached, or is named only now; and then no more."""
    folder = tmp_path / "run"
    (tmp_path / "own_table.py").write_text(own_table())
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_allowed", {"own_table"})
    config = tracked(data_dir, [], steps=2)
    train(config, folder)
    config.trackers = ["tensorboard", "own_table:Table"]
    for _ in range(2):
        train(config, folder)
        lines = (folder / "table.csv").read_text().splitlines()
        assert sum(",train/loss," in line for line in lines) == 2
        assert scalars(folder) == of_the_log(folder)
        assert sum(value.tag.startswith("_hparams_/") for event in events(folder) for value in event.summary.value) == 3


def test_a_server_that_does_not_answer_loses_no_run(data_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    train(tracked(data_dir, ["mlflow"], steps=2), tmp_path / "run")
    assert capsys.readouterr().out.count("warning: tracker mlflow: MlflowException: ") == 1
    assert len(history(tmp_path / "run")) == 4
