"""The labelled splits of DFC2020, in whose layout the sample is made, too: names of files, splits and partitions."""

import functools
import pathlib
from collections.abc import Sequence

from data_pipelines.datasets import scenes, sentinel_layout
from data_pipelines.datasets.contest_legend import DFC2020 as LEGEND
from data_pipelines.schema.spec import Item, Kept, Partition

SPLITS = ("validation", "test")


FILES = sentinel_layout.names(SPLITS, ("s1", "s2", "dfc"))


_PARTS = {"s1": "s1", "s2": "s2", "label": "dfc"}


_VALIDATION_SHARE = 0.2


_NOTHING_TO_CHOOSE_BY = (
    "the published protocol has no part to choose a checkpoint with: a choice by the test part makes its score too high"
)


def index(folders: Sequence[pathlib.Path]) -> dict[str, list[Item]]:
    """All patches below `folders` by split, in the order of patch number."""
    found = sentinel_layout.find(folders, FILES)
    splits: dict[str, list[Item]] = {}
    for patch, files in found.items():
        splits.setdefault(patch.season, []).append(sentinel_layout.item(patch, files, _PARTS))
    for split in splits:
        of_split = [files for patch, files in found.items() if patch.season == split]
        sentinel_layout.check_whole(split, of_split, _PARTS)
    return splits


def partitions(records: dict[str, list[Kept]]) -> dict[str, Partition]:
    """`reference`, the published protocol, and `by_scene`, which parts the split that it trains on.

    The first needs both splits. The second is left out where places are not known or all are one scene.
    """
    train, test = ([record.id for record in records.get(split, ())] for split in SPLITS)
    tested = {"test": test} if test else {}
    found = {}
    if train and test:
        found["reference"] = Partition({"train": train} | tested, _NOTHING_TO_CHOOSE_BY)
    places = [record.place for record in records.get("validation", ()) if record.place]
    groups = scenes.group(places) if len(places) == len(train) else []
    if len(groups) > 1:
        chosen = scenes.choose([len(group) for group in groups], _VALIDATION_SHARE)
        held = {train[position] for scene in chosen for position in groups[scene]}
        parts = {
            "train": [record for record in train if record not in held],
            "validation": [record for record in train if record in held],
        }
        found["by_scene"] = Partition(parts | tested)
    return found


def groups(records: dict[str, list[Kept]]) -> dict[str, str]:
    """The scene of each labelled record whose place is known: "scene_1", ... in the order of their first records."""
    placed = [record for split in SPLITS for record in records.get(split, ()) if record.place]
    members = scenes.group([record.place for record in placed if record.place])
    return {placed[position].id: f"scene_{n}" for n, scene in enumerate(members, 1) for position in scene}


read = functools.partial(sentinel_layout.read, legend=LEGEND, label_bands=1)
