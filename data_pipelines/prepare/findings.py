"""What is worth a look in a prepared data set, from its statistics alone: classes and splits that may be wrong."""

from collections.abc import Iterator, Mapping
from typing import Any

from data_pipelines.schema.legends import Legend

_MUCH = 0.1  # share of the pixels that hold data and have no label
_SHOWN = 5  # classes that are named in a line


def findings(legend: Legend, splits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each finding; empty where there is none.

    Args:
      legend: that the labels are read as.
      splits: of statistics.json, with pixels by id of the legend as text.
    """
    pixels = {split: _scored_pixels(legend, of_split) for split, of_split in splits.items()}
    return [
        *_classes(legend, pixels),
        *(line for split, of_split in splits.items() for line in _labels(split, of_split, pixels[split])),
        *(line for split, of_split in splits.items() for line in _images(split, of_split)),
    ]


def _scored_pixels(legend: Legend, of_split: Mapping[str, Any]) -> dict[str, int]:
    """Labelled pixels by name of each class that is scored."""
    return {c.name: of_split["class_pixels"].get(str(c.id), 0) for c in legend.scored}


def _classes(legend: Legend, pixels: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Classes without a pixel, in all splits or in one, and splits of a single class."""
    labelled = {split: of_split for split, of_split in pixels.items() if any(of_split.values())}
    nowhere = [c.name for c in legend.scored if labelled and not any(one[c.name] for one in labelled.values())]
    if nowhere:
        yield f"no pixel of {_names(nowhere)} in any split: do the masks hold it under another number or colour?"
    for split, of_split in labelled.items():
        if missing := [name for name, count in of_split.items() if not count and name not in nowhere]:
            what = (
                "cannot be learned" if split == "train" else "cannot be found there, and counts 0 where it is predicted"
            )
            yield f"{split}: no pixel of {_names(missing)}; what is not in it {what}"
        present = [name for name, count in of_split.items() if count]
        if len(present) == 1:
            yield f"{split}: every labelled pixel is {present[0]}; a single class tells nothing apart"


def _labels(split: str, of_split: Mapping[str, Any], pixels: Mapping[str, int]) -> Iterator[str]:
    counted = next((one["pixels"] for one in of_split["sensors"].values()), 0)
    if not counted:
        yield f"{split}: no pixel holds data (all are nodata, NaN, masked or empty)"
        return
    labelled = sum(of_split["class_pixels"].values())
    if not any(pixels.values()):
        why = (
            "labels there are, but of ignored classes alone"
            if labelled
            else "no masks, or all are 255, nodata or off the legend"
        )
        yield f"{split}: no labelled pixel, so that nothing can be learned or scored by labels ({why})"
    elif counted - labelled > _MUCH * counted:
        yield f"{split}: {1 - labelled / counted:.0%} of the pixels that hold data have no label"


def _images(split: str, of_split: Mapping[str, Any]) -> Iterator[str]:
    for sensor, fill in of_split.get("fills", {}).items():
        yield (
            f"{split}: {fill['share']:.0%} of the pixels of {sensor} are {fill['value']:g} in every band; if that "
            "means no data, declare it in the files (`rio edit-info --nodata`): until then it counts as data"
        )
    if doubts := of_split.get("doubts"):
        yield (
            f"{split}: {doubts['records']:,} of {of_split['records']:,} records are in doubt, e.g. {doubts['first']}: "
            f"{doubts['reason']}; prepared as they are"
        )


def _names(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
