"""The well-behaved world that hostile inputs are made from: a tiny data set, a network, a map, an export."""

import csv
import pathlib
import sqlite3
import time

import classified
import corpus
import own
import rasterio
import runner
from rasterio.enums import ColorInterp


def make(folder: pathlib.Path, port: int) -> corpus.World:
    """Makes it with the verbs themselves; about half a minute."""
    source = folder / "source"
    interp = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.undefined]
    place = {"crs": "EPSG:32633"}
    for k in range(4):
        own.write(source / f"i{k}.tif", own.picture(k, 64, 64), interp=interp, names=("a", "b", "c"), **place)
        own.write(source / f"m{k}.tif", own.ids(k, 64, 64), **place)
    splits = ("train", "train", "validation", "test")
    rows = "".join(f"i{k}.tif,m{k}.tif,{split},g{k}\n" for k, split in enumerate(splits))
    (source / "rasters.csv").write_text("image,mask,split,group\n" + rows)
    (source / "legend.csv").write_text(own.LEGEND)
    own.write(folder / "scene.tif", own.picture(9, 64, 64), interp=interp, names=("a", "b", "c"), **place)
    (source / "one_row.csv").write_text("image,mask,split,group\n" + rows.partition("\n")[0] + "\n")
    classified.write_map(folder / "labelled.tif", classified.random_ids(64, 64))
    config = "rasters:data=rasters/x,tiny=true"
    for number, words in enumerate(
        (
            ["prepare", "--dataset=rasters/x", f"--source={source}", f"--data_dir={folder}/data", "--tile=64",
             "--workers=1"],
            ["prepare", "--dataset=rasters/x", f"--source={source}/one_row.csv", f"--data_dir={folder}/one_row",
             "--workers=1"],
            ["train", f"--config={config}", f"--workdir={folder}/run", f"--config.data_dir={folder}/data",
             "--config.total=4 steps", "--config.batch_size=2"],
            ["evaluate", f"--workdir={folder}/run"],
            ["predict", f"--workdir={folder}/run", f"--scene={folder}/scene.tif", f"--output={folder}/maps/map.tif"],
            ["export", f"--workdir={folder}/run", f"--output={folder}/export"],
            ["assess", f"--map={folder}/labelled.tif", "--sample", "--size=40", "--minimum=4",
             f"--output={folder}/sample"],
        )
    ):  # fmt: skip
        root = folder / "making" / str(number)
        (root / "home").mkdir(parents=True)
        pid, begun, outcome = runner.start(words, root, folder / "compiled"), time.monotonic(), None
        while outcome is None:
            outcome = runner.finish(pid, root, begun, 120)
            time.sleep(0.02)
        if outcome.code:
            raise RuntimeError(f"{words}: exit {outcome.code}: {outcome.err[-2000:]}")
    _label(folder / "sample")
    with rasterio.open(folder / "maps" / "map.tif") as dataset:
        assert dataset.shape == (64, 64)
    return corpus.World(folder, port)


def _label(folder: pathlib.Path) -> None:
    """Writes labels into the points of the sample, the classes in turn."""
    names = [name for name, _ in classified.CLASSES.values()]
    with open(folder / "points.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(folder / "points.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"label": names[at % 3]} for at, row in enumerate(rows))
    with sqlite3.connect(folder / "points.gpkg") as base:
        for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            base.execute(f'DROP TRIGGER "{name}"')
        for at, name in enumerate(names):
            base.execute("UPDATE points SET label = ? WHERE point % 3 = ?", (name, at))
