"""The parts of the loop by themselves: what is written when, what an evaluation decides, what a batch holds on to."""

import dataclasses
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.schema.errors import InputError
from lcjax.engine.durations import RunLength
from lcjax.engine.monitor import Monitor
from lcjax.runs import model_card as cards
from lcjax.runs.goodput import Unrecorded
from lcjax.runs.progress import Progress
from lcjax.runs.timer import Timer
from lcjax.tasks import Mean
from lcjax.training import evaluator as evaluators
from lcjax.training.batches import Batches
from lcjax.training.evaluator import Evaluator
from lcjax.training.metrics_writer import MetricsWriter, NotFinite
from lcjax.training.saver import Saver


class Log:
    """Keeps what is written."""

    def __init__(self):
        self.rows = []

    def write(self, step, split, values, times=None, pictures=()):
        self.rows.append((step, split, values))


def experiment(**changes):
    """What the parts ask of an experiment."""
    optimizer = types.SimpleNamespace(schedule="cosine", plateau_factor=0.5, plateau_patience=1)
    task = types.SimpleNamespace(scores=lambda sums: {"mIoU": float(sums)}, health_warning=lambda means: "")
    config = types.SimpleNamespace(batch_size=4, patience=0, optimizer=optimizer)
    given = {"config": config, "task": task, "length": RunLength(10, 2, 3, 2, 5), "validation_source": [1]}
    return types.SimpleNamespace(**{"monitor": Monitor("mIoU")} | given | changes)


def metrics(loss: float) -> dict:
    return {"loss": jnp.float32(loss), "learning_rate": jnp.float32(0.1 * loss)}


def test_metrics_are_written_one_step_late_as_means_of_a_window():
    log, progress = Log(), Progress()
    writer = MetricsWriter(experiment(), progress, log, Timer(), Unrecorded())
    for step in range(1, 4):
        writer.push(step, metrics(step))
        assert not log.rows  # the third is still pending
    writer.push(4, metrics(4))
    ((step, split, values),) = log.rows
    assert (step, split) == (3, "train") and progress.window == {}
    assert values == pytest.approx({"loss": 2.0, "learning_rate": 0.3})  # the rate of the last step
    writer.flush()
    writer.flush()
    assert progress.window == {"loss": [4.0, 1.0], "learning_rate": [pytest.approx(0.4), 1.0]}
    assert progress.steps == 1 and len(log.rows) == 1


def test_a_window_that_a_checkpoint_cut_is_filled_by_the_next_start():
    whole, parts = Log(), Log()
    writer = MetricsWriter(experiment(), Progress(), whole, Timer(), Unrecorded())
    for step in range(1, 4):
        writer.push(step, metrics(step))
    writer.flush()
    progress = Progress()
    for steps in ((1, 2), (3,)):
        writer = MetricsWriter(experiment(), progress, parts, Timer(), Unrecorded())
        for step in steps:
            writer.push(step, metrics(step))
        writer.flush()
    assert parts.rows == whole.rows


def test_sums_are_divided_once_and_a_step_of_nothing_is_left_out(caplog):
    """A window of one step that counts nothing, one of 10 pixels and one of 90; then a window of nothing at all."""
    pixels = [(0, 0), (5, 10), (90, 90), (0, 0), (0, 0), (0, 0)]
    log, progress = Log(), Progress()
    with caplog.at_level("INFO", "lcjax"):
        for step, (right, count) in enumerate(pixels, 1):
            writer = MetricsWriter(experiment(), progress, log, Timer(), Unrecorded())
            counted = float(count > 0)
            there = {"OA": Mean(right, count), "loss": Mean(0.5 * step * counted, counted)}
            writer.push(step, metrics(step) | there)
            writer.flush()
            progress = Progress(**json.loads(json.dumps(dataclasses.asdict(progress))))  # as a checkpoint keeps it
    (_, _, first), (_, _, second) = log.rows
    assert first == pytest.approx({"loss": (1.0 + 1.5) / 2, "OA": 95 / 100, "learning_rate": 0.3})
    assert second == pytest.approx({"learning_rate": 0.6})
    assert "no OA and no loss, as these 3 steps saw no label" in caplog.messages[-1]
    assert "OA" in caplog.messages[0] and "no OA" not in caplog.messages[0]


def test_what_is_not_finite_is_told_with_its_step_and_kept_out_of_the_log():
    log = Log()
    writer = MetricsWriter(experiment(), Progress(), log, Timer(), Unrecorded())
    writer.push(1, metrics(float("nan")))
    with pytest.raises(NotFinite) as caught:
        writer.push(2, metrics(1.0))
    assert caught.value.step == 1 and np.isnan(caught.value.metrics["loss"]) and not log.rows


class Saved:
    """Stands for a Saver."""

    def __init__(self):
        self.best = []

    def save_best(self, state, step):
        self.best.append(step)


