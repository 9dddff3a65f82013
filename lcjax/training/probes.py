"""Probes: how well simple classifiers tell land cover by what frozen encoders make of labelled places.

Asked for by `config.probe.train` and `.test`, two labelled splits. Neither the encoders nor the choice of a checkpoint
learn from them.
"""

import importlib.util
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from data_pipelines.reading.interfaces import Source
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE, Legend
from lcjax.engine.eval_step import placed
from lcjax.engine.experiment import Experiment
from lcjax.models.params import Flat
from lcjax.ops import patch_labels
from lcjax.parallel import mesh as meshes
from lcjax.parallel import multihost

_log = multihost.shared_logger(__name__)

Probe = Callable[[Flat, Flat], dict[str, float]]
_NEIGHBOURS = 20
_CLASSES = {"train": 2, "test": 1}  # how many each split must show


def make(experiment: Experiment) -> Probe | None:
    """A function (parameters, statistics) -> `scores` of the network's embeddings; None where none is asked for.

    Raises InputError for one split without the other, for shared records and labels of too few classes, and where there
    is no scikit-learn, no evaluation or no embedding.
    """
    config, dataset = experiment.config, experiment.dataset
    specs = dict(config.get("probe", {}))
    if not any(specs.values()):
        return None
    assert dataset is not None
    asked = ", ".join(f"config.probe.{role}={specs[role]!r}" for role in _CLASSES)
    _check(experiment, specs, asked)
    sources = {role: dataset.source(specs[role]) for role in _CLASSES}
    if shared := len(set(sources["train"].ids) & set(sources["test"].ids)):
        raise InputError(f"{asked}: {shared} records are in both; name splits that share none")
    labels = {role: piece_labels(source, dataset.legend, config.crop) for role, source in sources.items()}
    known = {role: of_role[of_role != IGNORE] for role, of_role in labels.items()}
    for role, least in _CLASSES.items():
        if (shown := len(np.unique(known[role]))) < least:
            raise InputError(
                f"config.probe.{role}={specs[role]!r}: labels of {shown} classes, expected {least} or more; name a "
                "labelled split"
            )
    _log.info(f"probes: learn from {len(known['train'])} labelled pieces, scored on {len(known['test'])}")
    embed = _embedder(experiment)

    def features(parameters: Flat, statistics: Flat, role: str) -> np.ndarray:
        embedded = embed(parameters, statistics, sources[role])
        filled = labels[role] != IGNORE
        return embedded[: len(filled)][filled]  # the last batch may hold more than there is

    def probe(parameters: Flat, statistics: Flat) -> dict[str, float]:
        train, test = (features(parameters, statistics, role) for role in _CLASSES)
        return scores(train, known["train"], test, known["test"])

    return probe


def _check(experiment: Experiment, specs: dict[str, str], asked: str) -> None:
    config = experiment.config
    if not all(specs.values()):
        raise InputError(f"{asked}: a probe learns from one split and is scored on the other; name both or none")
    if not experiment.task.can_embed:
        raise InputError(f"{asked}: a {config.task} run has no embeddings to probe; name none")
    if not config.split.validation:
        raise InputError(f"{asked}: probes run at evaluations, and config.split.validation is empty; name it, too")
    if not importlib.util.find_spec("sklearn"):
        raise InputError(f"{asked}: probes need scikit-learn: pip install 'lcjax[demo]', or name none")


def _embedder(experiment: Experiment) -> Callable[[Flat, Flat, Source], np.ndarray]:
    """A function (parameters, statistics, source) -> embeddings of all pieces of its records, in order, (N, C)."""
    config, task, template, mesh = experiment.config, experiment.task, experiment.template, experiment.mesh
    sharding = experiment.batch_sharding

    def embed(parameters: Flat, statistics: Flat, batch: dict) -> tuple[jax.Array, jax.Array]:
        cut = {key: pieces(batch[key], config.crop) for key in task.keys}
        return batch["place"], task.embed(template.merge(parameters, statistics, train=False), cut)

    # Every process fetches all embeddings, and learns the same.
    compiled = jax.jit(embed, out_shardings=NamedSharding(mesh, PartitionSpec()))

    def of_source(parameters: Flat, statistics: Flat, source: Source) -> np.ndarray:
        places, embeddings = [], []
        for batch in placed(experiment.evaluation_batches(source)):
            given = {key: batch[key] for key in (*task.keys, "place")}
            with jax.set_mesh(mesh):
                place, embedded = jax.device_get(compiled(parameters, statistics, meshes.global_batch(given, sharding)))
            places.append(place)
            embeddings.append(embedded.reshape(len(place), -1, embedded.shape[-1]))
        ordered = np.concatenate(embeddings)[np.argsort(np.concatenate(places))]
        return ordered.reshape(-1, ordered.shape[-1])

    return of_source


def pieces(images, crop: int):
    """Images (B, H, W, ...) cut into whole squares of `crop` pixels, row by row: (B * N, crop, crop, ...).

    What is left over at the bottom and on the right is dropped; 0 keeps the images as they are. Of numpy or of jax.
    """
    if not crop:
        return images
    size, rows, columns = images.shape[0], images.shape[1] // crop, images.shape[2] // crop
    rest = images.shape[3:]
    whole = images[:, : rows * crop, : columns * crop].reshape(size, rows, crop, columns, crop, *rest)
    return whole.swapaxes(2, 3).reshape(size * rows * columns, crop, crop, *rest)


def piece_labels(source: Source, legend: Legend, crop: int) -> np.ndarray:
    """The most frequent class of each piece of all records, in order, (N,) uint8; IGNORE where no pixel is labelled.

    Of classes that are equally frequent the first counts.
    """
    index, classes = legend.index_of_id(), len(legend.scored)

    counts = [
        np.bincount(piece.ravel(), minlength=256)[:classes]
        for number in range(len(source))
        for piece in pieces(index[source.read(number, ["label"])["label"]][None], crop)
    ]
    return np.asarray(patch_labels.most_frequent(np.array(counts, np.int32)))


def scores(
    train_NxC: np.ndarray, train_labels_N: np.ndarray, test_MxC: np.ndarray, test_labels_M: np.ndarray
) -> dict[str, float]:
    """Overall and mean class accuracy of a linear and of a nearest-neighbour probe, each learnt anew.

    Linear: logistic regression with an L2 penalty of 1 on features of mean 0 and deviation 1. Nearest neighbours: the
    most frequent class of the 20 (or all, if fewer) most alike by cosine. Class accuracies are averaged over the
    classes of `test_labels_M`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifiers = {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "knn": KNeighborsClassifier(min(_NEIGHBOURS, len(train_NxC)), metric="cosine"),
    }
    classes, found = np.unique(test_labels_M), {}
    for name, classifier in classifiers.items():
        right = classifier.fit(train_NxC, train_labels_N).predict(test_MxC) == test_labels_M
        found[f"probe {name} OA"] = float(right.mean())
        found[f"probe {name} mCA"] = float(np.mean([right[test_labels_M == label].mean() for label in classes]))
    return found
