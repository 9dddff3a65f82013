"""Trained networks from their workdirs: to evaluate and predict with, or to start another from."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from data_pipelines.schema.errors import InputError
from lcjax import tasks
from lcjax.models import params
from lcjax.ops import augment
from lcjax.parallel import mesh as meshes
from lcjax.parallel import multihost
from lcjax.runs import calibration as calibrations
from lcjax.runs import checkpoints, workdir
from lcjax.runs import model_card as cards
from lcjax.runs.calibration import Calibration

# What a card says of a network; the rest of it is of its data and its libraries.
_SAME = ("model", "fusion", "sensors", "legend", "tile")

Probabilities = Callable[[Mapping[str, np.ndarray] | None], Any]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
      config, card: of its run.
      step: updates that it had.
      task, template: what builds and calls it.
      parameters, statistics: arrays by path, on the default device.
    """

    config: ml_collections.ConfigDict
    card: cards.Card
    step: int
    task: tasks.Task
    template: params.Template
    parameters: dict[str, Any]
    statistics: dict[str, Any]

    def probabilities(
        self,
        mesh: jax.sharding.Mesh | None = None,
        *,
        tta: bool = False,
        temperatures: Sequence[float] | None = None,
    ) -> Probabilities:
        """A function {sensor: stored integers (B, H, W, bands)} -> class probabilities (B, H, W, classes) float32.

        A network that also takes numbers beside images may be given those that are stored, too, by their name. Where
        the devices are of several processes, process 0 gives the batches, and the others give None
        (multihost.leader_section).

        Args:
          mesh: devices that share the examples of a batch, a multiple of their number; None takes the first alone.
          tta: average over the eight flips and rotations (the four flips of an image that is not square).
          temperatures: the answer is (B, H, W, M * classes): the probabilities at the first, at the second, ...; each
            divides the logits before windows, flips and rotations are averaged.

        What comes back lies on the first device of this process and may not be computed yet.
        """
        task = self.task
        if not task.can_map:
            raise InputError(f"a {self.config.task} run has no classes to map; give the workdir of a segmentation run")
        first = jax.local_devices()[0]
        mesh = mesh or jax.make_mesh((1, 1), meshes.AXES, axis_types=(AxisType.Auto,) * 2, devices=[first])
        examples, everywhere = meshes.batch_sharding(mesh), NamedSharding(mesh, PartitionSpec())
        images = [sensor.name for sensor in self.card.sensors]
        values, statistics = meshes.replicate_tree((self.parameters, self.statistics), mesh)

        def told(values: dict[str, Any], statistics: dict[str, Any], shown: dict[str, Any]) -> jax.Array:
            model = self.template.merge(values, statistics, train=False)
            if temperatures is None:
                return task.probabilities(model, shown)
            return task.probabilities(model, shown, jnp.asarray(temperatures, jnp.float32))

        @functools.partial(jax.jit, out_shardings=everywhere)
        def forward(values: dict[str, Any], statistics: dict[str, Any], batch: dict[str, Any]) -> jax.Array:
            def one(which: jax.Array) -> jax.Array:
                turn = jax.vmap(augment.dihedral, (0, None))
                turned = batch | {name: turn(batch[name], which) for name in images}
                return jax.vmap(augment.dihedral_inverse, (0, None))(told(values, statistics, turned), which)

            if not tta:
                return told(values, statistics, batch)
            height, width = batch[images[0]].shape[1:3]
            count = 8 if height == width else 4
            # One pass after the other: the network is compiled once, and memory holds one pass.
            total: jax.Array = jax.lax.fori_loop(1, count, lambda which, total: total + one(which), one(jnp.int32(0)))
            return total / count

        def answer(batch: Mapping[str, np.ndarray] | None) -> jax.Array | None:
            given = multihost.broadcast_batch(batch) if mesh.is_multi_process else batch
            if given is None:
                return None
            placed = {name: meshes.place(value, examples) for name, value in given.items()}
            here: jax.Array = forward(values, statistics, placed).addressable_data(0)
            return here

        return answer

    @functools.cached_property
    def fingerprint(self) -> str:
        """A short hash of all parameters and statistics."""
        total = hashlib.sha256()
        for flat in (self.parameters, self.statistics):
            for path in sorted(flat):
                total.update(path.encode() + np.ascontiguousarray(jax.device_get(flat[path])).tobytes())
        return total.hexdigest()[:16]

    def calibration(self, table: Mapping[str, Calibration], folder: pathlib.Path, kind: str) -> Calibration:
        """What was fitted to this checkpoint.

        Args:
          table: of `calibration.read`.
          folder: where it lies, for messages.
          kind: of this checkpoint.

        Raises:
          InputError: the table is of other checkpoints, or of another legend.
        """
        return calibrations.of_checkpoint(table, folder, self.fingerprint, self.card.legend, kind, self.step)


