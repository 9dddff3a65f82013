"""The picture of a map."""

import numpy as np
from PIL import Image

from data_pipelines.schema.legends import LandClass, Legend
from data_pipelines.schema.sensors import AERIAL
from lcjax.mapping import preview
from lcjax.runs.model_card import Card


def test_a_dollar_in_a_name_is_a_dollar(tmp_path):
    """What matplotlib would take for a formula, and could not set, is the name of a class like any other."""
    names = ("$\\unknown{$", "$a_{b$")
    legend = Legend("town", tuple(LandClass(k, name, "#00ff00") for k, name in enumerate(names)))
    card = Card("fake", "aerial", (AERIAL,), legend, 32, "rasters/mine 1.0.0", {}, {})
    rows = [{"name": name, "colour": "#00ff00", "pixels": 8, "percent": 50.0} for name in (*names, "no data")]
    path = tmp_path / "map.png"
    preview.save(path, np.zeros((16, 16), np.uint8), np.zeros((16, 16, 3), np.uint8), card, rows, "$map_{1$.tif")
    with Image.open(path) as picture:
        assert picture.size > (100, 100)
