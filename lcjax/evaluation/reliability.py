"""How far the probabilities of a network can be believed, measured on a split as `predict` writes them.

Every labelled pixel counts once, with the confidence that a map of its tile would hold: blended where windows overlap,
and rounded to 1/250.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.reading.interfaces import Source
from data_pipelines.schema.legends import IGNORE
from lcjax.engine import restore
from lcjax.engine.eval_step import evaluation_batch, evaluation_batches, shown, sum_over_batches
from lcjax.ops import reliability
from lcjax.parallel import mesh as meshes
from lcjax.parallel import multihost
from lcjax.runs import calibration as calibrations
from lcjax.runs.calibration import Calibration, percent

_log = multihost.shared_logger(__name__)

COVERAGES = (0.8, 0.9, 0.95)  # of the conformal sets that are looked at

Counts = dict[str, np.ndarray]
Told = Callable[[jax.Array], jax.Array]  # temperatures (M,) -> probabilities (B, H, W, M * classes)
# (Told, temperatures, labels (B, H, W) as class indices or IGNORE) -> sums over the batch; traced
Count = Callable[[Told, jax.Array, jax.Array], dict[str, Any]]


def summed(
    trained: restore.Trained,
    source: Source,
    count: Count,
    batch: int = 0,
    shown_as: Callable[[dict], dict] = lambda batch: batch,
) -> Callable[[np.ndarray], Counts]:
    """Makes the function temperatures (M,) -> sums of `count` over all records of a source; compiled once.

    Args:
      trained: whose probabilities are counted.
      source: of the records.
      count: of a batch.
      batch: records at a time, rounded up to the devices; 0 takes those of the config.
      shown_as: makes of each batch what the network is shown.
    """
    config, task, legend = trained.config, trained.task, trained.card.legend
    mesh = meshes.make_mesh(-1, 1, jax.device_count())
    sharding = meshes.batch_sharding(mesh)
    size = -(-batch // mesh.size) * mesh.size or evaluation_batch(config, mesh.size)
    values, statistics = meshes.replicate_tree((trained.parameters, trained.statistics), mesh)
    index = legend.index_of_id()

    @jax.jit
    def step(parameters, statistics, arrays, temperatures_M):
        model = trained.template.merge(parameters, statistics, train=False)
        labels = jnp.asarray(index)[arrays["label"].astype(jnp.int32)]
        labels = jnp.where(arrays["valid"][:, None, None], labels, np.uint8(IGNORE))
        told = functools.partial(task.probabilities, model, arrays)
        return jax.tree.map(meshes.replicate, count(told, temperatures_M, labels))

    def sums(temperatures: np.ndarray) -> Counts:
        given = np.asarray(temperatures, np.float32)
        batches = map(shown_as, evaluation_batches(source, size, task.keys, config.threads))
        return sum_over_batches(
            lambda *arguments: step(*arguments, given),
            values,
            statistics,
            shown(batches, len(source), size),
            sharding,
        )

    return sums


def both(classes: int) -> Count:
    """Makes what counts probabilities at two temperatures as `ops.reliability.count` does: before/NAME and after/NAME.

    The class of a pixel is by the first.
    """

    def count(told: Told, temperatures_M: jax.Array, labels: jax.Array) -> dict[str, Any]:
        plain, calibrated = jnp.split(told(temperatures_M), [classes], axis=-1)
        parts = {"before": plain, "after": calibrated}
        counts = {when: reliability.count(plain, part, labels) for when, part in parts.items()}
        return {f"{when}/{name}": value for when, each in counts.items() for name, value in each.items()}

    return count


def of_source(
    trained: restore.Trained,
    fitted: Calibration,
    source: Source,
    shown_as: Callable[[dict], dict] = lambda batch: batch,
    among: Sequence[int] = (),
) -> dict[str, Any]:
    """Measures a source before and after calibration: the field `calibration` of metrics.json.

    Args:
      trained: the network.
      fitted: to this checkpoint.
      source: of the records.
      shown_as: makes of each batch what the network is shown.
      among: indices of the classes whose own errors are told; all, if there is none.
    """
    names = fitted.classes
    told_of = {names[place]: place for place in among or range(len(names))}
    least = [np.array(fitted.thresholds[percent(coverage)]) for coverage in COVERAGES]

    def count(told: Told, temperatures_M: jax.Array, labels: jax.Array) -> dict[str, Any]:
        answer = told(temperatures_M)
        sets = [reliability.sets(reliability.members(answer[..., len(names) :], each), labels) for each in least]
        counts = both(len(names))(lambda _: answer, temperatures_M, labels)
        return counts | jax.tree.map(lambda *each: jnp.stack(each), *sets)

    sums = summed(trained, source, count, shown_as=shown_as)(np.array(fitted.temperatures))
    return {
        "temperature": fitted.temperature,
        "fitted_on": fitted.split,
        "before": _described(sums, "before", told_of),
        "after": _described(sums, "after", told_of),
        "sets": [
            _described_sets(*each, sums["after/classes"].sum(0)[2].sum(-1), names)
            for each in zip(COVERAGES, sums["covered"], sums["sizes"], strict=True)
        ],
    }


def _described(sums: Counts, when: str, classes: Mapping[str, int]) -> dict[str, Any]:
    """The scores that follow from the sums of `both`, and the reliability diagrams, whose bins hold what they count."""
    overall = reliability.diagram(sums[f"{when}/confidence"].sum(0)[:, 0])
    bins = sums[f"{when}/classes"].sum(0)
    of_class = {name: reliability.diagram(bins[:, place]) for name, place in classes.items()}
    errors = {name: one.error for name, one in of_class.items()}
    return {
        "NLL": float(sums[f"{when}/loss"].sum() / max(overall.pixels.sum(), 1)),
        "ECE": overall.error,
        "classwise_ECE": float(np.mean(list(errors.values()))),
        "ECE_of": errors,
        "bins": _bins(overall),
        "bins_of": {name: _bins(one) for name, one in of_class.items()},
    }


def _bins(one: reliability.Diagram) -> list[tuple[int, float, float]]:
    """[pixels, mean probability, share of them that it is true of] of each bin."""
    return list(zip(one.pixels.tolist(), one.told.tolist(), one.true.tolist(), strict=True))


def _described_sets(
    coverage: float, covered_K: np.ndarray, sizes: np.ndarray, pixels_K: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    present = {name: (int(held), int(n)) for name, held, n in zip(names, covered_K, pixels_K, strict=True) if n}
    total = max(int(sizes.sum()), 1)
    return {
        "stated": coverage,
        "reached": int(covered_K.sum()) / total,
        "reached_of": {name: held / n for name, (held, n) in present.items()},
        "classes": float(np.arange(len(sizes)) @ sizes) / total,
        "empty": int(sizes[0]) / total,
    }


def fitted_to(trained: restore.Trained, folder: pathlib.Path, kind: str) -> Calibration | None:
    """What was fitted to the checkpoint; None where the run is not calibrated, or another checkpoint of it is.

    Args:
      trained: the network.
      folder: workdir of its run.
      kind: of the checkpoint.

    Raises:
      InputError: calibration.json cannot be read, or is of another legend.
    """
    with multihost.raise_on_all():
        table = calibrations.read(folder)
        if table is None:
            return None
        if trained.fingerprint in table:
            return trained.calibration(table, folder, kind)
    _log.info(
        f"{folder / calibrations.FILE}: is of another checkpoint, so that calibration is not measured; to fit "
        f"this one, {calibrations.make(folder, kind)}"
    )
    return None


def measured(
    trained: restore.Trained,
    fitted: Calibration | None,
    source: Source,
    shown_as: Callable[[dict], dict] = lambda batch: batch,
    among: Sequence[int] = (),
) -> dict[str, Any]:
    """The field `calibration` of metrics.json, as of `of_source`; nothing where nothing is fitted."""
    return {"calibration": of_source(trained, fitted, source, shown_as, among)} if fitted else {}


def tell(found: dict[str, Any], split_id: str = "") -> None:
    """Logs what `measured` found, on the split of this id."""
    if not found:
        return
    one = found["calibration"]
    before, after = one["before"], one["after"]
    reached = ", ".join(f"{sets['reached']:.1%} at {sets['stated']:.0%}" for sets in one["sets"])
    _log.info(
        f"  temperature {one['temperature']:g}: expected calibration error {before['ECE']:.4f} -> {after['ECE']:.4f} "
        f"(by class {before['classwise_ECE']:.4f} -> {after['classwise_ECE']:.4f}), NLL {before['NLL']:.4f} -> "
        f"{after['NLL']:.4f}; conformal sets hold {reached}"
    )
    if one["fitted_on"]["id"] == split_id:
        _log.warning("these records are what the calibration was fitted to: after it they look better than others")
