"""What a raster file is by its content, before GDAL sees it, and whether all that GDAL would draw in is such a file.

GDAL goes by content, not by names, and some of its formats are programs: they name other files, servers, or files that
GDAL shall write. So a file is opened only as one of `FORMATS`, told by its first bytes; of the formats that name other
files, only plain VRTs are read, with sources in their own folder, below it, or on servers that the command line names
(`data_pipelines.geo.vrt`). The files that GDAL finds by their names beside a raster (.msk, .ovr, .aux.xml, ...) are
held to the same rule.

Nothing here needs GDAL, and nothing is opened that is not a regular file.
"""

import bisect
import functools
import os
import pathlib
import re
import stat

from data_pipelines.geo import vrt
from data_pipelines.remote.addresses import Address
from data_pipelines.schema import limits
from data_pipelines.schema.spec import Refused

# What a file begins with -> the drivers that may open it, the first that GDAL was built with. All are local formats.
_JPEG2000 = ("JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID", "JP2Lura")
FORMATS: dict[bytes, tuple[str, ...]] = {
    b"II*\0": ("GTiff",),
    b"MM\0*": ("GTiff",),
    b"II+\0": ("GTiff",),  # BigTIFF
    b"MM\0+": ("GTiff",),
    b"\x89PNG\r\n\x1a\n": ("PNG",),
    b"\xff\xd8\xff": ("JPEG",),
    b"\0\0\0\x0cjP  \r\n\x87\n": _JPEG2000,
    b"\xff\x4f\xff\x51": _JPEG2000,
    b"EHFA_HEADER_TAG": ("HFA",),
}
EXPECTED = "GeoTIFF, PNG, JPEG, JPEG 2000, ERDAS Imagine, ENVI or VRT"
# What is refused, for the message. Blanks and an XML declaration before it have been taken away.
_OTHERS = {
    rb"<MRF_META": "an MRF description, which may have GDAL write files",
    rb"<GDAL_WMTS|<Capabilities|<WMT_MS_Capabilities|<WMS_Capabilities": "a map service (WMTS, WMS)",
    rb"<GDAL_WMS": "a map service (WMS)",
    rb"<WCS_GDAL": "a coverage service (WCS)",
    rb"<GDALTileIndex": "a tile index (GTI)",
    rb"<": "an XML text",
    rb"[{\[]": "a JSON text (a STAC catalogue, say)",
    rb"SQLite format 3": "a database (GeoPackage, MBTiles)",
    rb"\0\0\x27\x0a": "a Shapefile",
    rb"CDF|\x89HDF": "netCDF or HDF5",
    rb"PK|\x1f\x8b|7z|Rar": "an archive",
    rb"GIF8": "a GIF",
    rb"BM": "a BMP",
    rb"RIFF": "a WebP",
    rb"%PDF": "a PDF",
    rb"GRIB": "GRIB",
    rb"NITF": "NITF",
}
# A file that another one names is opened by GDAL as whatever it takes it for, so it must not look like two things.
_PROGRAM = re.compile(
    rb"<\s*(VRTDataset|MRF_META|GDAL_W|GDALTile|WCS_|WMS_|WMT_|Capabilities)|stac_version", re.IGNORECASE
)
HEAD = 4096  # bytes; GDAL itself looks at 1024
# Texts that GDAL may read whole: georeference, RPCs, times of acquisition.
_TEXTS: tuple[str, ...] = (
    ".hdr",
    ".tfw",
    ".tifw",
    ".wld",
    ".pgw",
    ".jgw",
    ".j2w",
    ".prj",
    ".tab",
    ".rpb",
    ".rpc",
    ".imd",
)
_TEXTS += (".txt", ".xml")


def unreadable(path: pathlib.Path, error: BaseException | None) -> Refused:
    """What to say of a file that GDAL cannot open, or not read to its end."""
    reason = " ".join(str((error and error.__cause__) or error).split())
    return Refused(path, f"cannot be read ({reason}); damaged, truncated or no raster; copy or download it again")


def drivers_of(path: pathlib.Path) -> tuple[str, ...]:
    """The drivers of GDAL that may open a file, after a look at it and at every file that GDAL would draw in with it.

    Raises Refused for what is no regular file or not of a known format, and where it would draw in such a file.
    """
    return _checked(path, 0, {})


def _checked(path: pathlib.Path, depth: int, levels: dict[pathlib.Path, int]) -> tuple[str, ...]:
    """As `drivers_of`, for a file that is named by `depth` others, one within the other.

    `levels` holds for each source that was looked at how many VRTs lie within each other there: many VRTs may name the
    same sources, level by level, and each is looked at once.
    """
    head = _head(path)
    drivers = next((names for begin, names in FORMATS.items() if head.startswith(begin)), ())
    if drivers and depth and _PROGRAM.search(head):
        raise Refused(path, f"looks like two formats, {drivers[0]} and a description of other files; copy it anew")
    own = 0
    if not drivers and b"<VRTDataset" in head:
        own, within = 1, depth
        if within <= limits.VRT_DEPTH:
            for source in vrt.sources_of(path):
                if isinstance(source, Address):  # looked at when it is opened
                    if depth:
                        raise Refused(path, f"names {source}, and is named by a VRT itself; expected one VRT: copy it")
                    continue
                if (place := source.resolve()) not in levels:
                    _checked(source, depth + 1, levels)
                own = max(own, 1 + levels[place])
            within = depth + own - 1
        if within > limits.VRT_DEPTH:
            raise Refused(
                path, f"a VRT within {within} others; expected at most {limits.VRT_DEPTH}; copy it to a GeoTIFF"
            )
        if len(levels) > limits.VRT_SOURCES:
            raise Refused(path, f"{len(levels):,} sources; expected at most {limits.VRT_SOURCES:,}; copy it anew")
        drivers = ("VRT",)
    elif not drivers and not depth and _is_envi(path):
        drivers = ("ENVI",)
    if not drivers:
        raise Refused(
            path,
            f"cannot be read: {_what(head)}; expected {EXPECTED}; copy or download it again, or turn it "
            "into a GeoTIFF with `gdal_translate`, if you trust it",
        )
    _check_companions(path)
    levels[path.resolve()] = own
    return drivers


