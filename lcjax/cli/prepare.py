"""`lcjax prepare`: from the files that people download, or their own, to shards, statistics and pictures."""

import math
import os

from data_pipelines.datasets import registry as datasets
from data_pipelines.schema import limits, paths, plugins
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import DatasetFamily

HELP = """Turns a downloaded data set, or your own images and masks, into shards that training reads fast.

  lcjax prepare --dataset=dfc2020 --source=~/downloads/dfc2020 --data_dir=~/lcjax_data

--source is the folder as it was downloaded: files, archives (zip, tar, tar.gz) or both, nested or not. It checks every
file. A record with a file that is missing, truncated, damaged, of another size, band count or data type, with more NaN
or nodata than --max_nodata=0, or with a label outside the legend is refused by name: refused.csv lists id, file and
reason, and the rest goes on, unless more than the share --max_refused is refused.

It writes into DATA_DIR/NAME/VERSION: the shards (ArrayRecord, read by TensorFlow Datasets without TensorFlow),
statistics.json (records, pixels of each class, mean and deviation of each band, by split), description.json (bands,
scaling, classes), records.csv (each record: group, file, place and pixels of each class), partitions.json (other ways
to part it), refused.csv, and pictures: class_distribution.png, band_histograms.png and contact_sheet.png. Stopped or
killed, the same command goes on and ends in the same bytes. Done, it does nothing. What each data set needs and how it
is parted is told in data_pipelines/datasets/NAME/README.md, disk and hours in docs/data.md.

More examples:
  lcjax prepare --dataset=sample --source=build/sample --data_dir=build/data
  lcjax prepare --dataset=sen12ms --source=/data/sen12ms --data_dir=/data/shards --workers=16 --max_refused=0.01
  lcjax prepare --dataset=flair1 --source=~/downloads/flair-1 --data_dir=/data/shards
Sentinel-2 products from January 2022 on carry an offset; on many machines (docs/clusters.md):
  lcjax prepare --dataset=dfc2020 --source=new_places --data_dir=/data/shards --offset=-1000
  lcjax prepare --dataset=sen12ms --source=/mnt/sen12ms --data_dir=/mnt/shards --beam="--runner=SparkRunner ..."

Your own imagery (docs/own_data.md) is the data set rasters, or rasters/NAME for more than one: a CSV of images, masks
and splits, and a CSV of classes. --init looks for pairs in a folder and writes both; edit them, then prepare:
  lcjax prepare --dataset=rasters/town --source=photos --init
  lcjax prepare --dataset=rasters/town --source=photos --data_dir=data
  lcjax prepare --dataset=rasters/town --source=photos/some.csv --legend=classes.csv --tile=512 --data_dir=data
A mask is a raster, or polygons, lines or points: GeoPackage, GeoJSON, Shapefile or FlatGeobuf (docs/polygons.md).
Several sensors have a column each in place of image, such as s1,s2,mask,split,group; rows without a mask are places
without labels, in splits of their own. Where sensors have other pixels on the same ground, --resample brings them onto
the grid of the first. Images may lie on servers that --remote=HOST,... names: https://HOST/IMAGE.tif, or some assets of
a STAC item, https://HOST/ITEM.json#red,green,blue (docs/remote.md).
Images are cut into tiles of --tile= pixels; every labelled pixel is in one tile. Pixels without data (nodata, NaN,
mask, alpha) are neither trained on nor scored.
"""


def define_flags(flags) -> None:
    """Declares the verb's flags on absl's `flags` module."""
    known = ", ".join([*sorted(datasets.DATASETS), *(f"{family}/NAME" for family in datasets.FAMILIES)])
    flags.DEFINE_string("dataset", None, f"What is prepared: {known}, or package.module:attribute (a DatasetSpec).")
    flags.DEFINE_string(
        "source", None, "The folder with the files or archives, nested or not; for rasters also the CSV itself."
    )
    flags.DEFINE_string("data_dir", None, "The folder that holds prepared data sets; config.data_dir of training.")
    flags.DEFINE_integer(
        "workers", len(os.sched_getaffinity(0)), "Processes that read and write.", lower_bound=1,
        upper_bound=limits.MAX_WORKERS,
    )  # fmt: skip
    flags.DEFINE_float(
        "max_refused", 0.2, "The share of records (of rasters: of images) that may be refused.", lower_bound=0.0,
        upper_bound=1.0,
    )  # fmt: skip
    flags.DEFINE_float(
        "max_nodata", 0.0, "The share of the pixels of a file that may be NaN or nodata: filled with the mean of the "
        "others and not labelled. Not for rasters, which take any.", lower_bound=0.0, upper_bound=1.0,
    )  # fmt: skip
    flags.DEFINE_integer("offset", 0, "Added to Sentinel-2: -1000 for products from January 2022 on.")
    flags.DEFINE_string("beam", "", "Options of an Apache Beam pipeline that writes the shards (docs/clusters.md).")
    flags.DEFINE_string("legend", None, "For rasters: the CSV of classes, if it is not legend.csv beside the other.")
    flags.DEFINE_integer(
        "tile", None, "For rasters: edge of a tile in pixels; 256 where it is not given. Also with --init."
    )
    flags.DEFINE_bool(
        "resample", False, "For rasters of several sensors: images of other pixels on the same ground are brought onto "
        "the grid of the first sensor (bilinearly, as `lcjax predict --grid` does); without it they are refused.",
    )  # fmt: skip
    flags.DEFINE_list(
        "remote", [], "For rasters: servers and buckets that images may lie on, and nothing else is asked: HOST, "
        "HOST:PORT, s3://BUCKET, gs://BUCKET (docs/remote.md).",
    )  # fmt: skip
    flags.DEFINE_bool("init", False, "For rasters: only write the two CSVs, for you to edit, into the folder --source.")


def run(flags) -> None:
    """Prepares one data set and says what was written. Raises InputError for what the user can put right."""
    from data_pipelines.prepare import prepare
    from data_pipelines.remote import hosts

    needed = [("dataset", "sample"), ("source", "build/sample"), ("data_dir", "build/data")]
    for name, example in needed[:2] if flags.init else needed:
        if not getattr(flags, name):
            raise InputError(f"--{name} is missing; expected for example --{name}={example} (lcjax prepare --help)")
    source = paths.given(flags.source, "--source")
    own = {name: getattr(flags, name) for name in ("init", "legend", "tile", "resample", "remote")}
    plugins.allow_named_in({"dataset": flags.dataset})
    entry = datasets.entry(flags.dataset)
    if not isinstance(entry, DatasetFamily):
        for name in [name for name, value in own.items() if value]:
            raise InputError(f"--{name}: only for your own imagery (--dataset=rasters/NAME); leave it out")
    elif flags.init:
        entry.begin(entry.name, source, flags.tile)
        return
    for name in ("max_refused", "max_nodata"):
        if math.isnan(getattr(flags, name)):
            raise InputError(f"--{name}=nan: expected a share from 0 to 1")
    if flags.remote and flags.beam:
        raise InputError("--remote: beside --beam, whose machines are not told of it; expected one of them")
    hosts.allow(*flags.remote)
    options = {name: getattr(flags, name) for name in ("max_nodata", "offset") if getattr(flags, name)}
    prepare.prepare(
        flags.dataset,
        source,
        paths.given(flags.data_dir, "--data_dir"),
        workers=flags.workers,
        max_refused=flags.max_refused,
        options=options,
        beam=flags.beam,
        legend=paths.given(flags.legend, "--legend") if flags.legend else None,
        tile=flags.tile,
        resample=flags.resample,
    )
