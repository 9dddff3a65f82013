"""Which score chooses the best checkpoint."""

import numpy as np
import pytest
from networks import card_of, smallest

from data_pipelines.schema.errors import InputError
from lcjax import tasks
from lcjax.engine import monitor as monitors
from lcjax.engine.monitor import Monitor
from lcjax.ops import metrics
from lcjax.runs.progress import Progress


def of(task="segmentation", validation="validation", **changes):
    config = smallest("unet", task=task)
    config.split.validation = validation
    config.update(changes)
    made = tasks.make(config, card_of(config))
    return made, monitors.of_run(config, made)


def test_a_run_has_the_score_of_its_task_or_the_one_that_is_named():
    assert of()[1] == Monitor("mIoU_8")
    assert of(validation="")[1] == Monitor("mIoU_8")
    assert of(monitor="IoU/Water")[1] == Monitor("IoU/Water")
    assert of("contrastive")[1] == Monitor("retrieval")
    assert of("contrastive", monitor="loss")[1] == Monitor("loss", lower_is_better=True)


@pytest.mark.parametrize(
    ("task", "changes", "says"),
    [
        (
            "segmentation",
            {"monitor": "IoU/Watr"},
            "^config.monitor='IoU/Watr': did you mean 'IoU/Water'[?] expected a sco",
        ),
        (
            "segmentation",
            {"monitor": "loss"},
            r"expected a score that every evaluation of the validation split has \(a class .*: OA, mCA_8, .*, \.\.\.$",
        ),
        (
            "contrastive",
            {"monitor": "mIoU"},
            "none has[)]: retrieval, loss, alignment, uniformity, retrieval/s1 to s2, ",
        ),
        (
            "segmentation",
            {"monitor": "OA", "validation": ""},
            "^config.monitor='OA': it is a score of the validation spl",
        ),
    ],
)
def test_scores_that_do_not_exist_are_refused(task, changes, says):
    with pytest.raises(InputError, match=says):
        of(task, **changes)


def test_names_of_scores_are_those_that_are_computed():
    matrix = np.array([[5, 1, 0], [0, 0, 0], [2, 0, 3]])
    assert set(metrics.score_names(3, ["a", "c"])) | {"IoU/b", "Acc/b", "Precision/b", "F1/b"} == set(
        metrics.scores(matrix, "abc")[0]
    )
    task, _ = of()
    assert set(task.score_names) == set(task.scores({"confusion": np.eye(8, dtype=int)}))


def test_a_class_without_validation_pixels_chooses_nothing():
    config = smallest("unet")
    card = card_of(config)
    card.splits["validation"] = dict(card.splits["train"], class_pixels={"1": 5, "2": 0})
    names = tasks.make(config, card).score_names
    assert "IoU/Forest" in names and not {"IoU/Shrubland", "IoU/Water"} & set(names)


@pytest.mark.parametrize("lower", [False, True])
def test_the_best_is_the_first_of_the_best(lower):
    one = Monitor("score", lower)
    rows = [{"score": value, "step": step} for step, value in enumerate([2.0, 3.0, 1.0, 3.0, 1.0])]
    assert one.best(rows)["step"] == (2 if lower else 1)
    assert one.best([]) == {}
    assert one.better(0.5, None) and not one.better(0.5, 0.5)
    assert one.better(0.4, 0.5) == lower and one.better(0.6, 0.5) == (not lower)


def test_an_evaluation_without_the_score_says_what_it_has():
    with pytest.raises(
        InputError, match=r"^config\.monitor='IoU/road': this evaluation has no such score but OA, kappa; "
    ):
        Monitor("IoU/road").of({"OA": 0.5, "kappa": 0.1})


def test_a_run_goes_on_with_its_score_alone(tmp_path):
    task, default = of()
    for progress in (Progress(), Progress(best=0.5), Progress(best=0.5, monitor="mIoU_8")):
        default.check_goes_on(progress, task, tmp_path)
    Monitor("OA").check_goes_on(Progress(), task, tmp_path)
    for progress in (Progress(best=0.5), Progress(best=0.5, monitor="mIoU_8")):
        with pytest.raises(
            InputError, match="best checkpoint by mIoU_8, which OA cannot be compared with; put it back"
        ):
            Monitor("OA").check_goes_on(progress, task, tmp_path)
