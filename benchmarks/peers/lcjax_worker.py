"""Our side: the network of a case, as a plain step or as `lcjax train` runs it."""

import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import worker
from cases import BANDS, CASES, CLASSES, CLIP, LEARNING_RATE, WEIGHT_DECAY

from lcjax.configs import classification, dfc2020
from lcjax.engine import experiment as experiments
from lcjax.ops import losses
from lcjax.parallel import cpu


def config_of(case, precision: str, batch: int, how: str):
    """The config of a case."""
    experiment = classification if case.patches else dfc2020
    size = f",size={case.size}" if case.size else ""
    config = experiment.get_config(f"model={case.model},fusion=early{size}")
    config.batch_size, config.crop, config.precision = batch, case.edge, precision
    config.parallel.mode = how
    return config


def _whole(case, precision: str, batch: int, how: str):
    experiment = experiments.build_without_data(config_of(case, precision, batch, how))
    state = experiment.initial_state(*experiment.random_values())
    examples = experiment.global_batch(experiment.synthetic_batch(batch))
    compiled = experiment.compile(state, examples)
    held = [state]

    def call() -> None:
        held[0], metrics = compiled(held[0], examples)
        jax.block_until_ready(metrics)

    return call, sum(int(np.prod(leaf.shape)) for leaf in experiment.template.parameters.values())


def _plain(case, precision: str, batch: int, mode: str):
    """Forward, or forward, backward and update, of floats; without drop path, augmentation and metrics."""
    config = config_of(case, precision, batch, "jit")
    if "drop_path" in config.model:
        config.model.drop_path = 0.0
    experiment = experiments.build_without_data(config)
    template = experiment.template
    values, statistics = (jax.tree.map(jnp.asarray, tree) for tree in experiment.random_values())
    generator = np.random.default_rng(0)
    images = {
        sensor.name: jnp.asarray(
            generator.normal(size=(batch, case.edge, case.edge, len(sensor.bands))).astype(np.float32)
        )
        for sensor in experiment.card.sensors
    }
    assert sum(image.shape[-1] for image in images.values()) == BANDS
    labels = jnp.asarray(
        generator.integers(0, CLASSES, (batch,) if case.patches else (batch, case.edge, case.edge)).astype(np.uint8)
    )
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY))

    # Images and labels are arguments: of constants the compiler would compute a part beforehand.
    def loss(values, statistics, images, labels):
        model = template.merge(values, statistics, train=True)
        return losses.cross_entropy(model(images), labels), template.statistics_of(model)

    @jax.jit
    def forward(values, statistics, images):
        return template.merge(values, statistics, train=False)(images)

    def step(values, statistics, moments, images, labels):
        (mean, statistics), gradients = jax.value_and_grad(loss, has_aux=True)(values, statistics, images, labels)
        updates, moments = optimizer.update(gradients, moments, values)
        return optax.apply_updates(values, updates), statistics, moments, mean

    count = sum(value.size for value in values.values())
    if mode == "forward":
        return lambda: jax.block_until_ready(forward(values, statistics, images)), count
    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    held = [values, statistics, optimizer.init(values)]

    def call() -> None:
        *held[:], mean = compiled(*held, images, labels)
        mean.block_until_ready()

    return call, count


def main(name: str, mode: str, precision: str, batch: str, output: str, how: str) -> None:
    """Serves a side of a case."""
    case, size = CASES[name], int(batch)
    if mode == "training":
        cpu.keep_memory(os.environ)  # as `lcjax train` does
    worker.serve(lambda: _plain(case, precision, size, mode) if how == "step" else _whole(case, precision, size, how))


if __name__ == "__main__":
    main(*sys.argv[1:])
