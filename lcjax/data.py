"""Data from Python: arrays in memory, and data sets that `lcjax prepare` has made."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from data_pipelines.reading.interfaces import Dataset
    from data_pipelines.schema.legends import Legend

__all__ = ["from_arrays", "open"]


def from_arrays(
    splits: "Mapping[str, tuple[np.ndarray | Mapping[str, np.ndarray], np.ndarray | None]]",
    classes: "Legend | Sequence[str | tuple[str, str]]",
    *,
    bands: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    sensor: str = "image",
    nodata: float | Mapping[str, float] | None = None,
) -> "Dataset":
    """Makes a data set of numpy arrays, to train on in this Python session.

    The arrays are neither copied nor changed; leave them as they are while the data set is in use. Such a data set
    serves one process. A run remembers a hash of its splits, so that it cannot go on with other arrays.

    Examples:
      >>> import numpy as np
      >>> import lcjax.data
      >>> images = np.random.default_rng(0).integers(0, 256, (10, 64, 64, 3), np.uint8)
      >>> masks = (images[..., 0] > 127).astype(np.uint8)
      >>> data = lcjax.data.from_arrays(
      ...     {"train": (images[:8], masks[:8]), "test": (images[8:], masks[8:])},
      ...     classes=["dark", "bright"],
      ...     bands=["red", "green", "blue"],
      ... )
      >>> data.splits
      {'train': 8, 'test': 2}
      >>> data.source("train[:50%]").ids
      ('train/0', 'train/1', 'train/2', 'train/3')

    Args:
      splits: name of a split -> (images, masks). Images are (N, H, W, C) of uint8, int8, uint16, int16 or float32, all
        square and of one size. Masks are (N, H, W) integers: 0 for the first class, 1 for the second, ..., and 255
        where there is no label; None for a split without labels. Several sensors, or dates, of the same places are
        ({"s1": images, "s2": images}, masks), the same ones in every split.
      classes: names of the classes, or pairs of a name and a colour such as ("water", "#1c0dff"). A
        `data_pipelines.schema.legends.Legend` gives the classes ids of their own: then masks hold these ids.
      bands: names of the bands in order, of several sensors {sensor: names}; "band1", "band2", ... where they are not
        given.
      sensor: what the images of an only sensor are called in configs.
      nodata: a pixel that is this in any band holds no data: it is not counted, and has no label. NaN for NaN; of
        several sensors {sensor: number}.

    Returns:
      A data set as `open` returns it, with records "train/0", "train/1", ...

    Raises:
      InputError: an array has another shape, type, size or number than expected. Nothing has been computed then.
    """
    from data_pipelines.reading import arrays

    return arrays.from_arrays(splits, classes, bands=bands, sensor=sensor, nodata=nodata)


def open(data_dir: str | pathlib.Path, name: str, *, legend: str = "", bands: str = "all") -> "Dataset":
    """Opens a data set that `lcjax prepare` has made.

    Examples:
      >>> import lcjax.data
      >>> data = lcjax.data.open(data_dir, "sample", bands="rgb")
      >>> [(sensor.name, sensor.bands) for sensor in data.sensors]
      [('s1', ('VV', 'VH')), ('s2', ('B4', 'B3', 'B2'))]
      >>> data.source("validation[:25%]")[0]["s2"].shape
      (256, 256, 3)

    Args:
      data_dir: the folder that was given to `prepare` as --data_dir.
      name: of the data set, such as "dfc2020" or "rasters/town".
      legend: what its labels are read as, by name; empty for what is stored.
      bands: which bands are read: "all", a subset by name ("rgb"), or bands with + between them ("B8+B4+B3").

    Raises:
      InputError: there is no such data set, it is unfinished, or it has no such legend or bands.
    """
    from data_pipelines.reading import dataset

    return dataset.open_dataset(data_dir, name, legend=legend, bands=bands)
