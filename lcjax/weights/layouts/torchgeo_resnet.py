"""ResNets of torchgeo (MIT): those of timm, on other bands. Bands and scalings as in torchgeo 0.8.1's table of weights.

Where two sensors have as many bands, config.weights.layout has to say which. Landsat's bands go by their colours, as
its numbers mean others from satellite to satellite, and other ones than Sentinel-2's. Its RGB weights of FMoW are
torchvision_resnet, with ImageNet's mean and deviation.
"""

import dataclasses

from lcjax.weights.layout import Input
from lcjax.weights.layouts.torchvision_resnet import TORCHVISION

SENTINEL2 = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
SENTINEL2_RGB = ("B4", "B3", "B2")
_SSL4EO = "SSL4EO-S12"
# A reflectance of 1 is 1: what the scaling of the sensor does.
_REFLECTANCE = ("sensor", "range")
_BYTES = ("range",)

TORCHGEO = dataclasses.replace(
    TORCHVISION,
    name="torchgeo_resnet",
    title="ResNet of torchgeo for Sentinel-2 or Sentinel-1",
    inputs=(
        Input(
            SENTINEL2,
            (*_REFLECTANCE, "standardised"),
            origin=f"Sentinel-2 ({_SSL4EO}): reflectance (MoCo, DINO, DeCUR), or standardised by band (SoftCon)",
        ),
        Input(
            tuple(band for band in SENTINEL2 if band != "B10"),
            _REFLECTANCE,
            origin="Sentinel-2 without B10 (SSL4Eco, SeCo-Eco): reflectance",
        ),
        Input(("VV", "VH"), ("standardised",), origin=f"Sentinel-1 in decibels ({_SSL4EO}), standardised by band"),
    ),
    source="https://huggingface.co/torchgeo (MIT or CC-BY-4.0; NonCommercial for some): see each page",
)


def _asked(name: str, title: str, *inputs: Input):
    return dataclasses.replace(TORCHGEO, name=name, title=f"ResNet of torchgeo for {title}", inputs=inputs, asked=True)


_TM = ("B", "G", "R", "NIR", "SWIR1", "thermal", "SWIR2")
_OLI = ("coastal", "B", "G", "R", "NIR", "SWIR1", "SWIR2")
_LANDSAT = "SSL4EO-L, as bytes from 0 to 1"

LAYOUTS = (
    TORCHGEO,
    _asked(
        "torchgeo_sentinel2_rgb",
        "Sentinel-2, three bands",
        Input(SENTINEL2_RGB, _REFLECTANCE, origin=f"Sentinel-2 ({_SSL4EO}, MoCo): reflectance"),
    ),
    _asked(
        "torchgeo_sentinel2_ndvi",
        "Sentinel-2 and its vegetation index",
        Input(("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "NDVI"), origin="SSL4Eco, SeCo-Eco"),
    ),
    _asked(
        "torchgeo_satlas",
        "Sentinel-2, converted from Satlas",
        Input(
            ("B4", "B3", "B2", "B5", "B6", "B7", "B8", "B11", "B12"),
            origin="Satlas: true-colour bytes / 255, the others reflectance / 0.816, clipped to 1",
        ),
        Input(SENTINEL2_RGB, _BYTES, origin="Satlas: true-colour bytes / 255"),
    ),
    _asked(
        "torchgeo_landsat_tm",
        "Landsat 4 and 5",
        Input(_TM, _BYTES, origin=f"TM, top of atmosphere ({_LANDSAT})"),
    ),
    _asked(
        "torchgeo_landsat_etm",
        "Landsat 7",
        Input(
            ("B", "G", "R", "NIR", "SWIR1", "thermal1", "thermal2", "SWIR2", "panchromatic"),
            _BYTES,
            origin=f"ETM+, top of atmosphere ({_LANDSAT})",
        ),
        Input(("B", "G", "R", "NIR", "SWIR1", "SWIR2"), _BYTES, origin=f"ETM+, surface ({_LANDSAT})"),
    ),
    _asked(
        "torchgeo_landsat_oli",
        "Landsat 8 and 9",
        Input(
            (*_OLI, "panchromatic", "cirrus", "thermal1", "thermal2"),
            _BYTES,
            origin=f"OLI and TIRS, top of atmosphere ({_LANDSAT})",
        ),
        Input(_OLI, _BYTES, origin=f"OLI, surface ({_LANDSAT})"),
    ),
)
