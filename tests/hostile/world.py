"""The well-behaved world that hostile inputs are made from: a tiny data set, a network, a map, an export."""

import pathlib
import time

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
    with rasterio.open(folder / "maps" / "map.tif") as dataset:
        assert dataset.shape == (64, 64)
    return corpus.World(folder, port)
