"""Virtual rasters (VRT): XML in which GDAL finds the files that an image is put together from.

A VRT may also hold Python, name servers and any file of the machine. Here it is parsed with nothing but a list of what
may stand in it: mosaics and stacks as gdalbuildvrt and gdal_translate write them, warped views as gdalwarp does. What
is not on the list is refused by its name.
"""

import pathlib
import re
from collections.abc import Mapping
from xml.etree import ElementTree
from xml.parsers import expat

from data_pipelines.remote import ranges, references
from data_pipelines.remote.addresses import Address
from data_pipelines.schema import limits
from data_pipelines.schema.spec import Refused

TYPES = {  # dtype -> what a VRT calls it
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32",
    "float32": "Float32", "float64": "Float64",
}  # fmt: skip
_NAMES_A_FILE = ("SourceFilename", "SourceDataset")
_KINDS = {"VRTDataset": ("VRTWarpedDataset",), "VRTRasterBand": ("VRTSourcedRasterBand", "VRTWarpedRasterBand")}
# The elements, each with all the attributes that it may have.
_ELEMENTS = {
    "VRTDataset": "rasterXSize rasterYSize subClass",
    "VRTRasterBand": "dataType band subClass blockXSize blockYSize",
    "SRS": "dataAxisToSRSAxisMapping coordinateEpoch",
    "Metadata": "domain format",
    "MDI": "key",
    "GCPList": "Projection dataAxisToSRSAxisMapping",
    "GCP": "Id Info Pixel Line X Y Z GCPZ",
    "OverviewList": "resampling",
    "SimpleSource": "name resampling",
    "ComplexSource": "name resampling",
    "AveragedSource": "name resampling",
    "KernelFilteredSource": "name resampling",
    "Kernel": "normalized",
    "SourceFilename": "relativeToVRT shared shape",
    "SourceDataset": "relativeToVRT shared",
    "SourceProperties": "RasterXSize RasterYSize DataType BlockXSize BlockYSize",
    "SrcRect": "xOff yOff xSize ySize",
    "DstRect": "xOff yOff xSize ySize",
    "Entry": "c1 c2 c3 c4",
    "Option": "name key",
    "BandMapping": "src dst",
}
# Those that have no attributes.
_ELEMENTS |= dict.fromkeys(
    re.findall(
        r"\w+",
        """
        GeoTransform BlockXSize BlockYSize MaskBand Description UnitType Offset Scale NoDataValue NODATA HideNoDataValue
        ColorInterp ColorTable CategoryNames Category Overview
        Histograms HistItem HistMin HistMax BucketCount IncludeOutOfRange Approximate HistCounts
        SourceBand UseMaskBand ScaleOffset ScaleRatio SrcMin SrcMax DstMin DstMax Clamp Exponent LUT ColorTableComponent
        Size Coefs
        GDALWarpOptions WarpMemoryLimit ResampleAlg WorkingDataType MultiThread Cutline CutlineBlendDist
        BandList SrcNoDataReal SrcNoDataImag DstNoDataReal DstNoDataImag SrcAlphaBand DstAlphaBand
        Transformer ApproxTransformer MaxError BaseTransformer GenImgProjTransformer SrcApproxTransformer
        DstApproxTransformer SrcGeoTransform SrcInvGeoTransform DstGeoTransform DstInvGeoTransform
        ReprojectTransformer ReprojectionTransformer SourceSRS TargetSRS Options
        """,
    ),
    "",
)


def sources_of(path: pathlib.Path) -> list[pathlib.Path]:
    """The files that a VRT names, each once: below its own folder, or on servers. They are not looked at.

    Raises Refused for a VRT that names anything else, or holds more than plain sources or a warped view of one.
    """
    return list(dict.fromkeys(named(path, content_of(path)).values()))


def content_of(path: pathlib.Path) -> bytes:
    """A VRT's text, on this machine or a server. Raises InputError for one that is too large or cannot be had."""
    if isinstance(path, Address):
        return ranges.whole(path, limits.VRT_BYTES)
    size = path.stat().st_size
    if size > limits.VRT_BYTES:
        raise Refused(path, f"a VRT of {size:,} bytes; expected at most {limits.VRT_BYTES:,}; copy it to a GeoTIFF")
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused(path, f"a VRT that cannot be read ({error}); write it again") from error


