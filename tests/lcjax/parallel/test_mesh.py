"""How the arrays of each network lie on the mesh, pinned as text, and what is refused."""

import math
import os
import pathlib
import re
import types

import jax
import numpy as np
import pytest
from networks import card_of, make, smallest

from data_pipelines.schema.errors import InputError
from lcjax import tasks
from lcjax.configs import dfc2020
from lcjax.engine import optimizer as optimizers
from lcjax.engine.state import initial_state
from lcjax.models import params, registry
from lcjax.parallel import mesh as meshes

GOLDEN = pathlib.Path(__file__).with_name("golden")


def test_data_takes_what_fsdp_leaves():
    assert dict(meshes.make_mesh(-1, 1, 8).shape) == {"data": 8, "fsdp": 1}
    assert dict(meshes.make_mesh(-1, 4, 8).shape) == {"data": 2, "fsdp": 4}
    assert dict(meshes.make_mesh(2, 1, 6).shape) == {"data": 2, "fsdp": 1}
    assert meshes.make_mesh(1, 1, 5).devices.ravel().tolist() == jax.devices()[:1]


@pytest.mark.parametrize(
    ("data", "fsdp", "batch_size", "says"),
    [
        (-1, 3, 24, "config.parallel.fsdp=3: does not divide the 8 devices"),
        (4, 4, 16, "config.parallel: data=4 x fsdp=4 needs more than the 8 devices"),
        (0, 1, 8, "config.parallel: data=0 x fsdp=1"),
        (-2, 1, 8, "config.parallel: data=-2 x fsdp=1"),
        (-1, 1, 12, "config.batch_size=12: does not divide over 8 devices; take a multiple of 8"),
        (2, 2, 6, "config.batch_size=6: does not divide over 4 devices; take a multiple of 4"),
    ],
)
def test_what_does_not_divide_is_refused(data, fsdp, batch_size, says):
    with pytest.raises(InputError) as raised:
        meshes.make_mesh(data, fsdp, batch_size)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("data", "batch_size", "says"),
    [
        (1, 8, "data=1 x fsdp=1 takes 1 of the 4 devices of 2 processes, and not as many of each; take all of them"),
        (3, 12, "data=3 x fsdp=1 takes 3 of the 4 devices of 2 processes"),
        (-1, 6, "does not divide over 4 devices; take a multiple of 4, or start fewer processes"),
    ],
)
def test_all_processes_have_as_many_devices(data, batch_size, says):
    devices = [types.SimpleNamespace(process_index=number // 2) for number in range(4)]
    with pytest.raises(InputError, match=says):
        meshes.make_mesh(data, 1, batch_size, devices=devices)


@pytest.mark.parametrize(
    ("path", "shape", "fsdp", "expected"),
    [
        ("a/kernel", (256, 256), 1, ()),  # one device: nothing to spread
        ("a/kernel", (256, 256), 4, ("fsdp",)),
        ("a/kernel", (128, 512), 4, (None, "fsdp")),  # the longest axis
        ("a/kernel", (3, 3, 64, 256), 4, (None, None, None, "fsdp")),
        ("a/kernel", (510, 130), 4, ()),  # no axis divides
        ("a/kernel", (514, 128), 4, (None, "fsdp")),  # the longest that divides
        ("a/kernel", (255, 256), 4, ()),  # below 2^16 entries
        ("a/bias_table", (4096, 4096), 4, ()),  # never
    ],
)
def test_the_rules(path, shape, fsdp, expected):
    assert meshes.partition_spec(path, shape, fsdp) == jax.sharding.PartitionSpec(*expected)


class Chip:
    """A device of one of several slices, as far as a mesh asks."""

    platform, device_kind, process_index = "gpu", "H100", 0

    def __init__(self, number: int, slice_index: int):
        self.id, self.slice_index = number, slice_index


def slices_of(data: int, fsdp: int, sizes: list[int]) -> list[list[int]]:
    places = [place for place, size in enumerate(sizes) for _ in range(size)]
    chips = [Chip(number, place) for number, place in enumerate(places)]
    return [[chip.slice_index for chip in row] for row in meshes.device_grid(data, fsdp, chips)]


def test_what_is_gathered_stays_inside_a_slice():
    assert slices_of(4, 2, [4, 4]) == [[0, 0], [0, 0], [1, 1], [1, 1]]
    assert slices_of(8, 1, [4, 4]) == [[0]] * 4 + [[1]] * 4
    assert slices_of(1, 8, [4, 4]) == [[0] * 4 + [1] * 4]  # where it cannot
    assert slices_of(2, 4, [8]) == [[0] * 4] * 2


@pytest.mark.parametrize(("data", "fsdp", "sizes"), [(3, 3, [3, 6]), (2, 3, [4, 2]), (3, 1, [2, 1])])
def test_slices_that_do_not_divide_are_refused(data, fsdp, sizes):
    with pytest.raises(InputError, match=f"data={data} x fsdp={fsdp} does not divide over 2 slices"):
        slices_of(data, fsdp, sizes)


def layout(model: str) -> str:
    """How the parameters of a full-size network lie on eight devices of fsdp; equal blocks as one line."""
    task = tasks.make(config := dfc2020.get_config(f"model={model}"), card_of(config))
    shapes = params.Template(task.build).parameters
    specs = {path: meshes.partition_spec(path, leaf.shape, 8) for path, leaf in shapes.items()}
    size = {path: math.prod(leaf.shape) for path, leaf in shapes.items()}
    spread = sum(size[path] for path in specs if any(specs[path]))
    lines = [
        f"{sum(size.values()):,} parameters, {spread / sum(size.values()):.1%} of them spread; "
        f"{sum(size.values()) - spread + spread // 8:,} on each of 8 devices"
    ]
    alike: dict[str, int] = {}
    for path, leaf in sorted(shapes.items()):
        line = (
            f"{re.sub(r'/[0-9]+(?=/)', '/*', path)} {leaf.shape} {tuple(specs[path]) if any(specs[path]) else 'whole'}"
        )
        alike[line] = alike.get(line, 0) + 1
    return "\n".join([*lines, *(f"{count:3} x {line}" for line, count in alike.items())]) + "\n"


@pytest.mark.parametrize("model", registry.FAMILIES)
def test_where_the_parameters_lie(model):
    path = GOLDEN / f"{model}.txt"
    again = "if the change is meant: WRITE_GOLDEN=1 python -m pytest tests/lcjax/parallel/test_mesh.py"
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(layout(model))
    assert path.is_file(), f"{path} is missing; {again}"
    assert layout(model) == path.read_text(), again


def test_no_golden_text_is_left_over():
    assert {path.stem for path in GOLDEN.iterdir()} == set(registry.FAMILIES)


def test_moments_lie_with_their_parameters():
    config = smallest("unet", base=32)
    _, template, values, statistics = make(config)
    mesh = meshes.make_mesh(2, 4, 8)
    state = initial_state(template, values, statistics, optimizers.make_optimizer(config.optimizer), mesh)
    adam = next(part for part in state.opt_state if hasattr(part, "mu"))
    spread = 0
    for path, leaf in state.trainable.items():
        assert leaf.sharding == adam.mu[path].sharding == adam.nu[path].sharding
        spread += not leaf.sharding.is_fully_replicated
        np.testing.assert_array_equal(leaf, values[path])
        assert not np.any(adam.mu[path])
    assert spread > 3
    assert all(leaf.sharding.is_fully_replicated for leaf in state.statistics.values())
    largest = max(state.trainable.values(), key=lambda leaf: leaf.size)
    assert largest.addressable_shards[0].data.size == largest.size // 4


def test_a_batch_lies_over_all_devices():
    mesh = meshes.make_mesh(2, 4, 8)
    image = np.arange(16 * 3).reshape(16, 3)
    found = meshes.global_batch({"x": image}, meshes.batch_sharding(mesh))["x"]
    np.testing.assert_array_equal(found, image)
    assert sorted(shard.data[0, 0].item() for shard in found.addressable_shards) == list(range(0, 48, 6))
