"""Intervals of the scores of an evaluation, from the counts of its records: what metrics.json says of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lcjax.ops import bootstrap, metrics
from lcjax.runs.record_confusions import RecordConfusions

FEW = 10  # blocks; with fewer of them intervals are rough


def of_records(records: RecordConfusions, names: Sequence[str]) -> dict[str, Any] | None:
    """Makes the field `intervals` of metrics.json.

    A class that is true in one block alone has no interval: nobody knows what others would give. See `known`, too.

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
    single = single_block_classes(records, blocks, names)
    scores = known({key: values for key, values in drawn.items() if key.partition("/")[2] not in single}, len(blocks))
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


def known(drawn: Mapping[str, np.ndarray], blocks: int) -> dict[str, list[float]]:
    """Makes the intervals that tell something.

    A score that is the same in every draw, such as the recall of a class that is found nowhere, has none: it would
    claim to be certain.

    Args:
      drawn: score -> its value in each draw.
      blocks: how many were drawn.

    Returns:
      Score -> [low, high].
    """
    found = {key: bootstrap.interval(values, blocks) for key, values in drawn.items()}
    return {key: list(ends) for key, ends in found.items() if ends and ends[0] < ends[1]}


def score_draws(records: RecordConfusions, blocks: bootstrap.Blocks, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Score -> its value in each draw, (draws,); NaN where a draw holds no pixel of the class."""
    matrices = bootstrap.resample(blocks.sums(records.confusion))
    other = bootstrap.resample(blocks.sums(records.other)) if records.other.any() else None
    return metrics.score_values(matrices, names, other)


def single_block_classes(records: RecordConfusions, blocks: bootstrap.Blocks, names: Sequence[str]) -> set[str]:
    """Names of the classes that are true in one block at most."""
    truth = blocks.sums(records.confusion.sum(axis=2, dtype=np.int64) + records.other)
    return {name for name, count in zip(names, (truth > 0).sum(axis=0), strict=True) if count < 2}
