"""`lcjax predict`: land-cover maps of whole scenes, by the network of a workdir."""

import pathlib
from collections.abc import Sequence

from data_pipelines.schema import limits, paths
from data_pipelines.schema.errors import InputError

HELP = """Map whole scenes with a trained network, or list what a classification run says of whole patches.

  lcjax predict --workdir=runs/unet --scene=s1=radar.tif,s2=optical.tif --bands=s1,s2 --output=maps/town.tif
  lcjax predict --workdir=runs/s2only --scene=optical.tif --offset=-1000 --output=maps/town.tif
  lcjax predict --workdir=runs/mine --scene=flight/ --output=maps/ --confidence --tta
  lcjax predict --workdir=runs/mine --scene=flight/ --output=maps/county.tif --mosaic=newest --sieve=9
  lcjax predict --workdir=runs/a,runs/b --scene=s2.tif --output=maps/farm.tif --aoi=farm.gpkg --mask=SCL.tif:cloud_high
  lcjax predict --workdir=runs/mine --scene=https://example.org/item.json --remote=example.org --output=maps/town.tif
  lcjax predict --workdir=runs/patches --split=test --output=patches.csv
  lcjax predict --workdir=runs/patches --scene=optical.tif --output=patches.gpkg

A scene is a GeoTIFF of any size (your own imagery also JPEG or PNG) with about the pixel size that the network was
trained on. It may lie on a server that --remote names: https://HOST/SCENE.tif, s3://BUCKET/SCENE.tif, a STAC item or a
STAC search; it may be an array in a Zarr store of this machine (docs/remote.md). --scene=FOLDER maps every raster in a
folder, --scene=LIST.csv every row of a list with a column for each sensor (s1,s2; of your own imagery image), and where
you like date and mask; then --output is a folder, and one bad scene does not stop the others. Two sensors are two
files on one grid; where their grids differ, --grid=s2 warps the other sensor onto that of s2. Bands
are found by the names in the file; where it names none, give them with --bands (a sensor named there, as in
--bands=before,after, has its own bands in their order). Sentinel-2 comes as digital numbers
(reflectance x 10000), Sentinel-1 as dB. Numbers of Sentinel-2 products since January 2022 (processing baseline 04.00)
lie 1000 too high for networks trained on SEN12MS or DFC2020: it is taken off where the metadata tells of it or
--offset=-1000 does, and a scene that looks so and says nothing is refused.

Neighbouring tiles overlap and are blended; the map does not depend on --batch_size or the number of devices. --tta
averages the answers over the eight flips and rotations of each tile, for eight times the work. Memory holds one row of
tiles, whatever the size of the scene. Killed and started again, the same command goes on where it was. Of several
processes (docs/launching.md) the first reads and writes, and the devices of all compute.

--aoi=FILE maps what lies in polygons of any CRS; --mask=FILE:NUMBERS leaves out pixels of a raster (Sentinel-2 scene
classes also by name) or polygons. --mosaic makes one map of all scenes on one grid: where they overlap, a pixel is of
the newest, or of the most confident. --sieve=9 gives regions of fewer than nine pixels the class of a neighbour.
Several --workdir are an ensemble: the mean of their probabilities makes the map (docs/maps.md).

Pixels without data (no-data value, mask, NaN, or 0 in every band of a Sentinel sensor) are 255 in the map. Beside the
map MAP.tif (a cloud-optimised GeoTIFF with the legend's ids, names and colours) lie
  MAP.areas.csv          pixels and hectares of each class
  MAP.png                a picture to look at
  MAP.qml                style for QGIS
  MAP.tif.aux.xml        class names and colours for GDAL
  MAP.json               STAC item, if the scene's date is known or given by --date=2020-08-23
  MAP_confidence.tif     with --confidence: probability of the mapped class, 0 to 250 for 0 to 1
  MAP_probabilities.tif  with --probabilities: a band for each class, 0 to 250 for 0 to 1
  MAP_conformal.tif      with --conformal=0.9: how many and which classes a pixel may be of, with a coverage of 90 %
  MAP_mutual_information.tif  of several --workdir: how far the networks disagree, 0 to 250 for 0 to 1
  MAP_scene.tif          with --mosaic: the number of the scene that a pixel is of, told in MAP.scenes.csv
  MAP.gpkg               with --vector: the areas as polygons, with class, name and hectares, in the legend's colours
After `lcjax evaluate --calibrate` probabilities and sets are calibrated, and the map itself stays what it was
(docs/calibration.md). None of them replaces a scene, a file that a scene is read from, or a file that lcjax did not
write with this map.

A classification run (docs/classification.md) draws no map: it writes one table, --output=NAME.csv or NAME.gpkg (then
NAME.csv, too), with a row for each record of --split, or for each tile of --scene: place, labels and the probability of
each class. --split is a role of the run's config, as for `lcjax evaluate`: train, validation or test."""


