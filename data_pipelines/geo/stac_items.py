"""STAC items: which of their assets hold the bands of a sensor, where those lie, and what the item tells of them.

Read are items of STAC 1.0 and 1.1, from a file or a server. Bands are told by name or common name (`eo:bands`, or
`bands` with `eo:common_name`).
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterator
from typing import Any, TypedDict

from data_pipelines.remote import ranges, references
from data_pipelines.remote.addresses import Address, Asset
from data_pipelines.schema import limits, typed_json
from data_pipelines.schema.band_selection import by_common_name, spelled
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import Sensor
from data_pipelines.schema.spec import Refused

_REMEDY = "expected a STAC item; name a raster instead, or download the item anew"
_TIFF = re.compile(r"image/(tiff|vnd\.stac\.geotiff)\b.*", re.IGNORECASE)
_PICTURES = {"thumbnail", "overview", "visual", "metadata"}  # roles of what no network is shown
# What of an item's properties goes on as tags of its rasters: the time, and what Sentinel-2's numbers mean.
_TAGS = re.compile(r"(start_)?datetime|.*processing_baseline")
_OFFSET_TAKEN_OFF = "earthsearch:boa_offset_applied"  # true: whatever the baseline says, the numbers carry no offset

_Band = TypedDict("_Band", {"name": str | None, "common_name": str | None, "eo:common_name": str | None}, total=False)


@dataclasses.dataclass(frozen=True)
class Item:
    """A STAC item.

    Attributes:
      path: where it is.
      name: its id.
      assets: by key, as the item has them.
      properties: as the item has them.
    """

    path: pathlib.Path
    name: str
    assets: dict[str, dict[str, Any]]
    properties: dict[str, Any]

    def tags(self) -> dict[str, str]:
        """What goes on as tags of its rasters; GDAL would cut names at a colon."""
        found = {
            key.replace(":", "_"): str(value)[:200]
            for key, value in self.properties.items()
            if _TAGS.fullmatch(key) and value
        }
        if self.properties.get(_OFFSET_TAKEN_OFF) is True:
            return {key: value for key, value in found.items() if "baseline" not in key}
        return found

    def bands(self, key: str) -> list[tuple[str, ...]]:
        """For each band of an asset its name and its common name, as far as the item tells them."""
        asset = self.assets[key]
        found = asset.get("eo:bands") or asset.get("bands") or []
        words = [(band.get("name"), band.get("common_name") or band.get("eo:common_name")) for band in found]
        return [tuple(word for word in some if word) for some in words]

    def located(self, key: str) -> pathlib.Path:
        """Where an asset lies. Raises Refused where there is none of this name, or it may not lie there."""
        if key not in self.assets:
            raise Refused(self.path, f"no asset {key[:60]!r}; expected some of {', '.join(self.assets)[:300]}")
        return references.followed(self.path, self.assets[key]["href"], f"a STAC item whose asset {key[:60]}")


_Asset = TypedDict(
    "_Asset",
    {
        "href": str,
        "type": str | None,
        "roles": list[str] | None,
        "eo:bands": list[_Band] | None,
        "bands": list[_Band] | None,
    },
    total=False,
)


class _Item(TypedDict):
    """What is read of an item."""

    type: str
    stac_version: str
    id: str
    properties: dict[str, Any]
    assets: dict[str, _Asset]


def read(path: pathlib.Path) -> Item:
    """The item at an address, or in a file.

    Raises:
      Refused: it cannot be had, is no item, or too large.
      InputError: its server fails.
    """
    plain = path if not isinstance(path, Address) else path.item if path.is_remote else path.path
    with ranges.refusing(plain):
        if isinstance(plain, Address):
            content = ranges.whole(plain, limits.ITEM_BYTES)
        else:
            content = typed_json.content(plain, _REMEDY, "a STAC item", limits.ITEM_BYTES)
        return _parsed(plain, typed_json.parse(content, plain, _REMEDY, finite=False))


def _parsed(path: pathlib.Path, fields: Any) -> Item:
    """The item that JSON holds. Raises InputError for what is none."""
    if not isinstance(fields, dict) or "stac_version" not in fields or fields.get("type") != "Feature":
        kind = str(fields.get("type"))[:40] if isinstance(fields, dict) else "a list"
        raise InputError(f"{path}: JSON of the type {kind}; {_REMEDY}")
    found = typed_json.convert(fields, _Item, path, _REMEDY, foreign=True)
    if len(found["assets"]) > limits.ITEM_ASSETS:
        raise InputError(f"{path}: {len(found['assets']):,} assets; expected at most {limits.ITEM_ASSETS:,}")
    for key, asset in found["assets"].items():
        if "href" not in asset:
            raise InputError(f"{path}: assets[{key[:60]!r}].href: missing; {_REMEDY}")
    return Item(path, found["id"], dict(found["assets"]), found["properties"])  # type: ignore[arg-type]


def is_item(path: pathlib.Path) -> bool:
    """Whether what a user names is a STAC item, of which the assets are still to be chosen.

    Files and addresses are told by their names; an address whose name tells nothing is asked for its first bytes.
    """
    if isinstance(path, Address) and path.assets:
        return False
    if isinstance(path, Address) and path.is_remote and not path.suffix:
        return ranges.beginning(path, 256).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{")
    return path.suffix.lower() in (".json", ".geojson")


def chosen(path: pathlib.Path, sensor: Sensor) -> Address:
    """The raster that consists of those assets of an item that hold the bands of a sensor.

    The one asset that holds all of them, or else for each band the one that holds it alone, or whose key is its name.
    GeoTIFFs count, and no pictures.

    Raises:
      InputError: a band is in no asset, or in several.
    """
    item = read(path)
    keys = [key for key, asset in item.assets.items() if _is_data(asset)]
    names = {key: tuple(_named(sensor, words) for words in item.bands(key)) for key in keys}
    whole = [key for key in keys if set(sensor.bands) <= set(names[key])]
    address = item.path if isinstance(item.path, Address) else Address.of(str(item.path.absolute()))
    if whole:
        return address.with_assets((_asset(_only(item, "all bands", whole), names),))
    found: dict[str, Asset] = {}
    for band in sensor.bands:
        having = [key for key in keys if band in names[key]]
        having = [key for key in having if len(names[key]) == 1] or having
        having = [key for key in having if _is_called(item, key, sensor, band)] or having
        if not having:
            there = ", ".join(dict.fromkeys(word for key in keys for words in item.bands(key) for word in words))
            raise InputError(
                f"{path}: a STAC item with no GeoTIFF of band {band}; expected {', '.join(sensor.bands)} of "
                f"{sensor.name}, found {there[:300] or 'no names of bands'}; name the assets that are meant, as in "
                f"{path.name}#{band}=ASSET,..."
            )
        key = _only(item, f"band {band}", having)
        found[key] = _asset(key, names)
    return address.with_assets(tuple(found.values()))


def names_of(item: Item, asset: Asset, count: int) -> tuple[str, ...]:
    """The names of the `count` bands of an asset: as its address has them, or else the item; empty where none has them.

    Raises Refused where the address has another number of them.
    """
    if asset.names and len(asset.names) != count:
        raise Refused(
            item.path,
            f"asset {asset.key} has {count} bands; expected {len(asset.names)}, as named in "
            f"{'+'.join(asset.names)}={asset.key}",
        )
    told = item.bands(asset.key)
    return asset.names or (tuple(words[0] if words else "" for words in told) if len(told) == count else ())


def _is_data(asset: dict[str, Any]) -> bool:
    kind, roles = asset.get("type"), set(asset.get("roles") or ())
    tiff = _TIFF.fullmatch(kind) if kind else re.search(r"\.tiff?([?#]|$)", asset["href"], re.IGNORECASE)
    return bool(tiff) and ("data" in roles or not roles & _PICTURES)


def _named(sensor: Sensor, words: tuple[str, ...]) -> str:
    """The sensor's name of a band, or its own."""
    return next(_names(sensor, words), words[0] if words else "")


def _names(sensor: Sensor, words: tuple[str, ...]) -> Iterator[str]:
    for word in words:
        if band := spelled(sensor, word) or by_common_name(sensor, word):
            yield band


def _is_called(item: Item, key: str, sensor: Sensor, band: str) -> bool:
    """Whether the key of an asset is one of the names of its band."""
    words = {word.casefold() for words in item.bands(key) for word in words}
    return key.casefold() in {*words, band.casefold()} or next(_names(sensor, (key,)), "") == band


def _only(item: Item, what: str, keys: list[str]) -> str:
    if len(keys) > 1:
        raise InputError(
            f"{item.path}: a STAC item with {what} in several assets, {', '.join(keys)[:300]}; name those that are "
            f"meant, as in {item.path.name}#{keys[0]}"
        )
    return keys[0]


def _asset(key: str, names: dict[str, tuple[str, ...]]) -> Asset:
    told = tuple(re.sub(r"[+,=#]", "_", name) for name in names[key])
    return Asset(key, told if all(told) else ())
