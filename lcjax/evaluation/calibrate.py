"""`lcjax evaluate --calibrate`: fits temperature and conformal thresholds of a checkpoint to the validation split.

The temperature is that of the least mean logarithmic loss over the labelled pixels, each once, of the probabilities as
they are evaluated: blended where windows overlap. Each round computes loss and slope at a few temperatures in one pass
over the split, nothing being sampled or binned, and the next looks between the two beside the minimum. Pixels are
summed in float32 along a row and in float64 beyond. A fit that is killed leaves what was there.
"""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.reading.interfaces import Dataset, Source
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE
from lcjax.engine import experiment as experiments
from lcjax.engine import restore, run_records
from lcjax.evaluation import evaluate, reliability
from lcjax.evaluation.further import NOTHING, Further
from lcjax.ops import reliability as ops
from lcjax.parallel import devices, multihost
from lcjax.runs import calibration as calibrations
from lcjax.runs import model_card as cards
from lcjax.runs.calibration import Calibration

_log = multihost.shared_logger(__name__)

ROLE = "validation"
_CANDIDATES = 9  # temperatures in a round
_WIDTH = 0.02  # of a bracket, in log T, within which the slope is a straight line: T is off by less than 0.0001
_DIGITS = 6  # significant digits of a temperature


def evaluate_calibrated(
    folder: pathlib.Path,
    role: str,
    kind: str = "best",
    data_dir: str | None = None,
    data: Dataset | None = None,
    further: Further = NOTHING,
) -> dict[str, Any]:
    """Fits a checkpoint, then scores a split with it; arguments as of `evaluate.evaluate`.

    Returns:
      What metrics.json holds; nothing of a run that has no test split.

    Raises:
      InputError: as of both; or the split is the one that is fitted.
    """
    if role == ROLE:
        raise InputError(
            f"--calibrate with --split={role}: what was fitted to a split looks too good there; expected another split "
            "to be scored, e.g. --split=test"
        )
    trained = restore.restore(folder, kind)
    is_tested = role in trained.card.splits
    if role != "test" or further != NOTHING:
        run_records.check_role(trained.card, role)
    if is_tested:
        evaluate.check_further(trained, further, trained.card.splits[role]["records"])
    _fit_and_write(trained, folder, kind, data_dir, data)
    if not is_tested:
        _log.info(f"{folder}: the run has no test split, so nothing tells what the calibration is worth elsewhere")
        return {}
    return evaluate.of_trained(trained, folder, role, kind, data_dir, data, further)


def calibrate(
    folder: pathlib.Path, kind: str = "best", data_dir: str | None = None, data: Dataset | None = None
) -> Calibration:
    """Fits a checkpoint of a run, and writes calibration.json.

    Args:
      folder: workdir of the run.
      kind: of the checkpoint, "best" or "last".
      data_dir: where the prepared data set lies, if not where it lay in training.
      data: the data set itself, which a run on arrays needs.

    Raises:
      InputError: there is no such run or checkpoint; it has no validation split, or one that shares records with the
        test split; or no temperature fits.
    """
    return _fit_and_write(restore.restore(folder, kind), folder, kind, data_dir, data)


def _fit_and_write(
    trained: restore.Trained, folder: pathlib.Path, kind: str, data_dir: str | None, data: Dataset | None
) -> Calibration:
    _check(trained, folder)
    dataset, source = run_records.opened(folder, trained, ROLE, data_dir, data)
    with multihost.raise_on_all():
        _check_apart(dataset, source, trained.card, folder)
    _log.info(f"{folder}: calibrated {devices.where()}")
    temperature = fit(trained, source, str(folder))
    sums = reliability.summed(trained, source, _counts(len(trained.card.legend.scored)))(np.array([1.0, temperature]))
    fitted = _described(trained, kind, temperature, sums)
    with multihost.raise_on_all() as is_main:
        if is_main:
            calibrations.write(folder, trained.fingerprint, fitted)
    before, after = (ops.diagram(sums[f"{when}/confidence"].sum(0)[:, 0]).error for when in ("before", "after"))
    _log.info(f"{folder}: {kind} checkpoint of step {trained.step}: {fitted.summary}")
    _log.info(
        f"  there the mean logarithmic loss {fitted.loss[0]:.4f} becomes {fitted.loss[1]:.4f}, and the expected "
        f"calibration error {before:.4f} becomes {after:.4f}; other records tell what it is worth"
    )
    _log.info(f"written: {folder / calibrations.FILE}")
    return fitted


def _check(trained: restore.Trained, folder: pathlib.Path) -> None:
    card, task = trained.card, trained.task
    if not (task.can_map and task.can_calibrate):
        raise InputError(
            f"--calibrate: {folder}: a run of the task {trained.config.task!r} has no logits of classes that a "
            "temperature could divide; give the workdir of a segmentation run"
        )
    if ROLE not in card.splits:
        raise InputError(
            f"--calibrate: {folder}: the run has no validation split (config.split.validation is empty), and a "
            "temperature is fitted on no other; train with one"
        )
    experiments.check_labels(task, card, ROLE)