_EXAMPLE = "lcjax predict --workdir=runs/unet --scene=scene.tif --output=map.tif"


_TABLE = "whose table holds the probability of every class"
# Flags of maps, what they are where nothing is asked, and why a classification run has none of it.
_OF_MAPS = {
    "overlap": (None, "whose tiles lie side by side"),
    "blend": ("linear", "whose tiles lie side by side"),
    "tta": (False, "which shows each tile as it is"),
    "confidence": (False, _TABLE),
    "probabilities": (False, _TABLE),
    "conformal": (0.0, "which is not calibrated"),
    "calibration": ("auto", "which is not calibrated"),
    "mosaic": (None, "whose table holds the tiles of every scene"),
    "sieve": (0, "whose tiles have no regions"),
    "aoi": (None, "whose table holds every tile"),
    "mask": (None, "whose table holds every tile"),
    "compress": ("deflate", "which writes no GeoTIFF"),
    "vector": (False, "whose table may be a GeoPackage: --output=NAME.gpkg"),
    "date": (None, "whose table tells no date"),
    "batch_size": (8, "whose config.evaluation_batch_size says how many tiles are shown at once"),
    "max_memory": (limits.STRIP_BYTES / 1e9, "which keeps no row of tiles"),
}
# Flags that tell of the files of scenes, and of prepared data, and what they are where they are not given.
_OF_SCENES: dict[str, object] = {"bands": [], "offset": None, "grid": "", "remote": []}
_OF_SPLITS: dict[str, object] = {"data_dir": None}


def define_flags(flags) -> None:
    """Defines the verb's flags on `flags` (absl.flags)."""
    flags.DEFINE_string(
        "workdir", None, "Folder of a training run; of several, A,B,C, the mean of the probabilities makes the map."
    )
    flags.DEFINE_string("scene", None, "Raster to map, or a folder or a LIST.csv of them; two sensors: s1=...,s2=...")
    flags.DEFINE_string("split", None, "Of a classification run: which records of its data set, e.g. test.")
    flags.DEFINE_string("data_dir", None, "Folder of the prepared data sets for --split, if not that of training.")
    flags.DEFINE_string(
        "output", None, "Map to write, a name that ends in .tif; a folder for several maps. Of patches .csv or .gpkg."
    )
    flags.DEFINE_list(
        "bands", [], "Band names in file order where the file names none; a sensor's name (s1, s2) means all its bands."
    )
    flags.DEFINE_float("offset", None, "Number added to the digital numbers of Sentinel-2, e.g. -1000.")
    flags.DEFINE_string("grid", "", "The sensor onto whose grid the others are warped (bilinear), if grids differ.")
    flags.DEFINE_list(
        "remote", [], "Servers and buckets that scenes may lie on, and nothing else is asked: HOST, HOST:PORT, "
        "s3://BUCKET, gs://BUCKET (docs/remote.md).",
    )  # fmt: skip
    flags.DEFINE_string("date", None, "When the scene was taken, e.g. 2020-08-23 or 2020-08-23T10:15:00Z.")
    flags.DEFINE_string(
        "aoi", None, "Area of interest: polygons, outside which nothing is mapped; FILE:LAYER where there are several."
    )
    flags.DEFINE_string(
        "mask", None, "What is not to be mapped: a raster, as in scl.tif:cloud_high,cloud_shadow or mask.tif:1,4-6, or "
        "polygons; or a folder with one for each scene.",
    )  # fmt: skip
    flags.DEFINE_enum(
        "mosaic", None, ["newest", "confidence"], "Make one map of all scenes: where they overlap, of the newest that "
        "has data there, or of the one with the highest confidence.",
    )  # fmt: skip
    flags.DEFINE_integer("sieve", 0, "Pixels of a region at least: smaller ones take the class of a neighbour.")
    flags.DEFINE_integer("overlap", None, "Pixels that neighbouring tiles share; by default a quarter of a tile.")
    flags.DEFINE_enum("blend", "linear", ["linear", "cosine"], "How the answers of tiles are mixed where they overlap.")
    flags.DEFINE_bool("tta", False, "Test-time augmentation: average over the eight flips and rotations of each tile.")
    flags.DEFINE_bool("confidence", False, "Write the probability of the mapped class, uint8.")
    flags.DEFINE_bool("probabilities", False, "Write the probability of every class, uint8.")
    flags.DEFINE_float(
        "conformal", 0.0, "Write the set of classes that holds the true one with this coverage, e.g. 0.9; 0 for none."
    )
    flags.DEFINE_enum(
        "calibration", "auto", ["auto", "off"], "Whether probabilities are calibrated: where the run is, or never."
    )
    flags.DEFINE_bool("vector", False, "Write the map as polygons, too: a GeoPackage beside it.")
    flags.DEFINE_enum("compress", "deflate", ["deflate", "lzw"], "Compression of the GeoTIFFs.")
    flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "Which checkpoint of the run.")
    flags.DEFINE_integer("batch_size", 8, "Tiles in one call of the network, for each device.")
    flags.DEFINE_float(
        "max_memory", limits.STRIP_BYTES / 1e9, "Gigabytes of memory that one row of tiles may take: wide scenes take "
        "more.", lower_bound=0.0,
    )  # fmt: skip


