"""GeoTIFFs of published data sets: read whole, and checked, or refused by name and reason."""

import dataclasses
import pathlib

import numpy as np

from data_pipelines.legends import Legend
from data_pipelines.spec import Place


@dataclasses.dataclass(frozen=True)
class Patch:
    """One file.

    Attributes:
      values: (H, W, bands), in the dtype of the file.
      valid: (H, W) bool, where no band is NaN, infinite or nodata.
      names: the description of each band, None where it has none.
      place: the centre; None where the file is not georeferenced or its CRS has no EPSG code.
      centre: x, y of the centre in the coordinates of the file, whatever they are.
    """

    values: np.ndarray
    valid: np.ndarray
    names: tuple[str | None, ...]
    place: Place | None
    centre: tuple[float, float]


def read(path: pathlib.Path, *, count: int, dtypes: tuple[str, ...], max_nodata: float = 0.0) -> Patch:
    raise NotImplementedError


def label(path: pathlib.Path, legend: Legend, *, count: int = 1, band: int = 1) -> Patch:
    raise NotImplementedError


def same_size(path: pathlib.Path, patch: Patch, partner: pathlib.Path, of_partner: Patch) -> None:
    raise NotImplementedError


def filled(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    raise NotImplementedError
