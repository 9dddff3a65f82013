"""Files of the formats that are programs, under the names of images: what they ask for, and how they are called."""

import json

DERIVED = (
    '<VRTRasterBand dataType="Byte" band="1" subClass="VRTDerivedRasterBand"><PixelFunctionType>f</PixelFunctionType>'
    "<PixelFunctionLanguage>Python</PixelFunctionLanguage><PixelFunctionCode>import os</PixelFunctionCode>"
    "</VRTRasterBand>"
)


def vrt(body: str) -> str:
    return f'<VRTDataset rasterXSize="64" rasterYSize="64">{body}</VRTDataset>'


def band(source: str, relative="1", kind="SimpleSource", more="") -> str:
    return (
        f'<VRTRasterBand dataType="Byte" band="1"><{kind}><SourceFilename relativeToVRT="{relative}">{source}'
        f"</SourceFilename><SourceBand>1</SourceBand>{more}</{kind}></VRTRasterBand>"
    )


def window(inside: str) -> str:
    return (
        f"{inside}<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>64</UpperLeftY><LowerRightX>64</LowerRightX>"
        "<LowerRightY>0</LowerRightY><SizeX>64</SizeX><SizeY>64</SizeY></DataWindow><BandsCount>1</BandsCount>"
    )


def programs(url: str) -> dict[str, str]:
    """Text by what it is; each would have GDAL ask `url`, run code, or write a file."""
    return {
        "MRF": (
            f'<MRF_META><CachedSource><Source>/vsicurl/{url}/a.tif</Source></CachedSource><Raster><Size x="64" y="64" '
            'c="1"/><PageSize x="64" y="64" c="1"/><DataFile>stolen.py</DataFile></Raster></MRF_META>'
        ),
        "WMS": window(f'<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}</ServerUrl></Service>') + "</GDAL_WMS>",
        "WMTS": f"<GDAL_WMTS><GetCapabilitiesUrl>{url}/wmts</GetCapabilitiesUrl><Layer>a</Layer></GDAL_WMTS>",
        "WMTS capabilities": f'<Capabilities xmlns="http://www.opengis.net/wmts/1.0"><a href="{url}"/></Capabilities>',
        "WCS": f"<WCS_GDAL><ServiceURL>{url}/wcs?</ServiceURL><CoverageName>a</CoverageName></WCS_GDAL>",
        "STAC": json.dumps({"type": "Feature", "stac_version": "1.0.0", "assets": {"a": {"href": f"{url}/a.tif"}}}),
        "tile index": f"<GDALTileIndexDataset><IndexDataset>/vsicurl/{url}/a</IndexDataset></GDALTileIndexDataset>",
        "VRT of http": vrt(band(f"{url}/a.tif", "0")),
        "VRT of vsicurl": vrt(band(f"/vsicurl/{url}/a.tif", "0")),
        "VRT of a connection": vrt(band("WMTS:" + url)),
        "VRT of a text": vrt(band(f"&lt;GDAL_WMTS&gt;&lt;GetCapabilitiesUrl&gt;{url}&lt;/GetCapabilitiesUrl&gt;")),
        "VRT of Python": vrt(DERIVED),
        "VRT of raw bytes": vrt('<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand"/>'),
        "VRT with a CRS elsewhere": vrt(f"<SRS>{url}/crs</SRS>" + band("good.tif")),
        "VRT with options": vrt(band("good.tif", more='<OpenOptions><OOI key="a">b</OOI></OpenOptions>')),
        "VRT with an entity": f'<!DOCTYPE a [<!ENTITY b SYSTEM "{url}">]>' + vrt(band("&b;")),
        "VRT with a comment": vrt("<!-- -->" + band("good.tif")),
        "VRT with CDATA": vrt(band("<![CDATA[/etc/passwd]]>")),
        "VRT with an instruction": vrt("<?a ><SourceFilename>/etc/passwd</SourceFilename>?>" + band("good.tif")),
        "VRT in another encoding": '<?xml version="1.0" encoding="utf-16"?>' + vrt(band("good.tif")),
        "VRT of what lies above": vrt(band("../outside.tif")),
        "VRT of an absolute name": vrt(band("/etc/hostname", "0")),
        "VRT of itself": vrt(band("a.tif")),
        "VRT of a warp elsewhere": (
            '<VRTDataset rasterXSize="9" rasterYSize="9" subClass="VRTWarpedDataset"><GDALWarpOptions>'
            f'<SourceDataset relativeToVRT="0">/vsicurl/{url}</SourceDataset></GDALWarpOptions></VRTDataset>'
        ),
    }


NAMES = tuple(programs(""))
