"""What single pixels tell: logistic regression and a random forest on the bands of one pixel.

  python benchmarks/pixel_baseline.py --data_dir=DIR --dataset=sample --output=runs/pixels

No neighbourhood, but for what --windows=5,15 adds: mean and deviation of each band in squares of so many pixels about
the pixel, within its tile, mirrored at its edges.

Writes OUTPUT/MODEL/evaluation/test/{metrics.json, confusion.csv, confusion.png, samples.npz} like `lcjax evaluate`, so
that `lcjax report` sets both models beside the networks. They learn from the whole of --train, because nothing is
chosen on a part that is held out: the forest's size and leaves were fixed beforehand on the last fifth of the sample's
validation split.
"""

import argparse
import functools
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import ndimage

from data_pipelines.reading.dataset import open_dataset
from data_pipelines.reading.interfaces import Dataset, Source
from data_pipelines.schema import display, progress, schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from data_pipelines.schema.legends import IGNORE
from data_pipelines.schema.sensors import Sensor
from lcjax.evaluation.evaluate import (
    record_fields,
    segmentation_result,
    write_confusion,
    write_records,
    write_samples,
)
from lcjax.evaluation.further import NOTHING
from lcjax.evaluation.origins import record_confusions
from lcjax.runs import SCHEMA_VERSION, evaluations
from lcjax.tasks.fusion import sensors_of


def _logistic_regression(seed: int):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cholesky", random_state=seed))


def _random_forest(seed: int):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(40, min_samples_leaf=2, max_features=5, n_jobs=-1, random_state=seed)


MODELS: dict[str, Callable] = {"logistic_regression": _logistic_regression, "random_forest": _random_forest}


def features(record: dict, sensors: Sequence[Sensor], windows: Sequence[int] = ()) -> np.ndarray:
    """The stored numbers of every band of these sensors, (H * W, bands) float32, and for each window two more."""
    stacked = np.concatenate([record[sensor.name] for sensor in sensors], axis=-1)
    image = stacked.astype(np.float32)
    columns = [image]
    for size in windows:
        mean, square = (ndimage.uniform_filter(values, (size, size, 0)) for values in (image, image**2))
        columns += [mean, np.sqrt(np.maximum(square - mean**2, 0))]
    return np.concatenate(columns, axis=-1).reshape(image.shape[0] * image.shape[1], -1)


