"""Rasters on servers, and those that are put together from several files, of which some lie on servers.

- an address of a GeoTIFF is that file;
- an address of a VRT, or a VRT of this machine that names files on servers, is the VRT with its sources;
- an address of a STAC item with assets is a stack of their bands: on the grid of the asset with the smallest pixels, to
  which the others are brought (bilinearly); all must be of the same ground.

GDAL sees each as a virtual folder (`data_pipelines.geo.virtual`), fetched by parts, and nothing else.
"""

import dataclasses
import logging
import pathlib
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags

from data_pipelines.geo import formats, grids, stac_items, virtual, vrt
from data_pipelines.geo.grids import Grid
from data_pipelines.remote import ranges
from data_pipelines.remote.addresses import Address, Asset
from data_pipelines.remote.ranges import Bytes, Held, Ranged
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused

_log = logging.getLogger("lcjax.data")

_VRT = "it.vrt"
_TYPES = {  # dtype -> what GDAL calls it
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32",
    "float32": "Float32", "float64": "Float64",
}  # fmt: skip

Open = Callable[[pathlib.Path], rasterio.DatasetReader]  # the one that checks: `raster_io.opened`


class _Local:
    """A file of this machine as `Bytes`."""

    def __init__(self, path: pathlib.Path):
        about = formats.check_regular(path)
        self._path, self.length, self.version = path, about.st_size, f"{about.st_mtime_ns} {about.st_size}"

    def parts(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """As of `Bytes`."""
        found = []
        with self._path.open("rb") as file:
            for offset, size in wanted:
                file.seek(offset)
                found.append(file.read(size))
        return found


@dataclasses.dataclass(frozen=True)
class _Parts:
    """What a raster consists of.

    Attributes:
      files: by their paths; a VRT is the first of its own.
      named: the names in a VRT -> paths.
      item: the STAC item that has them; None where there is none.
    """

    files: dict[pathlib.Path, Bytes]
    named: dict[tuple[str, bool], pathlib.Path] = dataclasses.field(default_factory=dict)
    item: stac_items.Item | None = None

    @property
    def version(self) -> str:
        """Changes where a file does, as far as that can be known."""
        return "; ".join(file.version for file in self.files.values())


def opened(path: pathlib.Path, open_one: Open) -> rasterio.DatasetReader:
    """An open raster of an address, or of a VRT that names files on servers.

    Args:
      path: of it.
      open_one: opens and checks one raster; it is used for each part.

    Raises:
      InputError: a part cannot be had, is no GeoTIFF, does not fit the others, or is not what it was.
    """
    parts = _parts(path)
    if isinstance(path, Address) and path.version and path.version != parts.version:
        raise InputError(f"{path}: {ranges.CHANGED}")
    sources = [place for place in parts.files if place != path]
    for place in sources or parts.files:
        formats.check_geotiff(place, parts.files[place].parts([(0, formats.HEAD)])[0])
    if not sources:
        return virtual.opened(path, {"it.tif": parts.files[path]}, "it.tif", "GTiff")
    for place in sources:
        open_one(place).close()
    names = {place: f"{number}.tif" for number, place in enumerate(sources)}
    if parts.item:
        content = _stack(path, parts.item, names, open_one)
    else:
        (content,) = parts.files[path].parts([(0, parts.files[path].length)])
        content = vrt.renamed(content, {key: names[place] for key, place in parts.named.items()})
    files = {name: parts.files[place] for place, name in names.items()}
    return virtual.opened(path, files | {_VRT: Held(content)}, _VRT, "VRT")


def files_of(path: pathlib.Path) -> list[pathlib.Path]:
    """The files of an address, or of a VRT that names files on servers. Raises InputError where they cannot be had."""
    return list(_parts(path).files)


def version(path: Address) -> str:
    """What an address is now, for `Address.of`. Raises InputError where it cannot be had."""
    return _parts(path).version


def _parts(path: pathlib.Path) -> _Parts:
    if isinstance(path, Address) and path.assets:
        item = stac_items.read(path)
        return _Parts({place: _bytes(place) for place in [item.located(a.key) for a in path.assets]}, item=item)
    if isinstance(path, Address):
        if not path.is_remote:
            raise Refused(path, "names no asset of the STAC item; expected some, as in ITEM.json#red,green,blue")
        file = Ranged(path)
        (head,) = file.parts([(0, formats.HEAD)])
        if b"<VRTDataset" not in head or head.startswith(tuple(formats.FORMATS)):
            return _Parts({path: file})
    content = vrt.content_of(path)
    named = vrt.named(path, content)
    return _Parts({path: Held(content)} | {place: _bytes(place) for place in named.values()}, named)


def _bytes(path: pathlib.Path) -> Bytes:
    return Ranged(path) if isinstance(path, Address) else _Local(path)


# ---- STAC items -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Band:
    """A band of an asset, as it goes into the stack.

    Attributes:
      file: its file in the virtual folder.
      index: of the band in it, from 1.
      name: empty where it has none.
      dtype: of its numbers.
      nodata: None where the file declares none.
      packing: scale and offset.
      colour: what it is: red, alpha, ...
      grid: on which it lies.
    """

    file: str
    index: int
    name: str
    dtype: str
    nodata: float | None
    packing: tuple[float, float]
    colour: ColorInterp
    grid: Grid


def _stack(path: pathlib.Path, item: stac_items.Item, names: dict[pathlib.Path, str], open_one: Open) -> bytes:
    """The VRT of a STAC item's assets, whose files have these names."""
    bands: list[_Band] = []
    masked: list[pathlib.Path] = []
    for asset in path.assets if isinstance(path, Address) else ():
        place = item.located(asset.key)
        with open_one(place) as dataset:
            bands += _bands(dataset, names[place], item, asset)
            if any({MaskFlags.per_dataset, MaskFlags.alpha} & set(flags) for flags in dataset.mask_flag_enums):
                masked.append(place)
    if masked and len(names) > 1:
        raise Refused(
            masked[0],
            "has a mask or an alpha band, which would not hold for the bands of other assets; expected none, or one "
            "asset alone",
        )
    finest = min(bands, key=lambda band: abs(band.grid.transform.determinant))
    places = {name: place for place, name in names.items()}
    like, grid = places[finest.file], finest.grid
    for place, other in {places[band.file]: band.grid for band in bands}.items():
        if different := grids.other_pixels(other, grid, like.name):
            raise Refused(place, f"{different}; expected assets of the same ground")
        if not grids.same_size(other, grid):
            _log.info("%s: brought to the pixels of %s (bilinear)", place, like.name)
    return _text(bands, grid, item.tags(), bool(masked))


def _bands(dataset: rasterio.DatasetReader, file: str, item: stac_items.Item, asset: Asset) -> list[_Band]:
    kinds = set(dataset.dtypes) - set(_TYPES)
    if kinds:
        raise Refused(virtual.path_of(dataset), f"{', '.join(sorted(kinds))}; expected whole or real numbers")
    data = [index for index, colour in zip(dataset.indexes, dataset.colorinterp, strict=True) if colour.name != "alpha"]
    names = stac_items.names_of(item, asset, len(data)) or tuple(dataset.descriptions[k - 1] or "" for k in data)
    called = dict(zip(data, names, strict=True))
    return [
        _Band(
            file, index, called.get(index, ""), dataset.dtypes[index - 1], dataset.nodatavals[index - 1],
            (dataset.scales[index - 1], dataset.offsets[index - 1]), dataset.colorinterp[index - 1], Grid.of(dataset),
        )
        for index in dataset.indexes
    ]  # fmt: skip


def _text(bands: Sequence[_Band], grid: Grid, tags: dict[str, str], masked: bool) -> bytes:
    """The VRT of a stack, as gdalbuildvrt -separate writes one."""
    root = ElementTree.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))

    def add(parent: ElementTree.Element, tag: str, text: object = None, **attributes: object) -> ElementTree.Element:
        element = ElementTree.SubElement(parent, tag, {key: str(value) for key, value in attributes.items()})
        element.text = None if text is None else str(text)
        return element

    if grid.crs:
        add(root, "SRS", grid.crs.to_wkt())
    if not grid.transform.is_identity:
        add(root, "GeoTransform", ", ".join(f"{number:.17g}" for number in grid.transform.to_gdal()))
    metadata = add(root, "Metadata")
    for key, value in tags.items():
        add(metadata, "MDI", value, key=key)

    def add_source(parent: ElementTree.Element, band: _Band, number: str) -> None:
        source = add(parent, "SimpleSource", resampling="bilinear")
        add(source, "SourceFilename", band.file, relativeToVRT=1)
        add(source, "SourceBand", number)
        for tag, size in (("SrcRect", band.grid), ("DstRect", grid)):
            add(source, tag, xOff=0, yOff=0, xSize=size.width, ySize=size.height)

    for number, band in enumerate(bands, 1):
        element = add(root, "VRTRasterBand", dataType=_TYPES[band.dtype], band=number)
        if band.name:
            add(element, "Description", band.name)
        if band.nodata is not None:
            add(element, "NoDataValue", np.format_float_positional(band.nodata, trim="-"))
        add(element, "ColorInterp", band.colour.name.capitalize())
        if band.packing != (1.0, 0.0):
            add(element, "Offset", f"{band.packing[1]:.17g}")
            add(element, "Scale", f"{band.packing[0]:.17g}")
        add_source(element, band, str(band.index))
    if masked and not any(band.colour == ColorInterp.alpha for band in bands):
        add_source(add(add(root, "MaskBand"), "VRTRasterBand", dataType="Byte"), bands[0], f"mask,{bands[0].index}")
    return ElementTree.tostring(root)
