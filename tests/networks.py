"""Networks, tasks and batches for the tests: as small as their structure allows."""

import dataclasses
import pathlib

import jax
import numpy as np

from data_pipelines.datasets import registry as datasets
from data_pipelines.schema.legends import LandClass, Legend
from data_pipelines.schema.sensors import Scaling, Sensor
from lcjax import tasks
from lcjax.configs import classification, dfc2020, pretrain
from lcjax.engine import experiment as experiments
from lcjax.engine.schedule import LearningRate
from lcjax.models import params
from lcjax.runs import model_card as cards

# What is smaller than the tiny size: shifted windows, a merge, an expand with a skip; a UNet has five levels whatever
# its width.
_SWIN = {"embed": 8, "depths": (2, 1), "heads": (1, 2)}
_SWIN_UNET = _SWIN | {"decoder_depths": (2,)}
SMALLEST = {
    "unet": {"base": 4},
    "swin_unet": _SWIN_UNET,
    "two_stream_swin": _SWIN_UNET,
    "swin_upernet": _SWIN | {"hidden": 16},
    "vit_pyramid": {"embed": 24, "depth": 1, "hidden": 16},
}


# Three bands and five classes stand for any own imagery.
RGB = Sensor(
    name="image",
    title="Own imagery",
    bands=("red", "green", "blue"),
    dtype="uint8",
    meaning="as in the files",
    scaling=Scaling(1.0, (0.0,) * 3, (255.0,) * 3, (120.0, 110.0, 100.0), (50.0, 45.0, 40.0)),
    display=("red", "green", "blue"),
    ground_sampling=0.3,
    zero_is_nodata=False,
)
CLASSES = Legend("rasters", tuple(LandClass(i, f"class_{i}", f"#{i:02x}{40 * i:02x}ff") for i in range(5)))


def card_of(config) -> cards.Card:
    """The card that a run of this config would have, if it had as many pixels of each class."""
    if datasets.entry(config.dataset).needs_preparation:
        names = ["before", "after"] if config.fusion.startswith(("early", "late")) else [RGB.name]
        own = [dataclasses.replace(RGB, name=name) for name in names]
        return experiments.card_without_data(config, own, CLASSES, 256, config.dataset)
    spec = datasets.dataset(config.dataset, legend=config.legend, bands=config.bands)
    return experiments.card_without_data(config, spec.sensors, spec.legend, spec.tile, spec.name)


OBJECTIVES = {"contrastive": "nt_xent", "vicreg": "vicreg", "masked": "masked"}


def smallest(model: str, fusion: str = "", *, task: str = "segmentation", freeze: str = "", views="sensors", **sizes):
    """A config of the smallest network of a family; `sizes` replace hyper-parameters of the network."""
    if task in OBJECTIVES:
        config = pretrain.get_config(f"model={model},objective={OBJECTIVES[task]},views={views},tiny=true")
    elif task == "classification":
        config = classification.get_config(f"model={model},fusion={fusion},freeze={freeze},tiny=true")
    else:
        config = dfc2020.get_config(f"model={model},fusion={fusion},freeze={freeze},tiny=true")
    config.model.update(SMALLEST.get(model, {}) | sizes)
    config.crop = 32
    return config


def make(config):
    """(task, template, initial parameters, initial statistics) of a config."""
    task = tasks.make(config, card_of(config))
    template = params.Template(task.build, config.freeze)
    return task, template, *template.initial_values(0)


def precisions_compared(task, values, statistics, images, *, train: bool = False) -> dict[str, float]:
    """How logits in bf16 differ from those in f32, of images as `predict` gives them.

    Normalised by the running statistics, as `predict` does; with `train` by those of the images.
    "highest" and "mean" of the differences, "deviation" of the logits, and "same": the share of pixels that both give
    the same class.
    """
    logits = {}
    before = task.config.precision
    for precision in ("f32", "bf16"):
        task.config.precision = precision
        template = params.Template(task.build)

        def forward(values, statistics, template=template):
            return template.merge(values, statistics, train=train)(images)

        logits[precision] = np.asarray(jax.jit(forward)(values, statistics))
    task.config.precision = before
    error = np.abs(logits["bf16"] - logits["f32"])
    same = np.mean(logits["bf16"].argmax(-1) == logits["f32"].argmax(-1))
    figures = {"highest": error.max(), "mean": error.mean(), "deviation": logits["f32"].std(), "same": same}
    return {name: float(value) for name, value in figures.items()}


def batch(config, size: int, edge: int = 32, seed: int = 0) -> dict[str, np.ndarray]:
    """A batch as the loader gives it: blocks of land cover, and stored integers that depend on it."""
    card = card_of(config)
    generator = np.random.default_rng(seed)
    ids = np.array([*(land_class.id for land_class in card.legend.scored), 0, 255], np.uint8)
    coarse = generator.integers(0, len(ids), (size, -(-edge // 8), -(-edge // 8)))
    drawn = coarse.repeat(8, 1).repeat(8, 2)[:, :edge, :edge]
    images = {"s1": (-2400, 0, np.int16), "s2": (0, 9000, np.uint16), "aerial": (0, 255, np.uint8)}
    result = {}
    for sensor in card.sensors:
        low, high, dtype = images[sensor.name]
        spectra = generator.uniform(low, high, (len(ids), len(sensor.bands)))
        image = spectra[drawn] + generator.normal(0, 30, (*drawn.shape, 1))
        result[sensor.name] = image.clip(low, high).astype(dtype)
    result["label"] = ids[drawn]
    return result | {"example": np.arange(size, dtype=np.uint32), "corner": np.zeros((size, 2), np.int32)}


def logged(metrics: dict) -> dict[str, float]:
    """What the log says of the metrics of one step."""
    means = {key: value if isinstance(value, tasks.Mean) else (value, 1) for key, value in metrics.items()}
    return {key: float(total) / float(count) for key, (total, count) in means.items() if count}


def trained(config, devices: int, size: int, count: int):
    """(template, state before, state after, metrics of the last step) of so many steps on one batch, in numpy."""
    config = config.copy_and_resolve_references()
    config.seed, config.batch_size, config.parallel.data = 0, size, devices
    experiment = experiments.build_from_card(config, card_of(config))
    experiment = dataclasses.replace(experiment, rate=LearningRate(1e-2, 0, 10, "constant"))
    state = experiment.initial_state(*experiment.random_values())
    before = jax.tree.map(np.array, state)
    shown = batch(config, size)
    data = experiment.global_batch({key: shown[key] for key in (*experiment.task.keys, "corner", "example")})
    step = experiment.compile(state, data)
    for _ in range(count):
        state, metrics = step(state, data)
    return experiment.template, before, jax.tree.map(np.array, state), jax.device_get(metrics)


def small(config, data_dir: pathlib.Path, steps: int = 6):
    """A config shrunk further, to seconds."""
    config.data_dir = str(data_dir)
    config.total = f"{steps} steps"
    config.log_every = "1 steps"
    config.evaluate_every = f"{steps // 2} steps"
    config.save_every = "2 steps"
    config.crop = 32
    config.batch_size = 8
    config.evaluation_batch_size = 8
    if config.model.name == "unet":
        config.model.base = 4
    else:
        config.model.update({"embed": 8, "depths": (1, 1), "heads": (1, 2), "decoder_depths": (1,)})
    return config