def names_servers(path: pathlib.Path) -> bool:
    """Whether a file that `drivers_of` has passed is a VRT with sources on servers."""
    return b"<VRTDataset" in _head(path) and any(isinstance(source, Address) for source in vrt.sources_of(path))


def check_geotiff(path: pathlib.Path, head: bytes) -> None:
    """Raises Refused for a file, or one that others name, whose first bytes are not those of a plain GeoTIFF."""
    if FORMATS[b"II*\0"] != next((names for begin, names in FORMATS.items() if head.startswith(begin)), ()):
        raise Refused(
            path,
            f"cannot be read by parts: {_what(head)}; expected a GeoTIFF, best a cloud-optimised one; download others, "
            "and name the file",
        )
    if _PROGRAM.search(head):
        raise Refused(path, "looks like two formats, GeoTIFF and a description of other files; copy it anew")


def drawn_in(path: pathlib.Path) -> list[pathlib.Path]:
    """The rasters that GDAL opens with a file that `drivers_of` has passed: the sources of a VRT, .msk, .ovr."""
    sources = vrt.sources_of(path) if b"<VRTDataset" in _head(path) and "VRT" in drivers_of(path) else []
    return sources + [other for other in _companions(path) if _is_part(path, other, (".msk", ".ovr"))]


def check_regular(path: pathlib.Path) -> os.stat_result:
    """Raises Refused for what is not a regular file (or a link to one): nothing else can be opened without a risk."""
    try:
        str(path).encode()
        about = path.stat()
    except UnicodeEncodeError as error:
        raise Refused(path, "a name that is not UTF-8; rename it") from error
    except FileNotFoundError as error:
        raise Refused(path, "no such file; expected a raster") from error
    except (OSError, ValueError) as error:
        raise Refused(path, f"cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    if not stat.S_ISREG(about.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
        raise Refused(path, f"{kinds.get(stat.S_IFMT(about.st_mode), 'a device')}; expected a raster")
    return about


def _head(path: pathlib.Path) -> bytes:
    check_regular(path)
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise Refused(path, f"cannot be opened ({error.strerror})") from error


def _what(head: bytes) -> str:
    if not head:
        return "an empty file"
    begin = re.sub(rb"^(\xef\xbb\xbf)?\s*(<\?xml[^>]*>)?\s*", b"", head)
    return next((what for known, what in _OTHERS.items() if re.match(known, begin)), "no raster of a known format")


def _is_envi(path: pathlib.Path) -> bool:
    """Whether a header beside the file says that it is ENVI: plain numbers, told by nothing in them."""
    for header in (path.with_name(f"{path.name}.hdr"), path.with_suffix(".hdr"), path.with_suffix(".HDR")):
        if header.exists():
            return _head(header).startswith(b"ENVI")
    return False


# ---- files beside a raster ------------------------------------------------------------------------------------------


def _check_companions(path: pathlib.Path) -> None:
    """Looks at the files beside a raster that GDAL finds by its name: a.tif.msk, a.tif.aux.xml, a.tfw, ..."""
    for other in _companions(path):
        if _is_part(path, other, (".msk", ".ovr", ".rrd", ".aux")):
            head = _head(other)
            if not head.startswith((b"II", b"MM", b"EHFA_HEADER_TAG")) or _PROGRAM.search(head):
                raise Refused(other, f"{_what(head)}, beside {path.name}; expected GeoTIFF; move it away")
        elif other.name.casefold().endswith(_TEXTS):
            size = check_regular(other).st_size
            if size > limits.SIDECAR_BYTES:
                raise Refused(
                    other, f"{size:,} bytes beside {path.name}; expected at most {limits.SIDECAR_BYTES:,}; move it away"
                )


def _is_part(path: pathlib.Path, other: pathlib.Path, suffixes: tuple[str, ...]) -> bool:
    return other.name.casefold().startswith(f"{path.stem.casefold()}.") and other.suffix.casefold() in suffixes


def _companions(path: pathlib.Path) -> list[pathlib.Path]:
    """The files in the folder whose names go on where that of `path` without its suffix ends, in either case."""
    folder = path.parent
    names = _names(folder, folder.stat().st_mtime_ns)
    stem = path.stem.casefold()
    found = []
    for folded, name in names[bisect.bisect_left(names, (stem, "")) :]:
        if not folded.startswith(stem):
            break
        if name != path.name and folded[len(stem) : len(stem) + 1] in ("", ".", "_"):
            found.append(folder / name)
    return found


@functools.lru_cache(maxsize=8)  # folders of many tiles: GDAL looks for these names at every one of them
def _names(folder: pathlib.Path, mtime_ns: int) -> list[tuple[str, str]]:
    """Names in a folder, in order, each with its lower case before it."""
    del mtime_ns  # changes with the names
    return sorted((name.casefold(), name) for name in os.listdir(folder))
