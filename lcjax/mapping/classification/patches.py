"""What a network that classifies whole patches says of each: of the records of a split, or of the tiles of scenes."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.reading.interfaces import Source
from data_pipelines.schema import on_disk
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE
from lcjax.engine import eval_step, restore, run_records
from lcjax.mapping import scene, scene_list
from lcjax.mapping.classification import patch_table
from lcjax.mapping.classification.scene_tiles import DATA, SceneTiles
from lcjax.mapping.predict import SceneOptions
from lcjax.ops import patch_scores
from lcjax.parallel import devices, multihost
from lcjax.parallel import mesh as meshes
from lcjax.runs.model_card import Card

_log = multihost.shared_logger(__name__)


def write_split(
    workdir: pathlib.Path, role: str, output: pathlib.Path, *, checkpoint: str = "best", data_dir: str | None = None
) -> None:
    """Writes what the network of a run says of each record of a split, those that `evaluate` scores.

    Args:
      workdir: of a classification run.
      role: of the split in the run's config: train, validation or test.
      output: the table, a name that ends in .csv or .gpkg.
      checkpoint: "best" or "last".
      data_dir: where the prepared data set lies, if not where it lay in training.

    Raises:
      InputError: the run does not classify, it has no such split, its data are not there or hold other records, or the
        table cannot be written.
    """
    with patch_table.alone(output):
        trained = _restored(workdir, checkpoint)
        run_records.check_role(trained.card, role)
        data, source = run_records.opened(workdir, trained, role, data_dir)
        with multihost.raise_on_all():
            origins = data.origins(trained.card.splits[role]["spec"])
            patch_table.check_places(output, [origin.extent for origin in origins])
        answers = _network(trained)(source, trained.task.keys)
        rows = _rows(trained, source.ids, origins, answers)
        with multihost.raise_on_all() as is_main:
            if is_main:
                patch_table.write(output, rows, trained.task)
        _log.info(f"{workdir}: {len(source):,} patches of {role} classified {devices.where()}")


def write_scenes(
    workdir: pathlib.Path,
    scenes: str,
    output: pathlib.Path,
    options: SceneOptions,
    *,
    checkpoint: str = "best",
) -> None:
    """Writes what the network of a run says of each tile of one scene or many, in one table.

    Tiles are as large as those that the network is evaluated on. A bad scene of several does not keep the others from
    being classified; the error at the end names it.

    Args:
      workdir: of a classification run.
      scenes: text of --scene, see `scene_list.listed`.
      output: the table, a name that ends in .csv or .gpkg.
      options: how their files are read.
      checkpoint: "best" or "last".

    Raises:
      InputError: something does not fit, or a scene was not classified.
    """
    with patch_table.alone(output):
        trained = _restored(workdir, checkpoint)
        card = trained.card
        with multihost.raise_on_all():
            listed = scene_list.listed(scenes, card.sensors)
            if masked := next((one for one in listed if one.mask), None):
                raise InputError(
                    f"{masked.origin}: mask: {workdir} is a classification run, whose table holds every tile; take the "
                    "column out"
                )
            bands = scene_list.parse_bands(options.bands, card.sensors)
        network = _network(trained)
        found: list[patch_table.Row] = []
        failed: list[str] = []
        for one in listed:
            try:
                with _tiles(card, one, bands, options) as (tiles, origins):
                    with multihost.raise_on_all():
                        patch_table.check_places(output, [origin.extent for origin in origins])
                    answers = network(tiles, (*(sensor.name for sensor in card.sensors), "label", DATA))
                    found += _rows(trained, tiles.ids, origins, answers)
            except InputError as error:
                if len(listed) == 1:
                    raise
                failed.append(f"{one.origin}: {error}" if one.origin else str(error))
                _log.info(f"not classified: {failed[-1]}")
        with multihost.raise_on_all() as is_main:
            if is_main and found:
                patch_table.write(output, found, trained.task)
        _log.info(f"{workdir}: {len(found):,} tiles of {len(listed) - len(failed)} scenes classified {devices.where()}")
        if failed:
            raise InputError(f"{len(failed)} of {len(listed)} scenes were not classified; the first: {failed[0]}")


@dataclasses.dataclass(frozen=True)
class _Answers:
    """What is known of N patches, in their order.

    Attributes:
      probabilities: (N, K) float32.
      labels: (N, K) uint8, the true ones; IGNORE where they are not known.
      data: (N,) the share of pixels that hold data.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    data: np.ndarray