def _check_apart(dataset: Dataset, source: Source, card: cards.Card, folder: pathlib.Path) -> None:
    """Raises InputError where a record that is tested is among those of the fit; of what was learned from it warns."""
    fitted_on = set(source.ids)
    for role in ("test", "train"):
        if role not in card.splits:
            continue
        shared = fitted_on.intersection(dataset.source(card.splits[role]["spec"]).ids)
        told = f"{folder}: {len(shared):,} of the {len(fitted_on):,} records of validation are of {role}, too"
        if shared and role == "test":
            raise InputError(
                f"--calibrate: {told} (e.g. {min(shared)}); a fit on what is tested says nothing; train with splits "
                "that share no record"
            )
        if shared:
            _log.warning(f"{told}; the network is surer of what it has learned from, and the temperature too low")


def fit(trained: restore.Trained, source: Source, where: str) -> float:
    """Returns the temperature of the least mean logarithmic loss over the labelled pixels of a source.

    Args:
      trained: the network.
      source: of the records.
      where: names the run in messages.

    Raises:
      InputError: no temperature between `LOWEST` and `HIGHEST` has the least.
    """
    sums = reliability.summed(trained, source, _losses, batch=1)  # one tile a device: candidates take much memory
    ends = np.log([calibrations.LOWEST, calibrations.HIGHEST])
    low, high = ends
    while high - low > _WIDTH:
        logs = np.linspace(low, high, _CANDIDATES)
        found = sums(np.exp(logs))
        losses, slopes = found["loss"].sum(axis=1), found["slope"].sum(axis=1)
        if not np.isfinite([losses, slopes]).all():
            raise InputError(
                f"--calibrate: {where}: the network answers NaN or infinity on the validation split; expected finite "
                "numbers; take another --checkpoint, or train again"
            )
        best = int(np.argmin(losses))
        first = best - 1 if slopes[best] >= 0 else best  # 0 where every answer is certain and right
        if (low, high) == tuple(ends) and first not in range(_CANDIDATES - 1):
            raise InputError(_without(where, is_certain=first < 0))
        first = min(max(first, 0), _CANDIDATES - 2)
        low, high = logs[first], logs[first + 1]
    left, right = slopes[first], slopes[first + 1]
    share = left / (left - right) if left < 0 < right else float(best != first)
    return float(f"{np.exp(low + share * (high - low)):.{_DIGITS}g}")


def _without(where: str, is_certain: bool) -> str:
    least, most = calibrations.LOWEST, calibrations.HIGHEST
    why = (
        f"the lower the temperature the better, down to {least:g}: the network makes next to no error there, and its "
        "probabilities would all become 0 or 1"
        if is_certain
        else f"the higher the temperature the better, up to {most:g}: the network knows less than nothing there"
    )
    return f"--calibrate: {where}: no temperature fits the validation split: {why}; expected a network with some errors"


def _losses(told: reliability.Told, temperatures_M: jax.Array, labels_BxHxW: jax.Array) -> dict[str, jax.Array]:
    """Sums of the logarithmic loss at each temperature, and of its slope by log T, in rows of pixels: (M, H) each."""
    labelled = labels_BxHxW != IGNORE
    truth = jnp.where(labelled, labels_BxHxW, 0)

    def losses(temperatures_M: jax.Array) -> jax.Array:
        parts = jnp.split(told(temperatures_M), len(temperatures_M), axis=-1)
        each = [ops.logarithmic_loss(ops.at_class(part, truth)) for part in parts]
        return jnp.stack([jnp.sum(jnp.where(labelled, one, 0), axis=(0, 2)) for one in each])

    loss, slope = jax.jvp(losses, (temperatures_M,), (temperatures_M,))
    return {"loss": loss, "slope": slope}


def _counts(classes: int) -> reliability.Count:
    """What is counted at 1 and at the temperature: of both the errors, of the second also the conformal scores."""

    def count(told: reliability.Told, temperatures_M: jax.Array, labels: jax.Array) -> dict[str, Any]:
        answer = told(temperatures_M)
        errors = reliability.both(classes)(lambda _: answer, temperatures_M, labels)
        return errors | {"scores": ops.scores(answer[..., classes:], labels)}

    return count


def _described(trained: restore.Trained, kind: str, temperature: float, sums: reliability.Counts) -> Calibration:
    card = trained.card
    split, scored = card.splits[ROLE], card.legend.scored
    pixels = sums["scores"].sum(axis=1)
    before, after = (float(sums[f"{when}/loss"].sum() / pixels.sum()) for when in ("before", "after"))
    return Calibration(
        kind=kind,
        step=trained.step,
        temperature=temperature,
        loss=[before, after],
        split={"spec": split["spec"], "id": split["id"], "records": split["records"], "pixels": int(pixels.sum())},
        classes=[land_class.name for land_class in scored],
        class_ids=[land_class.id for land_class in scored],
        class_pixels=pixels.tolist(),
        thresholds={name: ops.thresholds(sums["scores"], float(name)) for name in calibrations.COVERAGES},
    )