def named(path: pathlib.Path, content: bytes) -> dict[tuple[str, bool], pathlib.Path]:
    """Each name in a VRT, and whether it is relative to it -> where that file lies; errors as of `sources_of`."""
    found = {
        (name, relative): references.followed(path, name, "a VRT whose source", relative=relative)
        for name, relative in _Reader(path).names(content)
    }
    if (count := len(set(found.values()))) > limits.VRT_SOURCES:
        raise Refused(path, f"{count:,} sources; expected at most {limits.VRT_SOURCES:,}; copy it to a GeoTIFF")
    return found


def renamed(content: bytes, names: Mapping[tuple[str, bool], str]) -> bytes:
    """A VRT that `named` has passed, in which the sources have other names, relative to it."""
    root = ElementTree.fromstring(content)
    for element in root.iter():
        if element.tag in _NAMES_A_FILE:
            element.text = names[element.text or "", element.get("relativeToVRT") == "1"]
            element.set("relativeToVRT", "1")
            element.attrib.pop("shared", None)
    return ElementTree.tostring(root)


class _Reader:
    """Reads the names of the sources out of a VRT, and raises Refused for what it may not hold.

    GDAL has a parser of its own that is more lenient. What the two might read differently (comments, processing
    instructions, CDATA, a DOCTYPE, other encodings) is refused as well: programs that write VRTs write none of it.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._found: list[tuple[str, bool]] = []
        self._open: list[str] = []
        self._text = ""
        self._relative = False

    def names(self, content: bytes) -> list[tuple[str, bool]]:
        """Each name in a text, and whether it is relative to the VRT."""
        parser = expat.ParserCreate(encoding="utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._strange("a DOCTYPE")
        parser.ProcessingInstructionHandler = self._strange("a processing instruction")
        parser.CommentHandler = self._strange("a comment")
        parser.StartCdataSectionHandler = self._strange("a CDATA section")
        try:
            parser.Parse(content, True)
        except expat.ExpatError as error:
            raise Refused(self.path, f"a VRT that cannot be read ({error}); write it again") from error
        return self._found

    def _refuse(self, what: str) -> None:
        raise Refused(
            self.path,
            f"a VRT with {what}; expected plain sources, as gdalbuildvrt writes them; copy it to a GeoTIFF with "
            "`gdal_translate`, if you trust it",
        )

    def _strange(self, what: str):
        return lambda *_: self._refuse(what)

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        del version, standalone
        if encoding and encoding.lower() not in ("utf-8", "us-ascii"):
            self._refuse(f"the encoding {encoding[:20]}")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name not in _ELEMENTS or (not self._open and name != "VRTDataset"):
            self._refuse(f"the element {name[:40]}")
        for key, value in attributes.items():
            if key not in _ELEMENTS[name].split():
                self._refuse(f"the attribute {key[:40]} of {name}")
            if key == "subClass" and value not in _KINDS[name]:
                self._refuse(f"a {value[:40]}")
        if len(self._open) > limits.XML_DEPTH:
            self._refuse(f"elements more than {limits.XML_DEPTH} deep")
        if self._open and self._open[-1] in _NAMES_A_FILE:
            self._refuse(f"the element {name} in a {self._open[-1]}")
        self._open.append(name)
        self._text = ""
        if (relative := attributes.get("relativeToVRT", "0")) not in ("0", "1"):
            self._refuse(f"relativeToVRT={relative[:20]!r}")
        self._relative = relative == "1"

    def _characters(self, text: str) -> None:
        if self._open[-1] in _NAMES_A_FILE or self._open[-1].endswith("SRS"):
            self._text += text

    def _end(self, name: str) -> None:
        self._open.pop()
        if name in _NAMES_A_FILE:
            self._found.append((self._text, self._relative))
        elif name.endswith("SRS") and re.match(r"\s*(https?:(?!//www\.opengis\.net/)|/|\w+\.\w+$)", self._text):
            self._refuse(f"a CRS that is somewhere else, {self._text[:40]!r}")
