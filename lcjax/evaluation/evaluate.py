"""`lcjax evaluate`: scores a trained network on every pixel of a split once."""

import csv
import io
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from data_pipelines.reading.interfaces import Dataset, Source
from data_pipelines.schema import display, schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from data_pipelines.schema.on_disk import Origin
from lcjax.engine import eval_step, restore, run_records
from lcjax.engine import experiment as experiments
from lcjax.evaluation import class_sets, intervals, origins, patch_pictures, places, reliability
from lcjax.evaluation.further import NOTHING, Further
from lcjax.ops import metrics
from lcjax.ops.reliability import levels
from lcjax.parallel import devices, multihost
from lcjax.parallel import mesh as meshes
from lcjax.runs import SCHEMA_VERSION, evaluations, npz_files, record_confusions, workdir

_log = multihost.shared_logger(__name__)


def evaluate(
    folder: pathlib.Path,
    role: str,
    kind: str,
    data_dir: str | None = None,
    data: Dataset | None = None,
    further: Further = NOTHING,
) -> dict:
    """Scores one split and writes the files.

    Args:
      folder: workdir of the run.
      role: of the split in the run's config.
      kind: of the checkpoint, "best" or "last".
      data_dir: where the prepared data set lies, if not where it lay in training.
      data: the data set itself, which a run on arrays needs.
      further: what else is scored.

    Returns:
      What metrics.json holds; nothing in other processes than the first.

    Raises:
      InputError: there is no such run, checkpoint or split, the records are others than in training, or another
        process is evaluating to the same folder.
    """
    return of_trained(restore.restore(folder, kind), folder, role, kind, data_dir, data, further)


def of_trained(
    trained: restore.Trained,
    folder: pathlib.Path,
    role: str,
    kind: str,
    data_dir: str | None = None,
    data: Dataset | None = None,
    further: Further = NOTHING,
) -> dict:
    """Scores one split by a network that is restored already; otherwise as `evaluate`."""
    card, task = trained.card, trained.task
    run_records.check_role(card, role)
    split = card.splits[role]
    experiments.check_labels(task, card, role)
    dataset, source = run_records.opened(folder, trained, role, data_dir, data)
    calibration = reliability.fitted_to(trained, folder, kind)
    _log.info(f"{folder}: evaluated {devices.where()}")
    if warning := task.split_warning(source, split["spec"]):
        _log.warning("%s", warning)
    with workdir.alone(folder / "evaluation" / role, doing="evaluating to", instead=evaluations.ELSEWHERE):
        sums, of_records = counted(trained, source, further)
        told = reliability.measured(trained, calibration, source)
        with multihost.raise_on_all() as is_main:
            if not is_main:
                return {}
            return _write(trained, folder, role, kind, sums, of_records, dataset, source, further, told)


def check_further(trained: restore.Trained, further: Further, records: int) -> None:
    """Raises InputError where more is asked than can be counted of so many records."""
    config, task = trained.config, trained.task
    if further != NOTHING and not (task.counts_records and task.can_map):
        raise InputError(
            f"--boundary and --objects: a {config.task} run counts no maps record by record; leave them out"
        )
    if further != NOTHING and not record_confusions.fits(records, len(task.names)):
        raise InputError(
            f"--boundary and --objects: {records:,} records of {len(task.names)} classes are too many to count "
            "each by itself; leave them out, or score a part of the split"
        )


def counted(
    trained: restore.Trained, source: Source, further: Further, shown_as: Callable[[dict], dict] = lambda batch: batch
) -> tuple[dict, dict | None]:
    """What the task counts.

    Args:
      trained: the network.
      source: the records.
      further: what else is counted.
      shown_as: makes of each batch what the network is shown.

    Returns:
      The sums over all records; and those of each record, (R, ...) in order, where the task has them.

    Raises:
      InputError: more is asked than can be counted.
    """
    config, task = trained.config, trained.task
    by_record = task.counts_records and record_confusions.fits(len(source), len(task.names))
    check_further(trained, further, len(source))
    mesh = meshes.make_mesh(-1, 1, jax.device_count())
    sharding = meshes.batch_sharding(mesh)
    size = eval_step.evaluation_batch(config, mesh.size)
    batches = eval_step.evaluation_batches(source, size, task.keys, config.threads)
    batches = map(shown_as, eval_step.shown(batches, len(source), size))
    values, statistics = meshes.replicate_tree((trained.parameters, trained.statistics), mesh)
    if not by_record:
        if task.counts_records:
            _log.warning(
                f"{len(source):,} records of {len(task.names)} classes are too many to count each by itself: scores "
                "have no intervals; a part of the split would have them"
            )
        step = eval_step.evaluation_step(task, trained.template)
        return eval_step.sum_over_batches(step, values, statistics, batches, sharding), None
    step = eval_step.record_step(task, trained.template, further.on_device(len(task.names)))
    of_records = eval_step.sums_of_records(step, values, statistics, batches, sharding, len(source), further.on_host)
    return {key: value.sum(axis=0, dtype=np.int64) for key, value in of_records.items()}, of_records


