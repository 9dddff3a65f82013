"""How the arrays of each network lie on the mesh, pinned as text, and what is refused."""

import jax
import numpy as np
import pytest
from networks import make, smallest

from data_pipelines.errors import InputError
from lcjax import optim, steps
from lcjax.parallel import mesh as meshes


def test_data_takes_what_fsdp_leaves():
    assert dict(meshes.make(-1, 1, 8).shape) == {"data": 8, "fsdp": 1}
    assert dict(meshes.make(-1, 4, 8).shape) == {"data": 2, "fsdp": 4}
    assert dict(meshes.make(2, 1, 6).shape) == {"data": 2, "fsdp": 1}
    assert meshes.make(1, 1, 5).devices.ravel().tolist() == jax.devices()[:1]


@pytest.mark.parametrize(
    ("data", "fsdp", "batch_size", "says"),
    [
        (-1, 3, 24, "config.parallel.fsdp=3: does not divide the 8 devices"),
        (-1, 0, 24, "config.parallel.fsdp=0: does not divide the 8 devices"),
        (4, 4, 16, "config.parallel: data=4 x fsdp=4 needs more than the 8 devices"),
        (0, 1, 8, "config.parallel: data=0 x fsdp=1"),
        (-2, 1, 8, "config.parallel: data=-2 x fsdp=1"),
        (-1, 1, 12, "config.batch_size=12: does not divide over 8 devices; take a multiple of 8"),
        (2, 2, 6, "config.batch_size=6: does not divide over 4 devices; take a multiple of 4"),
    ],
)
def test_what_does_not_divide_is_refused(data, fsdp, batch_size, says):
    with pytest.raises(InputError) as raised:
        meshes.make(data, fsdp, batch_size)
    assert says in str(raised.value)


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
    assert meshes.spec(path, shape, fsdp) == jax.sharding.PartitionSpec(*expected)


# Above the smallest networks, so that something is worth spreading.
SIZES = {"unet": {"base": 32}, "two_stream_swin": {"embed": 96, "heads": (3, 6)}}
# All that is spread over fsdp=4; the s1 and s2 streams lie alike.
GOLDEN = {
    "unet": """
decoders/s1_s2/levels/0/conv1/kernel (3, 3, 512, 256) (None, None, 'fsdp')
decoders/s1_s2/levels/0/conv2/kernel (3, 3, 256, 128) (None, None, 'fsdp')
decoders/s1_s2/levels/1/conv1/kernel (3, 3, 256, 128) (None, None, 'fsdp')
decoders/s1_s2/levels/1/conv2/kernel (3, 3, 128, 64) (None, None, 'fsdp')
decoders/s1_s2/levels/2/conv1/kernel (3, 3, 128, 64) (None, None, 'fsdp')
encoders/s1_s2/levels/2/conv1/kernel (3, 3, 64, 128) (None, None, None, 'fsdp')
encoders/s1_s2/levels/2/conv2/kernel (3, 3, 128, 128) (None, None, 'fsdp')
encoders/s1_s2/levels/3/conv1/kernel (3, 3, 128, 256) (None, None, None, 'fsdp')
encoders/s1_s2/levels/3/conv2/kernel (3, 3, 256, 256) (None, None, 'fsdp')
encoders/s1_s2/levels/4/conv1/kernel (3, 3, 256, 256) (None, None, 'fsdp')
encoders/s1_s2/levels/4/conv2/kernel (3, 3, 256, 256) (None, None, 'fsdp')
""",
    "two_stream_swin": """
decoders/s1/expands/0/expand/kernel (192, 384) (None, 'fsdp')
decoders/s2/expands/0/expand/kernel (192, 384) (None, 'fsdp')
encoders/s1/merges/0/reduction/kernel (384, 192) ('fsdp',)
encoders/s1/stages/1/0/attention/qkv/kernel (192, 576) (None, 'fsdp')
encoders/s1/stages/1/0/mlp_in/kernel (192, 768) (None, 'fsdp')
encoders/s1/stages/1/0/mlp_out/kernel (768, 192) ('fsdp',)
encoders/s2/merges/0/reduction/kernel (384, 192) ('fsdp',)
encoders/s2/stages/1/0/attention/qkv/kernel (192, 576) (None, 'fsdp')
encoders/s2/stages/1/0/mlp_in/kernel (192, 768) (None, 'fsdp')
encoders/s2/stages/1/0/mlp_out/kernel (768, 192) ('fsdp',)
head/expand/expand/kernel (192, 3072) (None, 'fsdp')
""",
}


@pytest.mark.parametrize("model", SIZES)
def test_where_the_parameters_lie(model):
    _, template, _, _ = make(smallest(model, **SIZES[model]))

    def spread(fsdp):
        specs = {path: meshes.spec(path, leaf.shape, fsdp) for path, leaf in template.parameters.items()}
        return [f"{path} {template.parameters[path].shape} {tuple(s)}" for path, s in sorted(specs.items()) if any(s)]

    assert spread(1) == []
    assert spread(4) == GOLDEN[model].strip().splitlines()


def test_moments_lie_with_their_parameters():
    config = smallest("unet", base=32)
    _, template, values, statistics = make(config)
    mesh = meshes.make(2, 4, 8)
    state = steps.initial_state(template, values, statistics, optim.transformation(config.optimizer), mesh)
    adam = next(part for part in state.optimizer if hasattr(part, "mu"))
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
    mesh = meshes.make(2, 4, 8)
    image = np.arange(16 * 3).reshape(16, 3)
    found = meshes.global_batch({"x": image}, meshes.batch_sharding(mesh))["x"]
    np.testing.assert_array_equal(found, image)
    assert sorted(shard.data[0, 0].item() for shard in found.addressable_shards) == list(range(0, 48, 6))
