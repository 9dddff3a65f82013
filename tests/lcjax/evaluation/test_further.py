"""Scores on request: their intervals follow the rules of all others, and a log line tells them."""

import numpy as np

from lcjax.evaluation import evaluate, further
from lcjax.runs.record_confusions import RecordConfusions

NAMES = ["Forest", "Urban/Built-up"]


def fields(counts: dict[str, np.ndarray]) -> dict:
    """Of 12 records, each a block of its own."""
    records = RecordConfusions(
        ids=np.array([f"p{place}" for place in range(12)]),
        groups=np.array([""] * 12),
        bounds=np.full((12, 4), np.nan),
        confusion=np.ones((12, 2, 2), np.uint32),
        other=np.zeros((12, 2), np.uint32),
        ignored=np.zeros(12, np.uint32),
    )
    return further.Further("3px", (10,)).fields(counts, records, NAMES, 64, np.nan)


def test_a_class_that_is_true_in_one_block_alone_has_no_interval():
    draw = np.random.default_rng(0)
    truth, guess = draw.integers(20, 40, (2, 12, 2))
    boundary = np.stack([draw.integers(1, 20, (12, 2)), truth, guess], axis=-1)
    objects = np.repeat(draw.integers(0, 9, (12, 2, 2, 1)), 2, axis=-1) + np.array([0, 3])
    both = fields({"boundary": boundary, "objects": objects})
    assert {"boundary_IoU/Forest", "boundary_IoU/Urban/Built-up"} <= both["boundary"]["intervals"].keys()
    assert {"Forest/0", "Forest/all", "Urban/Built-up/1"} <= both["objects"]["intervals"].keys()
    boundary[1:, 1, :2] = 0  # predicted in all blocks, true in the first
    objects[1:, 1] = 0
    one = fields({"boundary": boundary, "objects": objects})
    assert one["boundary"]["scores"].keys() == both["boundary"]["scores"].keys()
    assert one["boundary"]["intervals"].keys() == {"boundary_mIoU_2", "boundary_IoU/Forest"}
    assert one["objects"]["intervals"].keys() == {"Forest/0", "Forest/1", "Forest/all"}


def test_the_line_tells_what_was_asked_for():
    result = {
        "scores": {"OA": 0.7},
        "boundary": {"scores": {"boundary_mIoU_2": 0.4, "boundary_IoU/Forest": 0.3}, "intervals": {}},
        "objects": {"scores": {"Forest/0": 0.1, "Forest/all": 0.5, "Urban/Built-up/all": 0.25}, "intervals": {}},
    }
    line = "OA 0.7000{}  boundary_mIoU_2 0.4000{}  objects found:  Forest 0.5000{}  Urban/Built-up 0.2500"
    assert evaluate.told_scores(result) == line.format("", "", "")  # of one block
    result["intervals"] = {"level": 0.95, "blocks": 12, "block": "group", "scores": {"OA": [0.6, 0.8]}}
    result["boundary"]["intervals"] = {"boundary_mIoU_2": [0.3, 0.45]}
    result["objects"]["intervals"] = {"Forest/all": [0.125, 0.75]}
    known = line.format(" [0.600, 0.800]", " [0.300, 0.450]", " [0.125, 0.750]")
    assert evaluate.told_scores(result) == known + "  [95 % interval over 12 groups]"
    none = {"scores": {}, "intervals": {}}
    assert evaluate.told_scores({"scores": {"OA": 0.7}, "boundary": none, "objects": none}) == (
        "OA 0.7000  no contour for boundary IoU  objects found:  there are none"
    )