def _write(trained: restore.Trained, folder, role, kind, sums, of_records, dataset, source, further, found) -> dict:
    """Writes the files of an evaluation with these sums over all records, and of each, and logs the scores."""
    card, task, split = trained.card, trained.task, trained.card.splits[role]
    result = context(trained, folder, split | {"role": role}, kind)
    if "confusion" in sums:
        distribution = {part: of_part["class_pixels"] for part, of_part in card.splits.items()}
        result |= segmentation_result(sums["confusion"], card.legend, int(sums["ignored"]), distribution)
        result |= class_sets.fields(sums["confusion"], card.legend, dataset.legends)
    else:
        result |= {"scores": task.scores(sums)} | task.details(sums)
    records = None
    if of_records is not None:
        places_of = dataset.origins(split["spec"])
        records = origins.record_confusions(places_of, source.ids, of_records)
        result |= record_fields(records, of_records, places_of, result["class_set"], further)
    result = schema_version.stamp(result | found, SCHEMA_VERSION)
    with evaluations.sealed(folder / "evaluation" / role) as out:
        if "confusion" in sums:
            samples = [source[index] for index in display.chosen_samples(len(source))]
            write_samples(out / evaluations.SAMPLES, dataset.sensors[-1], samples, *predict(trained, samples))
            write_confusion(out, sums["confusion"], result["class_set"])
        if task.can_classify:
            samples = [source[index] for index in display.chosen_samples(len(source))]
            patch_pictures.write(out, trained, dataset.sensors[-1], samples)
        if "patch_confusion" in result:
            write_confusion(out, np.array(result["patch_confusion"]), result["class_set"])
        if records is not None:
            write_records(out, records, result["class_set"])
        write_atomically(out / evaluations.METRICS, json.dumps(result, indent=1))
    shown = told_scores(result)
    absent = f"  absent: {', '.join(result['absent'])}" if result.get("absent") else ""
    of = f"{role} ({split['records']} records), {kind} checkpoint of step {trained.step}"
    _log.info("%s: %s: %s%s", folder, of, shown, absent)
    for name, one in result.get("class_sets", {}).items():
        shown = "  ".join(f"{key} {value:.4f}" for key, value in one["scores"].items() if "/" not in key)
        _log.info("%s: the same network over %s: %s", folder, name, shown)
    reliability.tell(found, split["id"])
    _log.info("written: %s/metrics.json", out)
    return result


def record_fields(
    records: record_confusions.RecordConfusions,
    counts: dict,
    places_of: list[Origin],
    names: list[str],
    further: Further,
) -> dict:
    """Returns the fields of metrics.json that follow from the counts of each record: intervals, and what else is asked.

    Args:
      records: the counts.
      counts: what else was counted of each record.
      places_of: where the records come from.
      names: of the classes.
      further: what was asked.
    """
    size = math.isqrt(int(records.confusion[0].sum() + records.other[0].sum() + records.ignored[0]))
    hectares = origins.pixel_hectares(places_of, size) if further.edges else np.nan
    found = intervals.of_records(records, names)
    return ({"intervals": found} if found else {}) | further.fields(counts, records, names, size, hectares)


def write_records(out: pathlib.Path, records: record_confusions.RecordConfusions, names: list[str]) -> None:
    """Writes the counts of records, and the scores by place as a table and, where places are known, as GeoJSON."""
    record_confusions.write(out, records)
    found = places.of_records(records, names)
    write_atomically(out / evaluations.PLACES, places.to_csv(found))
    if any(len(place.boxes) for place in found):
        write_atomically(out / evaluations.PLACES_LAYER, places.to_geojson(found))


def told_scores(result: dict) -> str:
    """Returns the scores over all classes, and what was scored on request, on one line, with the intervals they have.

    Of boundary IoU that is the mean over the classes; of objects the share of those of each class that is found.
    """
    known = result.get("intervals", {"scores": {}})
    told = _told(result["scores"], known["scores"], _mean)
    if boundary := result.get("boundary"):
        told += _told(boundary["scores"], boundary["intervals"], _mean) or ["no contour for boundary IoU"]
    if objects := result.get("objects"):
        told += [
            "objects found:",
            *(_told(objects["scores"], objects["intervals"], _of_all_sizes) or ["there are none"]),
        ]
    if any(words.endswith("]") for words in told):
        told.append(f"[{100 * known['level']:g} % interval over {known['blocks']} {known['block']}s]")
    return "  ".join(told)


