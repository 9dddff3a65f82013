"""Every JSON file that lcjax reads, damaged in every way, at every door that reads it: one line that names the file."""

import json
import pathlib
import shutil
from collections.abc import Callable, Iterator

import finished
import pytest

import lcjax
from data_pipelines.reading.dataset import open_dataset
from data_pipelines.schema.errors import InputError
from lcjax.cli.inventory import contents
from lcjax.engine import restore
from lcjax.reporting import run_reader
from lcjax.runs import checksums, goodput
from lcjax.runs import workdir as workdirs

Door = Callable[[pathlib.Path], object]


def opened(folder: pathlib.Path) -> object:
    dataset = open_dataset(folder.parents[1], "sample")
    return dataset.source("validation"), dataset.partitions


RUN: dict[str, Door] = {
    "restore": restore.restore,
    "load": lcjax.load,
    "card_of": restore.card_of,
    "report": lambda folder: run_reader.read([folder]),
    "info": contents.text,
    "goodput": lambda folder: goodput.summary(folder / goodput.FILE),
    "metrics": workdirs.read_metrics,
}
DATA: dict[str, Door] = {"open": opened, "info": contents.text}
# File of a workdir or of a data set -> what reads it.
FILES: dict[str, tuple[dict[str, Door], tuple[str, ...]]] = {
    "config.json": (RUN, ("restore", "load", "card_of", "report", "info")),
    "card.json": (RUN, ("restore", "card_of", "report", "info")),
    "checkpoints/best/*/meta/metadata": (RUN, ("restore", "card_of")),
    "checkpoints/best/*/checksums.json": (RUN, ("restore",)),
    "metrics.jsonl": (RUN, ("report", "info", "metrics")),
    "attempts.jsonl": (RUN, ("goodput",)),
    "evaluation/test/metrics.json": (RUN, ("report", "info")),
    "evaluation/test/checksums.json": (RUN, ("report", "info")),
    "description.json": (DATA, ("open", "info")),
    "statistics.json": (DATA, ("open", "info")),
    "partitions.json": (DATA, ("open", "info")),
}
DEEP = 100_000


def texts(text: str) -> Iterator[tuple[str, bytes]]:
    """A JSON text, or the first of many lines of it, with something wrong: what it is, and the new text."""
    first, _, rest = text.partition("\n") if text.startswith('{"') and "\n" in text else (text, "", "")
    fields = json.loads(first)

    def changed(value: object) -> bytes:
        return (json.dumps(value) + "\n" + rest).encode()

    keys = list(fields)
    for key in keys[:12] if "split" not in fields or "schema_version" in fields else ("step", "split"):
        yield f"{key} is gone", changed({name: value for name, value in fields.items() if name != key})
        wrong = 3.5 if isinstance(fields[key], str | dict | list) else [[]]
        yield f"{key} of another type", changed(fields | {key: wrong})
    # Half a line at the end of a log is what a kill leaves.
    if not rest:
        yield "cut short", text[: len(text) // 2].encode()
        yield "empty", b""
    numbers = [key for key in keys if type(fields[key]) in (int, float)]
    for key in numbers[-1:]:
        for what in ("NaN", "1e300", "-1e999", "9" * 5000):
            yield f"{key} is {what:.8}", changed(fields | {key: "@"}).replace(b'"@"', what.encode())
    yield "deep", changed(fields | {keys[-1]: "@"}).replace(b'"@"', b"[" * DEEP + b"]" * DEEP)
    yield "twice", changed(fields).replace(b"{", b'{"schema_version": 1, "schema_version": 1, ', 1)
    yield "half a pair", changed(fields | {keys[-1]: "@"}).replace(b'"@"', rb'"\ud800"')
    yield "Latin 1", b'{"\xe9": 1}\n' + rest.encode()
    yield "a list", b"[1, 2]\n" + rest.encode()
    if "schema_version" in fields:
        yield "another version", changed(fields | {"schema_version": 99})


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory) -> pathlib.Path:
    """A run that was trained and scored."""
    folder = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(trained, folder)
    shutil.rmtree(folder / "evaluation", ignore_errors=True)
    scored = finished.make_run(tmp_path_factory.mktemp("scored") / "run", 0)
    shutil.copytree(scored / "evaluation", folder / "evaluation")
    return folder


@pytest.mark.parametrize("name", FILES)
def test_what_is_wrong_with_a_file_is_said_in_one_line(name, run, data_dir, tmp_path):
    doors, chosen = FILES[name]
    source = run if doors is RUN else next(path.parent for path in data_dir.glob("**/description.json"))
    folder = tmp_path / "sample" / source.name
    shutil.copytree(source, folder)
    (path,) = folder.glob(name)
    whole = path.read_text()
    damage = list(texts(whole))
    for door in chosen:
        doors[door](folder)  # the premise
    for what, text in damage:
        path.write_bytes(text)
        if name.endswith("metadata"):  # else its checksum tells first
            checksums.write(path.parents[1], checksums.below(path.parents[1], exclude=("_CHECKPOINT_METADATA",)))
        for door in chosen if "deep" in what or "gone" in what else chosen[:1]:
            refused(doors[door], folder, path, f"{what}, {door}")
    path.unlink()
    path.mkdir()
    for door in chosen:
        refused(doors[door], folder, path, f"a folder, {door}")
    if name == "card.json":  # which may be missing: the checkpoint has its own
        path.rmdir()
        path.symlink_to("nothing")
        for door in ("restore", "card_of"):
            refused(doors[door], folder, path, f"a link that leads nowhere, {door}")


def refused(door: Door, folder: pathlib.Path, path: pathlib.Path, what: str) -> None:
    try:
        door(folder)
    except InputError as error:
        text = str(error)
        assert "\n" not in text and len(text) < 2000, what
        above = path.parents[1] if path.name == "metadata" else path.parent  # a checkpoint, of which it is a part
        assert str(path) in text or (str(above) in text and path.name in text), f"{what}: {text}"
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error!s:.300}") from error
    else:
        raise AssertionError(f"{what}: nothing was said")