def draw(
    source: Source, dataset: Dataset, fusion: str, pixels: int, seed: int, windows: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """At least `pixels` labelled pixels, as many from every tile: (n, features) float32, (n,) uint8 class indices.

    Where a tile has too few labelled pixels all of them are taken, and n may be less.
    """
    values, classes = [], []
    sensors = sensors_of(fusion, dataset.sensors)
    for number, record in _records(source, "training pixels"):
        labels = dataset.legend.index_of_id()[record["label"].ravel()]
        labelled = np.flatnonzero(labels != IGNORE)
        wanted = min(-(-pixels // len(source)), labelled.size)
        chosen = np.random.default_rng((seed, number)).choice(labelled, wanted, replace=False)
        values.append(features(record, sensors, windows)[chosen])
        classes.append(labels[chosen])
    return np.concatenate(values), np.concatenate(classes)


def run(options: argparse.Namespace) -> None:
    """Trains and scores every model. Raises InputError where data set, split or labels are missing."""
    dataset = open_dataset(options.data_dir, options.dataset)
    train, test = dataset.source(options.train), dataset.source(options.test)
    sensors = sensors_of(options.fusion, dataset.sensors)
    values, classes = draw(train, dataset, options.fusion, options.pixels, options.seed, options.windows)
    if np.unique(classes).size < 2:
        raise InputError(f"--train={options.train}: its labels hold fewer than two classes; name a labelled split")
    for name in options.models:
        started = time.perf_counter()
        model = MODELS[name](options.seed).fit(values, classes)
        fitted = time.perf_counter()
        with evaluations.sealed(options.output / name / "evaluation" / "test") as out:
            seen = functools.partial(features, sensors=sensors, windows=options.windows)
            counts = _score(model, test, dataset, seen, out / evaluations.SAMPLES, name)
            confusion, ignored = counts["confusion"].sum(axis=0), int(counts["ignored"].sum())
            places_of = dataset.origins(options.test)
            records = record_confusions(places_of, test.ids, counts)
            distribution = {"train": dataset.class_pixels(options.train), "test": dataset.class_pixels(options.test)}
            result = {
                "run": name,
                "model": name,
                "fusion": options.fusion,
                "init": "",
                "freeze": "",
                "dataset": f"{dataset.name} {dataset.version}",
                "records": len(test),
                "split": {"role": "test", "spec": options.test, "id": dataset.split_id(options.test)},
                "checkpoint": None,
                "trained_on": {"spec": options.train, "pixels": len(classes), "seed": options.seed},
            } | segmentation_result(confusion, dataset.legend, ignored, distribution)
            result |= record_fields(records, counts, places_of, result["class_set"], NOTHING)
            write_confusion(out, confusion, result["class_set"])
            write_records(out, records, result["class_set"])
            write_atomically(
                out / evaluations.METRICS, json.dumps(schema_version.stamp(result, SCHEMA_VERSION), indent=1)
            )
        shown = "  ".join(f"{key} {value:.4f}" for key, value in result["scores"].items() if "/" not in key)
        scored = time.perf_counter()
        print(
            f"{options.output / name}: {shown} ({len(classes)} pixels learnt in {fitted - started:.0f} s, "
            f"{result['pixels']} scored in {scored - fitted:.0f} s)"
        )


def _score(
    model, source: Source, dataset: Dataset, seen: Callable, samples: pathlib.Path, name: str
) -> dict[str, np.ndarray]:
    """Of each record the confusion matrix (rows = truth), and the count of pixels left out of it; writes samples."""
    legend = dataset.legend
    count = len(legend.scored)
    confusion, ignored = np.zeros((len(source), count, count), np.int64), np.zeros(len(source), np.int64)
    chosen, shown, maps = display.chosen_samples(len(source)), [], []
    for number, record in _records(source, name):
        truth = legend.index_of_id()[record["label"].ravel()]
        predicted = model.predict(seen(record)).astype(np.uint8)
        scored = truth != IGNORE
        pairs = truth[scored].astype(np.int64) * count + predicted[scored]
        confusion[number] = np.bincount(pairs, minlength=count**2).reshape(count, count)
        ignored[number] = (~scored).sum()
        if number in chosen:
            shown.append(record)
            maps.append(legend.id_of_index()[predicted].reshape(record["label"].shape))
    if not confusion.any():
        raise InputError(
            f"{dataset.name} {dataset.version}: no labelled pixel to score; name a labelled split (--test)"
        )
    write_samples(samples, dataset.sensors[-1], shown, maps)
    return {"confusion": confusion, "ignored": ignored}


def _records(source: Source, title: str) -> Iterator[tuple[int, dict]]:
    return enumerate(
        progress.bar((source[i] for i in range(len(source))), total=len(source), desc=title, unit=" tiles")
    )


def _sizes(text: str) -> tuple[int, ...]:
    """Whole numbers above 1 with commas between them."""
    sizes = tuple(map(int, text.split(",")))
    if min(sizes) < 2:
        raise ValueError(text)
    return sizes


def _names(text: str) -> tuple[str, ...]:
    """Names of models with commas between them."""
    names = tuple(text.split(","))
    if not set(names) <= set(MODELS):
        raise ValueError(text)
    return names


def main(arguments: list[str] | None = None) -> int:
    """Fits and scores the classifiers; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", type=pathlib.Path, required=True, help="folder of the prepared data sets")
    parser.add_argument("--dataset", default="sample", help="name of a prepared data set")
    parser.add_argument("--train", default="validation", help="split to learn from, e.g. 'validation[:80%%]'")
    parser.add_argument("--test", default="test", help="split to score")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="where a folder for each model goes")
    parser.add_argument("--fusion", default="early", help="bands of which sensors, as config.fusion")
    parser.add_argument("--pixels", type=int, default=200_000, help="pixels to learn from")
    parser.add_argument("--windows", type=_sizes, default=(), help="sizes in pixels, such as 5,15; none by default")
    parser.add_argument("--models", type=_names, default=tuple(MODELS), help=f"some of {', '.join(MODELS)}")
    parser.add_argument("--seed", type=int, default=0)
    try:
        run(parser.parse_args(arguments))
    except (InputError, OSError) as error:
        print(f"pixel_baseline: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
