"""Scores of a network on a data set that it was not made for: generalisation to another place, sensor campaign or year.

Scored are the pixels whose true class, by its name, the network has, too. It answers as in a map, with any of its
classes: an answer outside of the common classes is wrong, and stands in the column "other" of the confusion matrix.
"""

import dataclasses
import functools
import json
import pathlib
import re
from typing import Any

import numpy as np

from data_pipelines.geo import packing
from data_pipelines.reading.dataset import open_dataset
from data_pipelines.reading.interfaces import Dataset, Source
from data_pipelines.schema import display, schema_version
from data_pipelines.schema.band_selection import spelled
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from data_pipelines.schema.legends import IGNORE, Legend
from data_pipelines.schema.sensors import Sensor
from lcjax.engine import restore
from lcjax.evaluation import evaluate, origins, reliability
from lcjax.evaluation.further import NOTHING, Further
from lcjax.ops import metrics
from lcjax.parallel import devices, multihost
from lcjax.runs import SCHEMA_VERSION, evaluations, workdir
from lcjax.runs import model_card as cards

_log = multihost.shared_logger(__name__)

NOTE = "generalisation to another data set"


@dataclasses.dataclass(frozen=True)
class Fit:
    """How the records of another data set are read as the network's.

    Attributes:
      bands: for each sensor of the network the places of its bands among those of the records.
      labels: a table (256,) uint8: id of the data set -> id of the network's legend; 255 for what is not scored.
      common: indices of the network's classes that the data set has, too.
      unknown: names of the data set's classes that the network does not have, by id.
    """

    bands: dict[str, list[int]]
    labels: np.ndarray
    common: list[int]
    unknown: dict[int, str]


def fit(card: cards.Card, sensors: tuple[Sensor, ...], legend: Legend, where: str) -> Fit:
    """How records of these sensors and this legend are shown to the network of a card; `where` names them in messages.

    Raises:
      InputError: a sensor, a band or every class is missing, or the stored numbers mean something else.
    """
    held = {sensor.name: sensor for sensor in sensors}
    bands = {sensor.name: _bands(sensor, held.get(sensor.name), where, held) for sensor in card.sensors}
    known = {land_class.name.casefold(): index for index, land_class in enumerate(card.legend.scored)}
    labels, common, unknown = np.full(256, IGNORE, np.uint8), [], {}
    for land_class in legend.scored:
        index = known.get(land_class.name.casefold())
        if index is None:
            unknown[land_class.id] = land_class.name
            continue
        labels[land_class.id] = card.legend.scored[index].id
        common.append(index)
    if not common:
        theirs, ours = (", ".join(c.name for c in one.scored) for one in (legend, card.legend))
        raise InputError(
            f"{where}: none of its classes ({theirs}) is called as one of the network's ({ours}); expected at least "
            "one of the same name; rename them in the legend and prepare it anew"
        )
    return Fit(bands, labels, sorted(common), unknown)


def _bands(wanted: Sensor, found: Sensor | None, where: str, held: dict[str, Sensor]) -> list[int]:
    if found is None:
        raise InputError(f"{where}: holds {', '.join(held)}; the network needs {wanted.name}; take data that hold it")
    names = [spelled(wanted, band) for band in found.bands]
    if missing := [band for band in wanted.bands if band not in names]:
        raise InputError(
            f"{where}: {found.name} has the bands {', '.join(found.bands)}; the network needs "
            f"{', '.join(wanted.bands)} (missing: {', '.join(missing)})"
        )
    for what, theirs, ours in (
        ("numbers of type", found.dtype, wanted.dtype),
        ("numbers that mean", found.meaning, wanted.meaning),
        ("the unit", found.scaling.unit, wanted.scaling.unit),
    ):
        if theirs != ours:
            raise InputError(
                f"{where}: {found.name} holds {what} {theirs!r}; expected {ours!r}, as the network learned from"
            )
    order = [names.index(band) for band in wanted.bands]
    stated = packing.in_order(found.packing, order)
    if not packing.are_same(stated, wanted.packing):
        raise InputError(
            f"{where}: {found.name} holds numbers with {packing.told(stated)}; expected "
            f"{packing.told(wanted.packing)}, as the network learned from; bring the images to that, and prepare them "
            "anew"
        )
    return order


