"""Ways to read the same records: from prepared shards, from shards otherwise compressed, and from GeoTIFFs.

The records are synthetic, of the shapes, types and files of SEN12MS and FLAIR-1. The GeoTIFFs lie in the published
layout; the shards are what `prepare` makes of them.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import rasterio
import tensorflow_datasets as tfds
from array_record.python import array_record_data_source, array_record_module
from rasterio.transform import Affine
from tensorflow_datasets.core import example_serializer

from data_pipelines.datasets.sample import make
from data_pipelines.prepare import shard_writer
from data_pipelines.reading.dataset import PreparedDataset, open_dataset
from data_pipelines.reading.interfaces import Source


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of record.

    Attributes:
      title: for people.
      draw: number -> {file: (H, W, bands)}.
      images: the paths of the images by file, with the number to be filled in.
      label: the same of the one file whose first band is the label.
      crs: of the files.
      crop: edge in pixels of the crops of the loader.
    """

    title: str
    draw: Callable[[int], dict[str, np.ndarray]]
    images: dict[str, str]
    label: dict[str, str]
    crs: str
    crop: int

    def paths(self, root: pathlib.Path, number: int) -> dict[str, pathlib.Path]:
        """The files of one record, the label last."""
        return {name: root / path.format(number) for name, path in (self.images | self.label).items()}


_SYMMETRIES = 8  # of a square: drawing is slow, and what is turned or mirrored is as hard to compress


def _drawn(draw: Callable[[int], dict[str, np.ndarray]], number: int) -> dict[str, np.ndarray]:
    one, symmetry = divmod(number, _SYMMETRIES)
    turns, mirrored = divmod(symmetry, 2)
    arrays = {name: np.rot90(array, turns) for name, array in draw(one).items()}
    return {name: array[::-1] if mirrored else array for name, array in arrays.items()}


_SEASON, _ZONE = "ROIs1158_spring", "D004_2021/Z10_AU"
KINDS = {
    "sen12ms": Kind(
        title="SEN12MS-like: 256 x 256 pixels, S1 2 x float32, S2 13 x uint16, land cover 4 x uint8",
        draw=functools.partial(_drawn, functools.lru_cache(1)(functools.partial(make.tile_arrays, 0, "unlabelled"))),
        images={name: f"{_SEASON}/{name}_1/{_SEASON}_{name}_1_p{{}}.tif" for name in ("s1", "s2")},
        label={"lc": f"{_SEASON}/lc_1/{_SEASON}_lc_1_p{{}}.tif"},
        crs="EPSG:32631",
        crop=224,
    ),
    "flair1": Kind(
        title="FLAIR-1-like: 512 x 512 pixels, image 5 x uint8, mask uint8",
        draw=functools.partial(_drawn, functools.lru_cache(1)(functools.partial(make.patch_arrays, 0, 2))),
        images={"img": f"flair_aerial_train/{_ZONE}/img/IMG_{{:06d}}.tif"},
        label={"msk": f"flair_labels_train/{_ZONE}/msk/MSK_{{:06d}}.tif"},
        crs=make.FLAIR_CRS,
        crop=224,
    ),
}