@pytest.fixture
def evaluate(monkeypatch):
    """A function (scores, config changes) -> (progress, steps that were the best, factors of the rate, log)."""

    def run(scores, **changes):
        todo = iter(scores)
        monkeypatch.setattr(evaluators, "sum_over_batches", lambda *_: next(todo))
        monkeypatch.setattr(evaluators, "with_lr_multiplier", lambda state, value: state.update(factor=value) or state)
        given = experiment(evaluation_step=None, batch_sharding=None, evaluation_batches=lambda source: None)
        given.monitor = changes.pop("monitor", given.monitor)
        vars(given.config).update(changes.pop("config", {}))
        vars(given.config.optimizer).update(changes)
        progress, saved, log, state = Progress(), Saved(), Log(), Values(factor=1.0)
        part, factors = Evaluator(given, progress, saved, log, None, None), []
        for number in range(len(scores)):
            state = part.evaluate(2 * number + 2, state)
            factors.append(state["factor"])
        return progress, saved.best, factors, log

    return run


class Values(dict):
    """A state without arrays."""

    evaluated = ({}, {})


def test_the_first_of_equal_scores_is_the_best(evaluate):
    progress, best, factors, log = evaluate([0.5, 0.5, 0.7, 0.6])
    assert best == [2, 6] and (progress.best, progress.since_best, progress.evaluated) == (0.7, 1, 8)
    assert factors == [1.0] * 4 and not progress.ended
    assert log.rows[2] == (6, "validation", {"mIoU": 0.7})


def test_a_run_can_choose_the_lowest_score(evaluate):
    progress, best, _, _ = evaluate([0.5, 0.5, 0.7, 0.4], monitor=Monitor("mIoU", lower_is_better=True))
    assert best == [2, 8] and (progress.best, progress.since_best, progress.monitor) == (0.4, 0, "mIoU")


def test_a_plateau_lowers_the_rate_every_time_that_patience_is_spent(evaluate):
    _, _, factors, _ = evaluate([0.5, 0.4, 0.4, 0.4, 0.4], schedule="plateau")
    assert factors == [1.0, 1.0, 0.5, 0.5, 0.25]


@pytest.mark.parametrize(("scores", "ends"), [([0.5, 0.4, 0.4], True), ([0.5, 0.4, 0.6], False)])
def test_patience_ends_the_run_and_says_why(evaluate, scores, ends):
    progress, *_ = evaluate(scores, config={"patience": 2})
    assert progress.ended == ("no better mIoU in 2 evaluations" if ends else "")


def test_at_the_last_step_patience_ends_nothing(evaluate):
    progress, *_ = evaluate([0.5, 0.4, 0.4, 0.4, 0.4], config={"patience": 4})
    assert progress.evaluated == 10 and not progress.ended


@pytest.mark.parametrize(
    ("step", "evaluated", "source", "due"),
    [(0, -1, [1], False), (1, -1, [1], False), (2, -1, [1], True), (2, 2, [1], False), (10, 8, [1], True),
     (2, -1, None, False), (10, -1, None, False)],
)  # fmt: skip
def test_when_an_evaluation_is_due(step, evaluated, source, due):
    part = Evaluator(experiment(validation_source=source), Progress(evaluated=evaluated), Saved(), Log(), None, None)
    assert part.is_due(step) == due


def test_a_batch_is_waited_for_once_and_let_go_when_taken():
    closed = []

    def stream(position):
        try:
            for number in range(position, 100):
                yield {"x": np.full(2, number)}
        finally:
            closed.append(position)

    given = types.SimpleNamespace(
        train_batches=stream, global_batch=lambda batch: {key: jax.device_put(x) for key, x in batch.items()}
    )
    timer = Timer()
    batches = Batches(given, 7, timer)
    assert batches.peek() is batches.peek()
    assert float(batches.take()["x"][0]) == 7 and batches._next is None
    assert float(batches.take()["x"][0]) == 8 and timer.seconds["data"] > 0
    batches.close()
    assert closed == [7]


def card_of(ids: dict[str, str], table: str = "", order: str = "") -> types.SimpleNamespace:
    return types.SimpleNamespace(
        splits={role: {"id": i, "spec": role, "records": 3} for role, i in ids.items()},
        sampling={"table": table} if table else None,
        order={"table": order} if order else None,
    )


@pytest.mark.parametrize(
    ("now", "other"),
    [({"train": "a", "test": "b"}, ""), ({"train": "a", "test": "c"}, "test"), ({"train": "a"}, "")],
)
def test_a_run_goes_on_with_the_records_that_it_began_with(now, other, monkeypatch, tmp_path):
    monkeypatch.setattr(cards, "from_json", lambda text: card_of({"train": "a", "test": "b"}))
    with Saver(tmp_path, experiment(card=card_of(now))) as saver:
        if other:
            with pytest.raises(InputError, match=f"whose {other} split '{other}' held other records"):
                saver._check_records()
        else:
            saver._check_records()


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("table", "drew its records by the table t, which is u now: the labels are others"),
        ("order", "ordered its records by the table t, which is u now: the groups are others"),
    ],
)
@pytest.mark.parametrize(("began", "now", "refused"), [("t", "t", False), ("t", "u", True), ("", "u", False)])
def test_a_run_goes_on_with_the_table_that_it_drew_by(began, now, refused, what, words, monkeypatch, tmp_path):
    monkeypatch.setattr(cards, "from_json", lambda text: card_of({"train": "a"}, **{what: began}))
    with Saver(tmp_path, experiment(card=card_of({"train": "a"}, **{what: now}))) as saver:
        if refused:
            with pytest.raises(InputError, match=words):
                saver._check_records()
        else:
            saver._check_records()