def evaluate_elsewhere(
    folder: pathlib.Path,
    given: str | Dataset,
    spec: str,
    kind: str,
    data_dir: str | None = None,
    further: Further = NOTHING,
) -> dict[str, Any]:
    """Scores a network on records of any data set that fits it, and writes the files.

    Args:
      folder: workdir of the run.
      given: name of a prepared data set, or a data set in Python.
      spec: which of its records, as in a config: "test", "validation[:50%]", ...
      kind: of the checkpoint, "best" or "last".
      data_dir: where the prepared data set lies, if not where that of the training lay.
      further: what else is scored.

    Returns:
      What metrics.json holds; nothing in other processes than the first.

    Raises:
      InputError: there is no such run, checkpoint, data set or split, or the data do not fit the network.
    """
    trained = restore.restore(folder, kind)
    config, card, task = trained.config, trained.card, trained.task
    if not task.can_map:
        raise InputError(f"{folder}: a {config.task} run maps no classes to score; give that of a segmentation run")
    with multihost.raise_on_all():
        dataset = open_dataset(data_dir or config.data_dir, given) if isinstance(given, str) else given
        source = dataset.source(spec)
        where = f"{dataset.name} in {dataset.folder or 'memory'}"
        fitted = fit(card, dataset.sensors, dataset.legend, where)
        if lacking := [v.title or v.name for v in task.vectors if v.name not in source[0]]:
            raise InputError(
                f"{where}: does not tell {', '.join(lacking)}, which the network is shown beside the images "
                "(config.metadata); take data that do, or a network without"
            )
        labelled = {int(label): count for label, count in dataset.class_pixels(spec).items()}
        if not any(count for label, count in labelled.items() if fitted.labels[label] != IGNORE):
            named = ", ".join(card.legend.scored[index].name for index in fitted.common)
            raise InputError(f"{where}: {spec!r} holds no pixel labelled {named}; name a split with labels")
    calibration = reliability.fitted_to(trained, folder, kind)
    names = [card.legend.scored[index].name for index in fitted.common]
    _log.info(f"{folder}: scored on {where} over the classes that both have: {', '.join(names)}")
    _log.info(f"{folder}: evaluated {devices.where()}")
    skipped = {name: labelled.get(label, 0) for label, name in fitted.unknown.items()}
    for name, count in skipped.items():
        _log.info(f"  not scored: {count:,} pixels of {name}, which the network does not know")
    out = folder / "evaluation" / folder_name(dataset.name, spec, dataset.split_id(spec))
    with workdir.alone(out, doing="evaluating to", instead=evaluations.ELSEWHERE):
        shown_as = functools.partial(as_learned, fitted=fitted)
        sums, of_records = evaluate.counted(trained, source, further, shown_as)
        told = reliability.measured(trained, calibration, source, shown_as, fitted.common)
        with multihost.raise_on_all() as is_main:
            if not is_main:
                return {}
            return _write(trained, out, kind, sums, of_records, dataset, source, spec, fitted, skipped, further, told)


def as_learned(record: dict[str, Any], fitted: Fit) -> dict[str, Any]:
    """A record or a batch with the bands in the network's order, and labels as ids of its legend."""
    images = {name: record[name][..., places] for name, places in fitted.bands.items()}
    return record | images | {"label": fitted.labels[record["label"]]}


