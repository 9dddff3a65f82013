"""Every network on every fusion learns two crops of the sample by heart, in its tiny size."""

import functools

import jax
import numpy as np
import pytest
from networks import make

from configs import dfc2020
from data_pipelines import loader, prepared
from lcjax.models import families

# One more than the names of `FAMILIES`: the UNet upsamples in two ways.
NETWORKS = {name: (name, {}) for name in families.FAMILIES} | {
    "unet transposed": ("unet", {"upsampling": "transposed"})
}
STEPS = 300


@pytest.fixture(scope="module")
def crops(data_dir):
    """Two crops of 32 pixels from the training records of the sample: seven classes."""
    source = prepared.open_dataset(data_dir, "sample").source("validation[:80%]")
    keys = ("s1", "s2", "label")
    batches = loader.train_batches(source, batch_size=2, seed=3, position=0, keys=keys, crop=32, threads=0)
    batch = next(batches)
    batches.close()
    assert batch["s2"].shape == (2, 32, 32, 13)
    assert len(np.unique(batch["label"])) == 7
    return batch


@pytest.fixture(scope="module")
def learn():
    """The losses of a program, by its text: networks that are the same program in their tiny size learn once.

    ResNet-18 and 34 are, ResNet-50 and 101, and the two of Swin; and initial values depend on paths and shapes alone.
    """

    def losses_of(text: str, slopes_of, values, statistics) -> list[float]:
        if text not in known:
            known[text] = list(losses(slopes_of.compile(), values, statistics))
        return known[text]

    known: dict[str, list[float]] = {}
    return losses_of


def losses(slopes_of, values, statistics):
    """The losses while Adam learns, to a tenth of the first."""
    # Adam in numpy: compiling it for every array takes longer than running it here.
    mean, square = ({path: np.zeros_like(value) for path, value in values.items()} for _ in range(2))
    values, highest = dict(values), None
    for step in range(1, STEPS + 1):
        (loss, statistics), slopes = jax.device_get(slopes_of(values, statistics))
        yield float(loss)
        highest = highest or float(loss)
        if loss < highest / 10:
            break
        for path, slope in slopes.items():
            mean[path] += 0.1 * (slope - mean[path])
            square[path] += 0.001 * (slope**2 - square[path])
            length = np.sqrt(square[path] / (1 - 0.999**step)) + 1e-8
            values[path] = values[path] - 0.01 / (1 - 0.9**step) * mean[path] / length


@pytest.mark.parametrize("fusion", ["s1", "s2", "early", "late"])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_learns_a_batch_by_heart(crops, learn, network, fusion):
    name, numbers = NETWORKS[network]
    config = dfc2020.get_config(f"model={name},fusion={fusion},data=sample,tiny=true")
    config.model.update(numbers)
    config.crop, config.turn = 0, False
    task, template, values, statistics = make(config)
    keys = jax.random.split(jax.random.key(0), 2)

    @functools.partial(jax.value_and_grad, has_aux=True)
    def slopes_of(values, statistics, batch):
        model = template.merge(values, statistics, train=True)
        return task.loss(model, batch, keys)[0], template.statistics_of(model)

    batch = {key: crops[key] for key in (*task.keys, "corner", "example")}
    lowered = jax.jit(functools.partial(slopes_of, batch=batch)).lower(values, statistics)
    found = learn(lowered.as_text(), lowered, values, statistics)
    assert found[-1] < found[0] / 10, found[::20]
