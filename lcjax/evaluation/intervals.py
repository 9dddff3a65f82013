"""Intervals of the scores of an evaluation, from the counts of its records: what metrics.json says of them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from lcjax.ops import bootstrap, metrics
from lcjax.runs.record_confusions import RecordConfusions

FEW = 10  # blocks; with fewer of them intervals are rough


def of_records(records: RecordConfusions, names: Sequence[str]) -> dict[str, Any] | None:
    """Makes the field `intervals` of metrics.json.

    `known` says which scores have none.

    Args:
      records: of the evaluation.
      names: of the classes.

    Returns:
      level, method, draws, seed, what the blocks are and how many, a note, and score -> [low, high]; None of fewer than
      two blocks.
    """
    blocks = bootstrap.blocks(records.ids, records.groups)
    if len(blocks) < 2:
        return None
    drawn = score_draws(records, blocks, names)
    single = single_block_classes(true_pixels(records, blocks), names)
    scores = known(drawn, len(blocks), single)
    notes = block_notes(blocks)
    if single:
        notes.append(
            f"true in one block at most, and without an interval: {', '.join(n for n in names if n in single)}"
        )
    return {
        "level": bootstrap.LEVEL,
        "method": bootstrap.METHOD,
        "draws": bootstrap.DRAWS,
        "seed": bootstrap.SEED,
        "blocks": len(blocks),
        "block": blocks.kind,
        "notes": notes,
        "scores": scores,
    }


def block_notes(blocks: bootstrap.Blocks) -> list[str]:
    """Returns what a reader of intervals over these blocks must know, one line each."""
    few = [f"{len(blocks)} {blocks.kind}s are few: intervals are rough"] if len(blocks) < FEW else []
    return ([blocks.note] if blocks.note else []) + few


def class_of_score(key: str) -> str:
    """Returns the class of a score such as "IoU/Forest"; "" of one over all classes."""
    return key.partition("/")[2]


def of_several_blocks(
    scores: Mapping[str, Any], single: Collection[str], class_of: Callable[[str], str] = class_of_score
) -> dict[str, Any]:
    """Leaves out the scores of classes that are true in one block at most: nobody knows what others would give.

    Args:
      scores: by key.
      single: names of these classes, as of `single_block_classes`.
      class_of: key -> its class, or "".
    """
    return {key: value for key, value in scores.items() if class_of(key) not in single}


def known(
    drawn: Mapping[str, np.ndarray],
    blocks: int,
    single: Collection[str],
    class_of: Callable[[str], str] = class_of_score,
) -> dict[str, list[float]]:
    """Makes the intervals that tell something.

    A class that is true in one block alone has none, nor has a score that is the same in every draw, such as the recall
    of a class that is found nowhere: it would claim to be certain.

    Args:
      drawn: score -> its value in each draw.
      blocks: how many were drawn.
      single: names of the classes that are true in one block at most.
      class_of: score -> its class, or "".

    Returns:
      Score -> [low, high].
    """
    kept = of_several_blocks(drawn, single, class_of)
    found = {key: bootstrap.interval(values, blocks) for key, values in kept.items()}
    return {key: list(ends) for key, ends in found.items() if ends and ends[0] < ends[1]}


def score_draws(records: RecordConfusions, blocks: bootstrap.Blocks, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Score -> its value in each draw, (draws,); NaN where a draw holds no pixel of the class."""
    matrices = bootstrap.resample(blocks.sums(records.confusion))
    other = bootstrap.resample(blocks.sums(records.other)) if records.other.any() else None
    return metrics.score_values(matrices, names, other)


def true_pixels(records: RecordConfusions, blocks: bootstrap.Blocks) -> np.ndarray:
    """Pixels of each block that are truly of each class, (blocks, N)."""
    return blocks.sums(records.confusion.sum(axis=2, dtype=np.int64) + records.other)


def single_block_classes(truth: np.ndarray, names: Sequence[str]) -> set[str]:
    """Names of the classes that are true in one block at most, by true pixels, or objects, of each, (blocks, N)."""
    return {name for name, count in zip(names, (truth > 0).sum(axis=0), strict=True) if count < 2}