def restore(folder: pathlib.Path, kind: str = "best") -> Trained:
    """The network of a workdir, from its "best" or "last" checkpoint.

    Raises:
      InputError: no such workdir or checkpoint.
    """
    config = _config(folder)
    saved, step = checkpoints.find(folder, kind)
    # Each process looks for itself, and a training may be writing.
    multihost.agree({"config": json.loads(config.to_json()), kind: step}, f"what {folder} holds")
    if damage := saved.damage(step):
        others = " or ".join(f"--checkpoint={other}" for other in checkpoints.KINDS if other != kind)
        raise InputError(f"{damage}; take {others}, or put back what it was")
    card = _card(folder, saved, step)
    task = tasks.make(config, card)
    template = params.Template(task.build)
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def like(shapes: dict[str, Any]) -> dict[str, Any]:
        return {k: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=here) for k, v in shapes.items()}

    wanted = {"parameters": like(template.parameters), "statistics": like(template.statistics)}
    model = saved.restore_model(step, wanted)
    saved.close()
    return Trained(config, card, step, task, template, model["parameters"], model["statistics"])


def kind_of_use(folder: pathlib.Path) -> str:
    """Which checkpoint of a workdir is what it has come to: "best" or "last".

    Of a pre-training the last, for it is judged by what is built on it and not by its own held-out score; of a run that
    maps or classifies the best. Raises InputError where it is no workdir.
    """
    task = tasks.named(_config(folder).task)
    scored = task.can_map or task.can_classify
    return "best" if scored and checkpoints.steps(folder, "best") else "last"


def classifies(folder: pathlib.Path) -> bool:
    """Whether a workdir is of a run that classifies whole patches. Raises InputError where it is no workdir."""
    return tasks.named(_config(folder).task).can_classify


def _config(folder: pathlib.Path) -> ml_collections.ConfigDict:
    with multihost.raise_on_all():
        config = workdir.read_config(folder)
        tasks.check_names(config)
    return config


def card_of(folder: pathlib.Path, kind: str = "best") -> cards.Card:
    """The card of the network that `restore` gives, without restoring it.

    Raises:
      InputError: as `restore`.
    """
    with multihost.raise_on_all():
        workdir.read_config(folder)
    saved, step = checkpoints.find(folder, kind)
    card = _card(folder, saved, step)
    saved.close()
    return card


def _card(folder: pathlib.Path, saved: checkpoints.Checkpoints, step: int) -> cards.Card:
    """The checkpoint's own card: it is what these parameters were trained with. The copy in the workdir must agree."""
    with multihost.raise_on_all():
        card, path = saved.restore_card(step), folder / cards.FILE
        if os.path.lexists(path):  # a link that leads nowhere is a card that cannot be read, and no missing one
            beside = cards.read(folder)
            different = [name for name in _SAME if getattr(beside, name) != getattr(card, name)]
            if different:
                raise InputError(
                    f"{path}: {', '.join(different)}: not as in the card of the checkpoint "
                    f"{saved.folder / str(step)}; put back what was written, or delete it: the checkpoint has its own"
                )
    return card