def _told(
    scores: Mapping[str, float], intervals_of: Mapping[str, Sequence[float]], name: Callable[[str], str]
) -> list[str]:
    """Each score that has a name, as "OA 0.5928 [0.529, 0.645]"."""
    told = []
    for key, value in scores.items():
        if shown := name(key):
            between = intervals_of.get(key)
            told.append(f"{shown} {value:.4f}" + (f" [{between[0]:.3f}, {between[1]:.3f}]" if between else ""))
    return told


def _mean(key: str) -> str:
    return "" if "/" in key else key


def _of_all_sizes(key: str) -> str:
    name, _, size = key.rpartition("/")
    return name if size == "all" else ""


def segmentation_result(confusion: np.ndarray, legend, ignored: int, distribution: dict) -> dict:
    """Returns the fields of metrics.json that follow from a confusion matrix; baselines use it, too.

    Args:
      confusion: (N, N) integers, rows = truth, columns = prediction.
      legend: whose N scored classes they are.
      ignored: number of pixels that are not scored.
      distribution: role -> {id of the legend as text: labelled pixels}.
    """
    names = [land_class.name for land_class in legend.scored]
    scores, absent = metrics.scores(confusion, names)
    name_of = {str(land_class.id): land_class.name for land_class in legend.scored}
    return {
        "scores": scores,
        "class_set": names,
        "class_ids": [land_class.id for land_class in legend.scored],
        "absent": absent,
        "ignored_ids": list(legend.ignored),
        "pixels": int(np.sum(confusion)),
        "ignored_pixels": ignored,
        "confusion": np.asarray(confusion).tolist(),
        "distribution": {
            role: {name: int(pixels.get(key, 0)) for key, name in name_of.items()}
            for role, pixels in distribution.items()
        },
    }


def write_confusion(
    out: pathlib.Path, confusion: np.ndarray, names: list[str], other: np.ndarray | None = None
) -> None:
    """Writes confusion.csv (rows = truth, columns = prediction) and confusion.png.

    Args:
      out: folder.
      confusion: (N, N) pixels, or patches.
      names: of the N classes.
      other: (N,) pixels of each class that were taken for none of them: a last column.
    """
    from lcjax.plotting import figures

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["truth \\ prediction", *names, *([] if other is None else [figures.OTHER])])
    whole = confusion if other is None else np.column_stack([confusion, other])
    rows.writerows([name, *map(int, row)] for name, row in zip(names, whole, strict=True))
    write_atomically(out / evaluations.CONFUSION, text.getvalue())
    (out / "confusion.png").write_bytes(figures.confusion(confusion, names, other=other))


def context(trained: restore.Trained, folder: pathlib.Path, split: dict, kind: str) -> dict:
    """Returns the fields of metrics.json that tell of the run and of the records that were scored."""
    config = trained.config
    return {
        "run": workdir.name_of(folder),
        "model": config.model.name,
        "fusion": config.fusion,
        "init": config.init,
        "freeze": config.freeze,
        "bands": config.bands,
        "scaling": config.scaling,
        "metadata": config.metadata,
        "recipe": config.recipe,
        "cell": config.cell,
        "resize": config.resize,
        "protocol": config.protocol,
        "legend": trained.card.legend.name,
        "dataset": trained.card.dataset,
        "parameters": int(sum(np.prod(leaf.shape) for leaf in trained.parameters.values())),
        "records": split["records"],
        "split": split,
        "checkpoint": {"kind": kind, "step": trained.step},
    }


def write_samples(
    path: pathlib.Path,
    sensor,
    records: list[dict],
    predictions: Sequence[np.ndarray],
    confidences: Sequence[np.ndarray] = (),
) -> None:
    """Writes samples.npz: the id of each record, an image, truth and prediction.

    Args:
      path: to write.
      sensor: whose display bands make the image.
      records: as a data source gives them.
      predictions: (H, W) legend ids for each record.
      confidences: (H, W) uint8 for each record, as maps hold probabilities; empty where none is known.
    """
    arrays = {
        "ids": np.array([record["id"] for record in records]),
        "image": np.stack([display.rgb(sensor, record[sensor.name]) for record in records]),
        "truth": np.stack([record["label"] for record in records]),
        "prediction": np.stack(predictions),
    }
    if len(confidences):
        arrays["confidence"] = np.stack(confidences)
    npz_files.write(path, arrays)


def predict(trained: restore.Trained, records: list[dict]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns of each record its map (H, W) of legend ids, and the probability of the mapped class as maps hold it."""
    batch = {key: np.stack([record[key] for record in records]) for key in trained.task.keys if key != "label"}
    probabilities = np.asarray(trained.probabilities()(batch))
    ids = trained.card.legend.id_of_index()[probabilities.argmax(axis=-1)]
    return list(ids), list(np.asarray(levels(probabilities.max(axis=-1))))