def _restored(workdir: pathlib.Path, checkpoint: str) -> restore.Trained:
    trained = restore.restore(workdir, checkpoint)
    if not trained.task.can_classify:
        raise InputError(
            f"{workdir}: a {trained.config.task} run, which gives whole patches no classes; give the workdir of a "
            "classification run"
        )
    return trained


@contextlib.contextmanager
def _tiles(
    card: Card, listed: scene_list.Listed, bands: Mapping[str, Sequence[str]], options: SceneOptions
) -> Iterator[tuple[SceneTiles, list[on_disk.Origin]]]:
    """The tiles of a scene and where they come from, for the time of the context."""
    last = listed.files[card.sensors[-1].name]  # a scene is called as its last file, as maps are
    with contextlib.ExitStack() as opened:
        with multihost.raise_on_all():
            found = scene_list.files_of(listed)
            files = scene.open_scene(card, found, bands=bands, offset=options.offset, grid=options.grid)
            tiles = SceneTiles(opened.enter_context(files), last.stem, card.tile)
        yield tiles, [on_disk.Origin(last.stem, str(last), place) for place in tiles.extents()]


def _network(trained: restore.Trained) -> Callable[[Source, Sequence[str]], _Answers]:
    """A function (source, keys) -> what the network says of all records, on all devices of all processes."""
    task, template = trained.task, trained.template
    mesh = meshes.make_mesh(-1, 1, jax.device_count())
    size = eval_step.evaluation_batch(trained.config, mesh.size)
    parameters, statistics = meshes.replicate_tree((trained.parameters, trained.statistics), mesh)

    @jax.jit
    def answer(parameters: Any, statistics: Any, batch: dict[str, Any]) -> dict[str, jax.Array]:
        found = {
            "place": batch["place"],
            "probabilities": task.probabilities(template.merge(parameters, statistics, train=False), batch),
            "labels": task.labels(batch["label"]),
            "data": batch.get(DATA, jnp.ones(batch["place"].shape, jnp.float32)),
        }
        return {name: meshes.replicate(values) for name, values in found.items()}

    def of_source(source: Source, keys: Sequence[str]) -> _Answers:
        batches = eval_step.evaluation_batches(source, size, keys, trained.config.threads)
        batches = eval_step.shown(batches, len(source), size)
        sharding = meshes.batch_sharding(mesh)
        found = eval_step.sums_of_records(answer, parameters, statistics, batches, sharding, len(source))
        return _Answers(found["probabilities"], found["labels"], found["data"])

    return of_source


def _rows(
    trained: restore.Trained, ids: Sequence[str], origins: Sequence[on_disk.Origin], answers: _Answers
) -> list[patch_table.Row]:
    """The rows of a table; a patch without data is given no label."""
    given = patch_scores.given(answers.probabilities, single=trained.task.single) & (answers.data > 0)[:, None]
    known = answers.labels[:, 0] != IGNORE
    return [
        patch_table.Row(
            id=ids[i],
            group=origins[i].group,
            source=origins[i].source,
            extent=origins[i].extent,
            data=float(answers.data[i]),
            given=tuple(np.flatnonzero(given[i]).tolist()),
            true=tuple(np.flatnonzero(answers.labels[i]).tolist()) if known[i] else None,
            probabilities=tuple(answers.probabilities[i].tolist()),
        )
        for i in range(len(ids))
    ]