def run(flags) -> None:
    """Maps the scenes that `flags` (absl.flags.FLAGS, parsed) name. Raises InputError where something does not fit."""
    for name in ("workdir", "output"):
        if not getattr(flags, name):
            raise InputError(f"--{name}: not given; expected all of --workdir, --scene, --output, e.g. `{_EXAMPLE}`")
    from data_pipelines.remote import hosts
    from lcjax.engine import restore

    hosts.allow(*flags.remote)
    workdirs = [paths.given(text, "--workdir") for text in paths.several(flags.workdir, "--workdir")]
    output = paths.given(flags.output, "--output")
    which = [restore.classifies(workdir) for workdir in workdirs]
    classifies = any(which)
    if classifies and len(workdirs) > 1:
        raise InputError(
            f"--workdir={workdirs[which.index(True)]}: a classification run, beside others; expected it alone, for "
            "ensembles draw maps"
        )
    if flags.split and not classifies:
        raise InputError(
            f"--split={flags.split}: is for classification runs, and {flags.workdir} draws maps: name a --scene, e.g. "
            f"`{_EXAMPLE}`"
        )
    if bool(flags.scene) == bool(flags.split):
        asked = "either --scene or --split" if classifies else "all of --workdir, --scene, --output"
        raise InputError(
            f"--scene: {'given beside --split' if flags.scene else 'not given'}; expected {asked}, e.g. `{_EXAMPLE}`"
        )
    of_other, goes_with = (_OF_SCENES, "--scene") if flags.split else (_OF_SPLITS, "--split of a classification run")
    for name, silent in of_other.items():
        if getattr(flags, name) != silent:
            raise InputError(f"--{name}={getattr(flags, name)}: goes with {goes_with}; leave it out")
    if classifies:
        _classify(flags, workdirs[0], output)
    else:
        _map(flags, workdirs, output)


def _classify(flags, workdir: pathlib.Path, output: pathlib.Path) -> None:
    """Writes the table of a classification run."""
    from lcjax.mapping.classification import patches  # here, because maps do without what reads prepared data
    from lcjax.mapping.predict import SceneOptions

    for name, (silent, why) in _OF_MAPS.items():
        if getattr(flags, name) != silent:
            raise InputError(f"--{name}: {flags.workdir} is a classification run, {why}; leave it out")
    if flags.split:
        patches.write_split(workdir, flags.split, output, checkpoint=flags.checkpoint, data_dir=flags.data_dir)
        return
    options = SceneOptions(flags.bands, flags.offset, flags.grid)
    patches.write_scenes(workdir, flags.scene, output, options, checkpoint=flags.checkpoint)


def _map(flags, workdirs: Sequence[pathlib.Path], output: pathlib.Path) -> None:
    """Maps scenes."""
    from lcjax.mapping import scene_area
    from lcjax.mapping.acquisition import parse_date
    from lcjax.mapping.options import Options
    from lcjax.mapping.predict import SceneOptions, map_scenes
    from lcjax.parallel import multihost

    if flags.calibration == "off" and not (flags.confidence or flags.probabilities or flags.conformal):
        raise InputError(
            "--calibration=off: nothing of the probabilities is written, and classes are never calibrated; leave it "
            "out, or add --confidence or --probabilities"
        )
    options = Options(
        overlap=flags.overlap,
        blend=flags.blend,
        confidence=flags.confidence,
        probabilities=flags.probabilities,
        conformal=flags.conformal,
        mosaic=flags.mosaic or "",
        sieve=flags.sieve,
        calibrated=flags.calibration == "auto",
        vector=flags.vector,
        compress=flags.compress,
        batch_size=flags.batch_size,
        max_memory=flags.max_memory * 1e9,
    )
    with multihost.raise_on_all():
        aoi = scene_area.read_aoi(flags.aoi) if flags.aoi else None
    map_scenes(
        workdirs,
        flags.scene,
        output,
        options,
        SceneOptions(flags.bands, flags.offset, flags.grid, parse_date(flags.date), aoi),
        mask=flags.mask or "",
        checkpoint=flags.checkpoint,
        tta=flags.tta,
    )
