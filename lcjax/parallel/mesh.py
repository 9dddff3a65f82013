"""The device mesh and how arrays lie on it: axes `data` and `fsdp`, sharding rules as data.

A step is compiled in one of two modes. Under "jit" it is written for the whole batch, and the compiler splits it. Under
"pmap" it is written for one replica: a device with its share of the examples. `psum`, `pmean`, `all_gather` and
`batch_offset` reach across the whole batch and are right in both modes: under "jit" there is a single replica.
"""

import collections
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from data_pipelines.schema.errors import InputError

AXES = ("data", "fsdp")
MODES = ("jit", "pmap")
REPLICAS = "replicas"  # name of the device axis in the mode "pmap"
BATCH_NORMS = ("global", "replica")

# (regular expression of a path, smallest number of elements): an array at least that large is split over `fsdp` along
# its largest divisible axis. The first match decides. Small arrays cost more to gather than they save.
RULES = ((r"bias_table$", math.inf), (r".*", 2**16))


def make_mesh(
    data: int, fsdp: int, batch_size: int, accumulate: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """Makes the mesh of data x fsdp devices.

    Every device gets the same number of examples of each microbatch.

    Args:
      data: devices along the axis `data`; -1 takes all that `fsdp` leaves.
      fsdp: devices along the axis `fsdp`.
      batch_size: examples in a global batch.
      accumulate: microbatches in a batch.
      devices: to choose from; by default all devices of all processes.

    Raises:
      InputError: the devices or the global batch do not divide.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    if count % fsdp:
        raise InputError(f"config.parallel.fsdp={fsdp}: does not divide the {count} devices")
    data = count // fsdp if data == -1 else data
    if data < 1 or data * fsdp > count:
        raise InputError(f"config.parallel: data={data} x fsdp={fsdp} needs more than the {count} devices")
    of_process = collections.Counter(device.process_index for device in devices)
    taken = collections.Counter(device.process_index for device in devices[: data * fsdp])
    if batch_size % (accumulate * data * fsdp):
        parts = f", in {accumulate} parts each (config.accumulate)" if accumulate > 1 else ""
        fewer = "fewer devices by config.parallel.data" if len(of_process) == 1 else "start fewer processes"
        raise InputError(
            f"config.batch_size={batch_size}: does not divide over {data * fsdp} devices{parts}; "
            f"take a multiple of {accumulate * data * fsdp}, or {fewer}"
        )
    if len({taken[process] for process in of_process}) > 1:
        raise InputError(
            f"config.parallel: data={data} x fsdp={fsdp} takes {data * fsdp} of the {count} devices of "
            f"{len(of_process)} processes, and not as many of each; take all of them, or start fewer processes"
        )
    return Mesh(device_grid(data, fsdp, devices[: data * fsdp]), AXES, axis_types=(AxisType.Auto,) * 2)


def device_grid(data: int, fsdp: int, devices: Sequence[jax.Device]) -> np.ndarray:
    """Arranges the devices as an array (data, fsdp) in which neighbours are near each other.

    A slice is a set of devices on one fast network (of GPUs, often one host). Over several slices, `data` runs from
    slice to slice and `fsdp` stays inside one where that is possible, because `fsdp` moves more bytes.

    Raises:
      InputError: the slices do not divide, or these TPU chips do not form a rectangle.
    """
    sizes = collections.Counter(getattr(device, "slice_index", 0) for device in devices)
    slices = len(sizes)
    if slices == 1:
        try:
            return mesh_utils.create_device_mesh((data, fsdp), devices, allow_split_physical_axes=True)
        except (AssertionError, NotImplementedError, ValueError) as error:
            raise InputError(
                f"config.parallel: data={data} x fsdp={fsdp} takes {data * fsdp} chips, which are no rectangle of the "
                "slice; take all chips, or half or a quarter of them"
            ) from error
    across = next((across for across in ((slices, 1), (1, slices)) if data % across[0] == fsdp % across[1] == 0), None)
    if across is None or len(set(sizes.values())) > 1:
        raise InputError(
            f"config.parallel: data={data} x fsdp={fsdp} does not divide over {slices} slices (of GPUs: hosts) of "
            f"{', '.join(map(str, sizes.values()))} devices; take as many of each, and a multiple of {slices}"
        )
    inside = (data // across[0], fsdp // across[1])
    return mesh_utils.create_hybrid_device_mesh(inside, across, devices, allow_split_physical_axes=True)


def check(parallel: ml_collections.ConfigDict) -> None:
    """Checks `config.parallel`.

    Raises:
      InputError: mode and fsdp do not go together.
    """
    if parallel.mode == "pmap" and parallel.fsdp != 1:
        raise InputError(
            f"config.parallel: mode='pmap' keeps all parameters on every device, and fsdp={parallel.fsdp} spreads "
            "them; take mode='jit', or fsdp=1"
        )


def batch_norm_attributes(parallel: ml_collections.ConfigDict, mesh: Mesh) -> dict[str, Any]:
    """Returns the attributes that make batch norms normalise by the global batch or by replica, as the config says."""
    if parallel.batch_norm == "global":
        return {"axis_name": REPLICAS} if parallel.mode == "pmap" else {}
    return {} if parallel.mode == "pmap" else {"groups": mesh.size}


def partition_spec(path: str, shape: tuple[int, ...], fsdp: int) -> PartitionSpec:
    """Returns how the array at `path` is split over `fsdp` devices."""
    smallest = next(smallest for pattern, smallest in RULES if re.search(pattern, path))
    axes = [axis for axis, size in enumerate(shape) if size % fsdp == 0]
    if fsdp == 1 or math.prod(shape) < smallest or not axes:
        return PartitionSpec()
    chosen = max(axes, key=lambda axis: shape[axis])
    return PartitionSpec(*("fsdp" if axis == chosen else None for axis in range(chosen + 1)))


def shardings(tree: Any, mesh: Mesh) -> Any:
    """Returns a NamedSharding for each array of a tree.

    The path that the rules see is the innermost dictionary key on the way to the array.
    """

    def one(keys: tuple[Any, ...], leaf: Any) -> NamedSharding:
        path = next((str(k.key) for k in reversed(keys) if isinstance(k, jax.tree_util.DictKey)), "")
        return NamedSharding(mesh, partition_spec(path, leaf.shape, mesh.shape["fsdp"]))

    return jax.tree_util.tree_map_with_path(one, tree)


def with_shardings(tree: Any, targets: Any) -> Any:
    """Returns the shapes and dtypes of a tree as jax.ShapeDtypeStruct with the given shardings."""
    return jax.tree.map(lambda leaf, how: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=how), tree, targets)


def mesh_of(array: jax.Array) -> Mesh:
    """Returns the mesh that an array lies on."""
    assert isinstance(array.sharding, NamedSharding) and isinstance(array.sharding.mesh, Mesh)
    return array.sharding.mesh


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: examples split over all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def constrain(x: jax.Array, axis: int) -> jax.Array:
    """Splits this axis over all devices of the current mesh (jax.set_mesh), inside a compiled function.

    Does nothing where no mesh is set, as on one device, nor inside pmap, where a device sees only its own examples.
    """
    return _constrained(x, PartitionSpec(*[None] * axis, AXES))


def replicate(x: jax.Array) -> jax.Array:
    """Puts a whole copy on every device, inside a compiled function; does nothing where `constrain` does nothing."""
    return _constrained(x, PartitionSpec())


def all_gather(x: jax.Array, axis: int) -> jax.Array:
    """Returns the examples of all replicas along `axis`, on every device, inside a compiled function."""
    if _in_replica():
        gathered: jax.Array = jax.lax.all_gather(x, REPLICAS, axis=axis, tiled=True)
        return gathered
    return replicate(x)


def psum(x: Any) -> Any:
    """Returns the sum of an array or a tree over all replicas, inside a compiled function."""
    return jax.lax.psum(x, REPLICAS) if _in_replica() else x


def pmean(x: Any) -> Any:
    """Returns the mean of an array or a tree over all replicas, inside a compiled function."""
    return jax.lax.pmean(x, REPLICAS) if _in_replica() else x


def batch_offset(size: int) -> jax.Array:
    """Returns the index in the batch of this replica's first example, int32, inside a compiled function.

    Args:
      size: examples of a replica.
    """
    return jax.lax.axis_index(REPLICAS) * size if _in_replica() else jnp.int32(0)


def _in_replica() -> bool:
    return REPLICAS in jax.sharding.get_abstract_mesh().manual_axes


def _constrained(x: jax.Array, how: PartitionSpec) -> jax.Array:
    mesh = jax.sharding.get_abstract_mesh()
    return x if mesh.empty or mesh.manual_axes else jax.lax.with_sharding_constraint(x, how)


def replicate_tree(tree: Any, mesh: Mesh) -> Any:
    """Turns host arrays that are equal on every process into global arrays with a copy on every device."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda value: place(jax.device_get(value), everywhere), tree)


def place(tree: Any, targets: Any) -> Any:
    """Turns host arrays that are equal on every process into global arrays with the given shardings."""

    def one(value: Any, sharding: NamedSharding) -> jax.Array:
        value = np.asarray(value)
        return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

    return jax.tree.map(one, tree, targets)


def global_batch(
    batch: Mapping[str, np.ndarray], sharding: NamedSharding, *, by_device: bool = False
) -> dict[str, jax.Array]:
    """Makes the global arrays of a batch from what each process has read of it.

    Args:
      batch: this process's examples, name -> (examples, ...).
      sharding: of the global arrays.
      by_device: give the arrays a leading axis of devices, as pmap wants.
    """
    if by_device:
        here = len(sharding.addressable_devices)
        batch = {key: value.reshape(here, -1, *value.shape[1:]) for key, value in batch.items()}
    with jax.transfer_guard("allow"):  # the one way of data to the devices
        return {key: jax.make_array_from_process_local_data(sharding, value) for key, value in batch.items()}
