"""How FLAIR-1 is parted: the official split by domain, the other lists that are around, and the subset of two domains.

A domain is a departement in the year of its flight (D071_2020). A zone (Z7_UA) is one area of it, of 25 to 400 patches
that touch each other.
"""

import numpy as np

from data_pipelines.schema.spec import Kept, Partition

# Validation and test: csv_full/flair-1-paths-{val,test}.csv of github.com/IGNF/FLAIR-1, commit 5ae35eb, which name
# 14,125 and 15,700 patches. Train: the other domains of the release, 47,587 patches.
OFFICIAL = {
    "train": (
        "D006_2020", "D007_2020", "D008_2019", "D009_2019", "D013_2020", "D016_2020", "D017_2018", "D021_2020",
        "D023_2020", "D030_2021", "D032_2019", "D033_2021", "D034_2021", "D035_2020", "D038_2021", "D041_2021",
        "D044_2020", "D046_2019", "D049_2020", "D051_2019", "D052_2019", "D055_2018", "D060_2021", "D063_2019",
        "D072_2019", "D074_2020", "D077_2021", "D078_2021", "D080_2021", "D081_2020", "D086_2020", "D091_2021",
    ),
    "validation": (
        "D004_2021", "D014_2020", "D029_2021", "D031_2019", "D058_2020", "D066_2021", "D067_2021", "D070_2020",
    ),
    "test": (
        "D012_2019", "D022_2021", "D026_2020", "D064_2021", "D068_2021", "D071_2020", "D075_2021", "D076_2019",
        "D083_2020", "D085_2019",
    ),
}  # fmt: skip
OTHER = "other"  # of FLAIR-2, or from folders that tell no domain
_SPLITS = {domain: split for split, domains in OFFICIAL.items() for domain in domains}
# FLAIR-2 has a test set of its own, with more images of five of these domains and of five others. They go on counting
# where those of FLAIR-1 end: IMG_077413 lies in D022_2021.
_LAST = 77_412

# Copies of the baseline's lists, as published with code of third parties, have these two the other way round.
_SWAPPED = {"D070_2020": "train", "D077_2021": "validation"}
_SUBSET = ("D034_2021", "D071_2020")
_SEED = 42
_SHARES = {"train": 60, "validation": 20, "test": 20}  # percent
_OFFICIAL_TEST = "D071_2020 is an official test domain, so no score here compares with published ones"
_LEAKS = (
    "patches of one zone fall on both sides, so neighbours leak from training into test and scores are too high "
    f"(report_by_zone has the same patches without the leak); {_OFFICIAL_TEST}"
)


def split_of(domain: str, number: int) -> str:
    """The official split of a patch of this domain with this number in its name."""
    return _SPLITS.get(domain, OTHER) if number <= _LAST else OTHER


def partitions(records: dict[str, list[Kept]]) -> dict[str, Partition]:
    """The partitions whose domains are there, of which no part is empty.

    baseline_lists: by domain, as in the third-party copy of the baseline's lists.
    report_60_20_20, report_64_16_20: the subset of two domains by random patches; the second takes a fifth as test and
      a fifth of the rest as validation, as scikit-learn's train_test_split does when it is called twice.
    report_by_zone: the same subset with every zone on one side, about 60/20/20 of the patches.
    """
    ids = sorted(kept.id for split in OFFICIAL for kept in records.get(split, ()))
    subset = [i for i in ids if _domain(i) in _SUBSET]
    test = _fifth(len(subset))
    found = {"baseline_lists": Partition(_by_baseline(ids))}
    if {_domain(i) for i in subset} == set(_SUBSET):
        found |= {
            "report_60_20_20": Partition(_at_random(subset, test, test), _LEAKS),
            "report_64_16_20": Partition(_at_random(subset, test, _fifth(len(subset) - test)), _LEAKS),
            "report_by_zone": Partition(_by_zone(subset), _OFFICIAL_TEST),
        }
    return {name: partition for name, partition in found.items() if all(partition.parts.values())}


def _domain(record_id: str) -> str:
    return record_id.split("/")[0]


def _fifth(count: int) -> int:
    return -(-count // 5)  # rounded up, as scikit-learn does


def _by_baseline(ids: list[str]) -> dict[str, list[str]]:
    splits = _SPLITS | _SWAPPED
    return {part: [i for i in ids if splits[_domain(i)] == part] for part in OFFICIAL}


def _at_random(ids: list[str], test: int, validation: int) -> dict[str, list[str]]:
    """The first `test` of a random order, the next `validation`, and the rest; each in the order of `ids`."""
    order = np.random.default_rng(_SEED).permutation(len(ids))
    chosen = dict(zip(("test", "validation", "train"), np.split(order, [test, test + validation]), strict=True))
    return {part: [ids[i] for i in np.sort(chosen[part])] for part in _SHARES}


def _by_zone(ids: list[str]) -> dict[str, list[str]]:
    """Whole zones, the largest first, each to the part that is furthest from its share."""
    zones: dict[str, list[str]] = {}
    for record_id in ids:
        zones.setdefault(record_id.rpartition("/")[0], []).append(record_id)
    parts: dict[str, list[str]] = {part: [] for part in _SHARES}
    for zone in sorted(zones.values(), key=len, reverse=True):
        parts[min(parts, key=lambda part: len(parts[part]) / _SHARES[part])] += zone
    return {part: sorted(chosen) for part, chosen in parts.items()}
