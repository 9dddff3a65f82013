"""Every network on every fusion learns two crops of the sample by heart, in its tiny size."""

import functools

import jax
import numpy as np
import pytest
from networks import make, precisions_compared

from data_pipelines.reading import dataset, loader
from lcjax.configs import dfc2020
from lcjax.models import registry
from lcjax.ops import augment

# One more than the names of `FAMILIES`: the UNet upsamples in two ways.
NETWORKS = {name: (name, {}) for name in registry.FAMILIES} | {
    "unet transposed": ("unet", {"upsampling": "transposed"})
}
STEPS = 300


@pytest.fixture(scope="module")
def crops(data_dir):
    """Two crops of 32 pixels from the training records of the sample: seven classes."""
    source = dataset.open_dataset(data_dir, "sample").source("validation[:80%]")
    keys = ("s1", "s2", "label")
    batches = loader.train_batches(source, batch_size=2, seed=3, position=0, keys=keys, crop=32, threads=0)
    batch = next(batches)
    batches.close()
    assert batch["s2"].shape == (2, 32, 32, 13)
    assert len(np.unique(batch["label"])) == 7
    return batch


@pytest.fixture(scope="module")
def learned(crops):
    """A function (network, fusion) -> the task and template, losses on the way, last parameters and statistics.

    Networks that are the same program in their tiny size learn once: ResNet-18 and 34, ResNet-50 and 101, and the two
    of Swin. Initial values depend on paths and shapes alone.
    """
    known: dict[str, tuple] = {}

    def learn(network: str, fusion: str):
        name, numbers = NETWORKS[network]
        config = dfc2020.get_config(f"model={name},fusion={fusion},data=sample,tiny=true")
        config.model.update(numbers)
        config.crop, config.dihedral = 0, False
        task, template, values, statistics = make(config)
        keys = jax.random.split(jax.random.key(0), 2)
        batch = {key: crops[key] for key in (*task.keys, "corner", "example")}

        @functools.partial(jax.value_and_grad, has_aux=True)
        def slopes_of(values, statistics):
            model = template.merge(values, statistics, train=True)
            return task.loss(model, batch, keys)[0], template.statistics_of(model)

        lowered = jax.jit(slopes_of).lower(values, statistics)
        program = lowered.as_text()
        if program not in known:
            known[program] = descend(lowered.compile(), values, statistics)
        return task, template, *known[program]

    return learn


def descend(slopes_of, values, statistics):
    """The losses while Adam learns, to a tenth of the first; the last parameters and statistics."""
    # Adam in numpy: compiling it for every array takes longer than running it here.
    mean, square = ({path: np.zeros_like(value) for path, value in values.items()} for _ in range(2))
    values, losses = dict(values), []
    for step in range(1, STEPS + 1):
        (loss, statistics), slopes = jax.device_get(slopes_of(values, statistics))
        losses.append(float(loss))
        if losses[-1] < losses[0] / 10:
            break
        for path, slope in slopes.items():
            mean[path] += 0.1 * (slope - mean[path])
            square[path] += 0.001 * (slope**2 - square[path])
            length = np.sqrt(square[path] / (1 - 0.999**step)) + 1e-8
            values[path] = values[path] - 0.01 / (1 - 0.9**step) * mean[path] / length
    return losses, values, statistics


# Late fusion doubles what is compiled: of each kind of encoder one network, and those that are the same program.
LATE = ("unet", "resnet18_unet", "resnet34_unet", "swin_unet", "two_stream_swin", "vit_pyramid")
QUICK = {(network, "s2") for network in NETWORKS} | {(network, "late") for network in LATE}


@pytest.mark.parametrize(
    ("network", "fusion"),
    [
        pytest.param(network, fusion, marks=() if (network, fusion) in QUICK else pytest.mark.slow)
        for network in NETWORKS
        for fusion in ("s2", "late", "s1", "early")
    ],
)
def test_a_network_learns_a_batch_by_heart(learned, network, fusion):
    *_, losses, _, _ = learned(network, fusion)
    assert losses[-1] < losses[0] / 10, losses[::20]


@pytest.mark.parametrize("network", ["unet", "resnet18_unet", "efficientnet_lite0_unet", "swin_unet", "vit_pyramid"])
def test_what_was_learnt_in_f32_is_answered_so_in_bf16(learned, crops, network, record_property):
    """The same class on 99 % of pixels; test_bf16.py has longer runs, on what they were not trained on."""
    task, _, _, values, statistics = learned(network, "s2")
    images = {"s2": augment.scale(crops["s2"], task.card.sensors[0].scaling)}
    # By the statistics of the crops, as they were learnt; test_bf16.py takes the running ones. So few steps do not
    # bring those near: resnet18_unet and vit_pyramid (98.4 %) fail by them; brought there by 60 more looks, vit_pyramid
    # (96.4 %) and efficientnet_lite0_unet (92.3 %) do. We suppose that where two crops leave two numbers for a channel,
    # these may lie so close together that bf16 does not tell them apart.
    figures = precisions_compared(task, values, statistics, images, train=True)
    for name, value in figures.items():
        record_property(name, value)
    print(network, figures)
    assert figures["same"] >= 0.99, figures
    assert figures["mean"] < 0.03 * figures["deviation"], figures
