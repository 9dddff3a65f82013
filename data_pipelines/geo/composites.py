"""Rasters on servers, and those that are put together from several files, of which some lie on servers.

- an address of a GeoTIFF is that file;
- an address of a VRT, or a VRT of this machine that names files on servers, is the VRT with its sources;
- an address of a STAC item with assets is a stack of their bands: on the grid of the asset with the smallest pixels, to
  which the others are brought (bilinearly); all must be of the same ground.

GDAL sees each as a virtual folder (`data_pipelines.geo.virtual`), fetched by parts, and nothing else.
"""

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError

from data_pipelines.geo import formats, grids, stac_items, virtual, vrt
from data_pipelines.geo.grids import Grid
from data_pipelines.remote import ranges
from data_pipelines.remote.addresses import Address, Asset
from data_pipelines.remote.ranges import Bytes, Held, Ranged
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused

_log = logging.getLogger("lcjax.data")

_VRT = "it.vrt"

Check = Callable[[pathlib.Path, rasterio.DatasetReader], None]  # raises Refused for a raster that is too large


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
      places: of its files; a VRT is the first of its own.
      held: those that were asked for already.
      named: the names in a VRT -> places.
      item: the STAC item that has them; None where there is none.
    """

    places: list[pathlib.Path]
    held: dict[pathlib.Path, Bytes] = dataclasses.field(default_factory=dict)
    named: dict[tuple[str, bool], pathlib.Path] = dataclasses.field(default_factory=dict)
    item: stac_items.Item | None = None

    def files(self) -> dict[pathlib.Path, Bytes]:
        """The files by their places, as they are now."""
        return {place: self.held.get(place) or _bytes(place) for place in self.places}


def opened(path: pathlib.Path, check: Check) -> rasterio.DatasetReader:
    """An open raster of an address, or of a VRT that names files on servers.

    Args:
      path: of it.
      check: is asked about each part.

    Raises:
      InputError: a part cannot be had, is no GeoTIFF, does not fit the others, or is not what it was.
    """
    parts = _parts(path)
    files = parts.files()
    if isinstance(path, Address) and path.version and path.version != _version(files):
        raise InputError(f"{path}: {ranges.CHANGED}")
    sources = [place for place in files if place != path]
    for place in sources or files:
        formats.check_geotiff(place, files[place].parts([(0, formats.HEAD)])[0])
    if not sources:
        return _one(path, files[path], check)
    names = {place: f"{number}.tif" for number, place in enumerate(sources)}
    with contextlib.ExitStack() as stack:
        datasets = {place: stack.enter_context(_one(place, files[place], check)) for place in sources}
        if parts.item and isinstance(path, Address):
            content = _stack(path.assets, parts.item, names, datasets)
        else:
            content = files[path].parts([(0, files[path].length)])[0]
            content = vrt.renamed(content, {key: names[place] for key, place in parts.named.items()})
    whole = {name: files[place] for place, name in names.items()} | {_VRT: Held(content)}
    return virtual.opened(path, whole, _VRT, "VRT")


def files_of(path: pathlib.Path) -> list[pathlib.Path]:
    """The files of an address, or of a VRT that names files on servers. Raises InputError where they are not known."""
    return _parts(path).places


def looked_up(path: Address) -> tuple[str, list[pathlib.Path]]:
    """What an address is now, for `Address.of`, and what it stands for: the assets of a STAC item, or else itself.

    Raises InputError where it cannot be had.
    """
    parts = _parts(path)
    return _version(parts.files()), parts.places if parts.item else [path]


def _version(files: dict[pathlib.Path, Bytes]) -> str:
    """Changes where a file does, as far as that can be known."""
    return "; ".join(file.version for file in files.values())


def _parts(path: pathlib.Path) -> _Parts:
    if isinstance(path, Address) and path.assets:
        item = stac_items.read(path)
        return _Parts(list(dict.fromkeys(item.located(asset.key) for asset in path.assets)), item=item)
    if isinstance(path, Address):
        if not path.is_remote:
            raise Refused(path, "names no asset of the STAC item; expected some, as in ITEM.json#red,green,blue")
        file = Ranged(Address.of(path.text))  # `path` may be held to a version, but that is of all its files together
        (head,) = file.parts([(0, formats.HEAD)])
        if b"<VRTDataset" not in head or head.startswith(tuple(formats.FORMATS)):
            return _Parts([path], {path: file})
    content = vrt.content_of(path)
    named = vrt.named(path, content)
    if _same(path) in map(_same, named.values()):
        raise Refused(path, "a VRT that is a source of its own; expected other files; copy it to a GeoTIFF")
    return _Parts([path, *dict.fromkeys(named.values())], {path: Held(content)}, named)


def _same(path: pathlib.Path) -> object:
    """What two names of a file have in common: the version that an address is held to is no other file."""
    return path.file.url if isinstance(path, Address) else path.resolve()


def _bytes(path: pathlib.Path) -> Bytes:
    return Ranged(path) if isinstance(path, Address) else _Local(path)


def _one(path: pathlib.Path, file: Bytes, check: Check) -> rasterio.DatasetReader:
    """One GeoTIFF, open and checked."""
    try:
        dataset = virtual.opened(path, {"it.tif": file}, "it.tif", "GTiff")
    except RasterioError as error:
        raise formats.unreadable(path, error) from error
    try:
        check(path, dataset)
    except BaseException:
        dataset.close()
        raise
    return dataset


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


def _stack(
    assets: Sequence[Asset],
    item: stac_items.Item,
    names: dict[pathlib.Path, str],
    datasets: dict[pathlib.Path, rasterio.DatasetReader],
) -> bytes:
    """The VRT of a STAC item's assets, whose files have these names, and are open."""
    bands: list[_Band] = []
    for asset in assets:
        place = item.located(asset.key)
        bands += _bands(datasets[place], names[place], item, asset)
    hidden = {MaskFlags.per_dataset, MaskFlags.alpha}
    masked = [p for p, dataset in datasets.items() if any(hidden & set(flags) for flags in dataset.mask_flag_enums)]
    if masked and len(names) > 1:
        raise Refused(
            masked[0],
            "has a mask or an alpha band, which would not hold for the bands of other assets; expected none, or one "
            "asset alone",
        )
    grid_of = {place: Grid.of(dataset) for place, dataset in datasets.items()}
    like = min(grid_of, key=lambda place: abs(grid_of[place].transform.determinant))
    for place, grid in grid_of.items():
        if different := grids.other_pixels(grid, grid_of[like], like.name):
            raise Refused(place, f"{different}; expected assets of the same ground")
        if not grids.same_size(grid, grid_of[like]):
            _log.info("%s: brought to the pixels of %s (bilinear)", place, like.name)
    return _text(bands, grid_of[like], item.tags(), bool(masked))


def _bands(dataset: rasterio.DatasetReader, file: str, item: stac_items.Item, asset: Asset) -> list[_Band]:
    kinds = set(dataset.dtypes) - set(vrt.TYPES)
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
        element = add(root, "VRTRasterBand", dataType=vrt.TYPES[band.dtype], band=number)
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