# GDAL's creation options: those of plain deflate are the defaults, the others gave the fastest deflate of those tried.
GEOTIFFS: dict[str, dict[str, Any]] = {
    "geotiff": {},
    "geotiff_deflate": {"compress": "deflate"},
    "geotiff_deflate_bands": {"compress": "deflate", "interleave": "band", "blockysize": 512},
}
# Shards otherwise written: options of ArrayRecord, encoding of TFDS, and at most how many records (some are slow).
_BYTES, _ZLIB, _NONE = tfds.features.Encoding.BYTES, tfds.features.Encoding.ZLIB, tfds.features.Encoding.NONE
VARIANTS = {
    "shards_zstd": ("group_size:1", _BYTES, 64),
    "shards_snappy": ("group_size:1,snappy", _BYTES, 64),
    "shards_zlib": (shard_writer.OPTIONS, _ZLIB, 16),
    "shards_numbers": (shard_writer.OPTIONS, _NONE, 8),
}


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to read records.

    Attributes:
      read: number -> record.
      count: of records.
      raw: bytes of the arrays of one record.
      disk: bytes of one record on disk.
    """

    read: Callable[[int], Any]
    count: int
    raw: float
    disk: float


def write_geotiffs(kind: Kind, folder: pathlib.Path, records: int) -> None:
    """Writes FOLDER/VARIANT/..., each variant of GEOTIFFS in the published layout."""
    for number in range(records):
        arrays = kind.draw(number)
        for variant, options in GEOTIFFS.items():
            for name, path in kind.paths(folder / variant, number).items():
                path.parent.mkdir(parents=True, exist_ok=True)
                height, width, count = arrays[name].shape
                profile = {"height": height, "width": width, "count": count, "dtype": arrays[name].dtype}
                place = {"crs": kind.crs, "transform": Affine(10.0, 0.0, 9.5e5, 0.0, -10.0, 6.3e6)}
                with rasterio.open(path, "w", driver="GTiff", **profile, **place, **options) as file:
                    file.write(np.moveaxis(arrays[name], 2, 0))


def ways_of(name: str, folder: pathlib.Path, records: int) -> dict[str, Way]:
    """Every way to read the records that lie in `folder`: GeoTIFFs, and shards prepared from them."""
    kind, dataset = KINDS[name], open_dataset(folder, name)
    source, rgb = source_of(dataset), source_of(open_dataset(folder, name, bands="rgb"))
    plain = tfds.builder_from_directory(dataset.folder).as_data_source(next(iter(dataset.splits)))
    disk = _size(dataset.folder.glob("*.array_record*")) / records
    ways = {
        "shards": Way(source.__getitem__, records, _raw(source[0]), disk),
        "shards_rgb": Way(rgb.__getitem__, records, _raw(rgb[0]), disk),
        "shards_tfds": Way(plain.__getitem__, records, _raw(source[0]), disk),
    }
    ways |= {key: _variant(key, folder, source) for key in VARIANTS}
    for key, read, variant in (
        *((variant, read_plainly, variant) for variant in GEOTIFFS),
        ("torchgeo_style", read_as_torchgeo, "geotiff"),
        ("torchgeo_style_deflate", read_as_torchgeo, "geotiff_deflate"),
    ):
        root = folder / variant
        ways[key] = Way(
            functools.partial(read, kind, root), records, _raw(kind.draw(0)), _size(root.rglob("*.tif")) / records
        )
    return ways


def read_plainly(kind: Kind, root: pathlib.Path, number: int) -> dict[str, np.ndarray]:
    """One record from GeoTIFFs as they are, (bands, H, W); of the label its first band, (H, W)."""
    record = {}
    for name, path in kind.paths(root, number).items():
        with rasterio.open(path) as file:
            record[name] = file.read() if name in kind.images else file.read(1)
    return record


def read_as_torchgeo(kind: Kind, root: pathlib.Path, number: int) -> dict[str, np.ndarray]:
    """The same with what torchgeo's data sets do beside: whole files, all bands in one float32 image, int64 labels.

    With NumPy instead of tensors. After torchgeo.datasets.SEN12MS and FLAIR2.
    """
    arrays = []
    for path in kind.paths(root, number).values():
        with rasterio.open(path) as file:
            arrays.append(file.read())
    *images, label = arrays
    return {"image": np.concatenate([image.astype(np.float32) for image in images]), "mask": label.astype(np.int64)}


def _variant(key: str, folder: pathlib.Path, source: Source) -> Way:
    """Writes the images and labels of a source once more, as one shard, and reads it with TFDS."""
    options, encoding, most = VARIANTS[key]
    count = min(len(source), most)
    first = images(source[0])
    tensors = {
        name: tfds.features.Tensor(shape=array.shape, dtype=array.dtype, encoding=encoding)
        for name, array in first.items()
    }
    features = tfds.features.FeaturesDict(tensors)
    serialiser = example_serializer.ExampleSerializer(features.get_serialized_info())
    path = folder / f"{key}.array_record"
    writer = array_record_module.ArrayRecordWriter(str(path), options)
    for number in range(count):
        example = serialiser.get_tf_example(features.encode_example(images(source[number])))
        writer.write(example.SerializeToString(deterministic=True))
    writer.close()
    stored = array_record_data_source.ArrayRecordDataSource(str(path))

    def read(number: int) -> Mapping[str, np.ndarray]:
        return features.deserialize_example_np(stored[number])

    return Way(read, count, _raw(first), _size([path]) / count)


def images(record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The parts of a record that have pixels."""
    return {key: value for key, value in record.items() if key != "id" and value.ndim > 1}


def source_of(dataset: PreparedDataset) -> Source:
    """The records of the first split."""
    return dataset.source(next(iter(dataset.splits)))


def _raw(record: Mapping[str, Any]) -> int:
    return sum(array.nbytes for array in images(record).values())


def _size(paths: Iterable[pathlib.Path]) -> int:
    return sum(path.stat().st_size for path in paths)