def _write(
    trained,
    target,
    kind,
    sums,
    of_records,
    dataset: Dataset,
    source: Source,
    spec,
    fitted: Fit,
    skipped,
    further,
    found,
) -> dict[str, Any]:
    card, folder = trained.card, target.parent.parent
    classes = [card.legend.scored[index] for index in fitted.common]
    names = [land_class.name for land_class in classes]
    matrix, other = _cut(np.asarray(sums["confusion"]), fitted)
    scores, absent = metrics.scores(matrix, names, other)
    warnings = [NOTE, *dataset.warnings(spec), *_trained_on(card, dataset, source, bool(found))]
    distribution = {c.name: int(n) for c, n in zip(classes, matrix.sum(axis=1) + other, strict=True)}
    split = {
        "role": f"{dataset.name} {spec}",
        "spec": spec,
        "records": len(source),
        "id": dataset.split_id(spec),
        "class_pixels": dataset.class_pixels(spec),
        "warnings": warnings,
    }
    result = evaluate.context(trained, folder, split, kind) | {
        "dataset": f"{dataset.name} {dataset.version}",
        "trained_on": card.dataset,
        "note": NOTE,
        "scores": scores,
        "class_set": names,
        "class_ids": [land_class.id for land_class in classes],
        "absent": absent,
        "ignored_ids": list(card.legend.ignored),
        "pixels": int(matrix.sum() + other.sum()),
        "ignored_pixels": int(sums["ignored"]),
        "unknown_classes": skipped,
        "confusion": matrix.tolist(),
        "predicted_other": other.tolist(),
        "distribution": {split["role"]: distribution},
    }
    records = None
    if of_records is not None:
        counts = of_records | dict(zip(("confusion", "other"), _cut(of_records["confusion"], fitted), strict=True))
        counts |= {name: of_records[name][:, fitted.common] for name in ("boundary", "objects") if name in of_records}
        places_of = dataset.origins(spec)
        records = origins.record_confusions(places_of, source.ids, counts)
        result |= evaluate.record_fields(records, counts, places_of, names, further)
    samples = [as_learned(source[index], fitted) for index in display.chosen_samples(len(source))]
    result = schema_version.stamp(result | found, SCHEMA_VERSION)
    with evaluations.sealed(target) as out:
        evaluate.write_samples(
            out / evaluations.SAMPLES, card.sensors[-1], samples, *evaluate.predict(trained, samples)
        )
        evaluate.write_confusion(out, matrix, names, other)
        if records is not None:
            evaluate.write_records(out, records, names)
        write_atomically(out / evaluations.METRICS, json.dumps(result, indent=1))
    told = f"{NOTE}: {dataset.name} {spec} ({len(source)} records), {kind} checkpoint of step {trained.step}"
    _log.info("%s: %s: %s", folder, told, evaluate.told_scores(result))
    reliability.tell(found)
    for warning in warnings[1:]:
        _log.warning("%s", warning)
    _log.info("written: %s/metrics.json", out)
    return result


def _cut(matrices: np.ndarray, fitted: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Of matrices (..., K, K) the common classes (..., N, N), and what of them was taken for none of these (..., N)."""
    rows = matrices[..., fitted.common, :]
    common = rows[..., fitted.common]
    return common, rows.sum(axis=-1) - common.sum(axis=-1)


def _trained_on(card: cards.Card, dataset: Dataset, source: Source, is_calibrated: bool) -> list[str]:
    """Warnings of records that the network or its calibration has seen, where this is the data set that it is of."""
    if f"{dataset.name} {dataset.version}" != card.dataset or dataset.in_memory:
        return []
    seen = {"train": "the network has learned from"}
    seen |= {"validation": "the calibration was fitted to"} if is_calibrated else {}
    warnings = []
    for role, told in seen.items():
        try:
            known = set(dataset.source(card.splits[role]["spec"]).ids)
        except InputError:  # prepared anew, with other splits: which records they were is not known
            warnings.append(
                f"{dataset.name} is also what the network learned from, and its {role} split cannot be looked up"
            )
            continue
        shared = len(known.intersection(source.ids))
        warnings += [f"{told} {shared:,} of these {len(source):,} records"] if shared else []
    return warnings


def folder_name(name: str, spec: str, split_id: str) -> str:
    """Name of the folder in WORKDIR/evaluation: NAME_SPLIT, with the id of the records where that is no file name."""
    text = f"{name}_{spec}"
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", text)[:80]
    return plain if plain == text.replace("/", "_") else f"{plain.strip('_')}-{split_id[:8]}"
