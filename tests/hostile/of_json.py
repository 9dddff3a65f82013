"""JSON of others: of prepared data sets, of workdirs and their checkpoints, of exports; and their binary neighbours."""

import json
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import damage
import numpy as np
from corpus import Asked, Case, Place, seeded

# Values of the wrong kind, or far away.
VALUES: dict[str, Any] = {
    "null": None,
    "list": [],
    "object": {},
    "text": "x",
    "true": True,
    "minus": -1,
    "huge": 1e300,
    "nan": float("nan"),
    "inf": float("inf"),
    "long": "é" * 200_000,
    "style": "red;background:url(http://127.0.0.1:9/)",
    "parent": "../../../../etc/passwd",
    "zero": 0,
}
TEXTS: dict[str, bytes] = {
    "deep": b"[" * 200_000,
    "empty": b"",
    "binary": bytes(range(256)),
    "number": b"1",
    "list": b"[]",
    "object": b"{}",
    "utf16": '{"a": 1}'.encode("utf-16"),
    "digits": b'{"schema_version": ' + b"9" * 10_000 + b"}",
    "twice": b'{"schema_version": 1, "schema_version": 2}',
}


def _leaves(value: Any, path: tuple = ()) -> list[tuple]:
    """Where in a JSON value something stands that may be replaced."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    return [p for key, one in inner for p in ((*path, key), *_leaves(one, (*path, key)))]


def change_one(path: pathlib.Path, rng: np.random.Generator, value: Any, *, remove: bool = False) -> str:
    """Replaces or removes one value, anywhere; returns where."""
    lines = path.suffix == ".jsonl"
    fields = json.loads(path.read_text().splitlines()[0] if lines else path.read_text())
    where = _leaves(fields)
    chosen = where[rng.integers(len(where))]
    holder = fields
    for key in chosen[:-1]:
        holder = holder[key]
    if remove:
        del holder[chosen[-1]]
    else:
        holder[chosen[-1]] = value
    path.write_text(json.dumps(fields) + "\n")
    return "/".join(map(str, chosen))


# Files by the part of the world that holds them, and the verb that reads them.
def _info(place: Place, part: pathlib.Path) -> list[str]:
    return ["info", str(part)]


def _report(place: Place, part: pathlib.Path) -> list[str]:
    return ["report", f"--workdirs={part}", f"--output={place.target / 'report'}"]


def _predict(place: Place, part: pathlib.Path) -> list[str]:
    return place.predict(place.world.folder / "scene.tif", part)


def _evaluate(place: Place, part: pathlib.Path) -> list[str]:
    return ["evaluate", f"--workdir={part}", f"--data_dir={place.world.folder}/data"]


def _train(place: Place, part: pathlib.Path) -> list[str]:
    return [
        "train",
        "--config=rasters:data=rasters/x,tiny=true",
        f"--workdir={place.target}/new",
        f"--config.data_dir={part}",
        "--config.total=1 steps",
        "--config.batch_size=2",
    ]


Door = Callable[[Place, pathlib.Path], list[str]]
DATA = "rasters/x/1.0.0"
FILES: dict[str, tuple[str, Door]] = {
    "config.json": ("run", _report),
    "card.json": ("run", _predict),
    "attempts.jsonl": ("run", _report),
    "metrics.jsonl": ("run", _report),
    "evaluation/test/metrics.json": ("run", _report),
    f"{DATA}/description.json": ("data", _train),
    f"{DATA}/statistics.json": ("data", _train),
    f"{DATA}/dataset_info.json": ("data", _train),
    f"{DATA}/features.json": ("data", _train),
    f"{DATA}/partitions.json": ("data", _train),
}
CHECKPOINTS = "checksums.json", "_CHECKPOINT_METADATA", "meta/metadata", "model/_METADATA", "model/_sharding"


def _names(name: str, part: str) -> tuple[str, ...]:
    last = pathlib.Path(name).name
    return (last, pathlib.Path(name).parent.name or last, "checkpoint", part, "report", "config.")


def _changed(name: str, value: Any, *, remove: bool = False) -> Callable[[Place], Asked]:
    part, door = FILES[name]

    def make(place: Place) -> Asked:
        copied = place.copy(part, place.target)  # a verb may add to it
        change_one(copied / name, place.rng, value, remove=remove)
        return Asked(door(place, copied), _names(name, part), "either")

    return make


def _replaced(name: str, content: bytes) -> Callable[[Place], Asked]:
    part, door = FILES[name]

    def make(place: Place) -> Asked:
        copied = place.copy(part, place.target)
        (copied / name).write_bytes(content)
        lines = name.endswith(".jsonl")
        return Asked(door(place, copied), _names(name, part), "either" if lines else "refuse")

    return make


def _damaged(pattern: str, part: str, door: Door) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        copied = place.copy(part, place.target)
        found = sorted(path for path in copied.glob(pattern) if path.is_file())
        path = found[place.rng.integers(len(found))]
        how = damage.TEXT[place.rng.integers(len(damage.TEXT))]
        how(path, place.rng)
        return Asked(door(place, copied), (path.name, path.parent.name, "checkpoint", path.parts[-3]), "either")

    return make


def _map_of_legend(value: Any) -> Callable[[Place], Asked]:
    """A map whose own tags say what its classes are called."""

    def make(place: Place) -> Asked:
        import rasterio

        path = place.copy("maps", place.target) / "map.tif"
        with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
            dataset.update_tags(LCJAX_CLASSES=json.dumps({"1": value}), LCJAX_LEGEND=str(value)[:1000])
            dataset.update_tags(1, CLASS_1=str(value)[:5000])
        return Asked(["report", f"--maps={path}", f"--output={place.target / 'report'}"], ("map.tif",), "either")

    return make


def cases() -> Iterable[Case]:
    for name in FILES:
        for k, (kind, value) in enumerate(VALUES.items()):
            yield Case(f"{name}: a value is {kind}", _changed(name, value), k)
        yield from seeded(f"{name}: a value is missing", _changed(name, None, remove=True), 4)
        yield from (Case(f"{name}: all of it is {kind}", _replaced(name, text)) for kind, text in TEXTS.items())
    for name in CHECKPOINTS:
        yield from seeded(f"checkpoint: {name}", _damaged(f"checkpoints/best/*/{name}", "run", _predict), 4)
    yield from seeded("checkpoint: any file", _damaged("checkpoints/best/**/*", "run", _predict), 20)
    yield from seeded("shard", _damaged(f"{DATA}/*.array_record*", "data", _train), 16)
    yield from seeded("any file of a workdir", _damaged("**/*", "run", _report), 16)
    yield from seeded(
        "any file beside a map",
        _damaged(
            "*", "maps", lambda place, part: ["report", f"--maps={part}/map.tif", f"--output={place.target / 'report'}"]
        ),
        12,
    )
    yield from (Case(f"map whose legend is {kind}", _map_of_legend(value)) for kind, value in VALUES.items())
