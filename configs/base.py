"""The fields that every config has, and those of some: what each is by default, in tiny runs, and what it means.

A config file makes its config here and then sets what is its own:

    config = base.make(model="unet", tiny=True)
    config.dataset = "flair1"
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import ml_collections

from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from lcjax.models import registry

_SAME: Any = object()


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a config.

    Attributes:
      default: its value; later values must be of the same type.
      meaning: one line, in the words of somebody who sets it.
      tiny: its value where the config is asked for with tiny=true; the default where none is given.
    """

    default: Any
    meaning: str
    tiny: Any = _SAME

    def value(self, tiny: bool) -> Any:
        """What the field begins with."""
        return self.tiny if tiny and self.tiny is not _SAME else self.default


_DURATION = "in steps, epochs, examples or percent of the run"

# Of every config. Nested fields have dots in their names.
FIELDS: dict[str, Field] = {
    "task": Field("segmentation", "what is learned: segmentation or contrastive (`lcjax info tasks`)"),
    "recipe": Field("ours", "whose settings these are: ours, or report or code for a cell of the 2024 report"),
    "cell": Field("", "the cell of the 2024 report's tables that this run is; only a name"),
    "seed": Field(42, "decides on the initial parameters, the order of the records and every draw"),
    # Data
    "data_dir": Field("data", "folder of the prepared data sets, --data_dir of `lcjax prepare`"),
    "dataset": Field("", "which of them (`lcjax info datasets`)"),
    "split.train": Field("train", "records that are trained on: a split, a part (validation[:80%]) or a sum (a+b)"),
    "split.validation": Field("validation", "records that choose the best checkpoint; empty for none"),
    "split.test": Field("test", "records that `lcjax evaluate` scores"),
    "legend": Field("", "classes of the labels, where the data set has several legends; empty for its own"),
    "bands": Field("all", "bands that the network sees: all, a name such as rgb, or bands with + between them"),
    "metadata": Field(False, "the network is also told where, when and how an image was taken, where that is known"),
    "resize": Field(0, "images are made smaller to this size in pixels before anything else; 0 is off"),
    "crop": Field(224, "size in pixels of the piece of a tile that is trained on, drawn anew each time; 0 is all", 64),
    "dihedral": Field(True, "training images are flipped and turned at random, in eight ways"),
    "speckle": Field(0, "looks of the speckle that training adds to radar; fewer are noisier, 0 is off"),
    "jitter": Field(0.0, "deviation of the logarithm of a random gain for each band in training; 0 is off"),
    "scaling": Field("sensor", "how numbers become inputs: sensor, standardised, whitened, range or by_maximum"),
    "batch_size": Field(32, "examples of one step, of all processes and devices together", 8),
    "evaluation_batch_size": Field(16, "examples of one step of evaluation", 4),
    "window": Field(0, "evaluation shows the network overlapping windows of this size in pixels; 0 shows whole tiles"),
    "threads": Field(2, "threads that read ahead, in each process; 0 reads when a batch is due"),
    "workers": Field(0, "processes that read ahead, for each process of the run; 0 leaves it to the threads"),
    # Network
    "model.name": Field("", "the network (`lcjax info models`)"),
    "fusion": Field("", "which bands each encoder takes: s1, s2, early, late, early_plus_late, aerial, image, ..."),
    "precision": Field("bf16", "of the computation: bf16 or f32; parameters, logits and loss are float32", "f32"),
    "remat": Field(False, "compute stages again in the backward pass instead of keeping them: slower, less memory"),
    "init": Field("random", "random, or the workdir of a pre-training run whose encoders are taken"),
    "freeze": Field("", "empty, or encoder: the encoders keep what init gave them"),
    # Optimisation
    "class_weights": Field(0.0, "classes weigh 1 / share to this power: at 0 all pixels are alike, at 1 all classes"),
    "accumulate": Field(1, "parts that a batch is computed in, one after the other, to save memory"),
    "optimizer.name": Field("adamw", "adamw, adam, sgd, lars or lamb"),
    "optimizer.learning_rate": Field(1e-3, "peak of the learning rate"),
    "optimizer.batch_rule": Field("none", "how the peak follows the batch: none, linear or sqrt, from reference_batch"),
    "optimizer.reference_batch": Field(256, "batch size that learning_rate is meant for, with a batch_rule"),
    "optimizer.layer_decay": Field(1.0, "factor of the rate from each layer of an encoder to the one before it"),
    "optimizer.schedule": Field("cosine", "the rate after the warm-up: cosine, constant or plateau"),
    "optimizer.plateau_factor": Field(0.5, "what a plateau multiplies the rate by"),
    "optimizer.plateau_patience": Field(10, "evaluations without a better score before a plateau lowers the rate"),
    "optimizer.warmup": Field("5 percent", f"how long the rate rises from 0; {_DURATION}"),
    "optimizer.weight_decay": Field(0.01, "decay of the kernels; biases and norms do not decay"),
    "optimizer.momentum": Field(0.9, "of sgd and lars"),
    "optimizer.clip": Field(1.0, "largest norm of the gradient; 0 is off"),
    "total": Field("100 epochs", "length of the run, in steps, epochs or examples", "300 steps"),
    # The run
    "log_every": Field("50 steps", f"how often metrics are written; {_DURATION}"),
    "evaluate_every": Field("2 percent", f"how often the validation split is scored; {_DURATION}", "34 percent"),
    "save_every": Field("2 percent", f"how often a checkpoint is saved; {_DURATION}", "50 percent"),
    "patience": Field(10, "evaluations without a better score after which the run ends; 0 never ends it", 0),
    "parallel.mode": Field("jit", "how devices share a step: jit or pmap"),
    "parallel.data": Field(-1, "parts that a batch is split into over the devices; -1 takes all that fsdp leaves"),
    "parallel.fsdp": Field(1, "devices that share one copy of the parameters"),
    "parallel.batch_norm": Field(
        "global", "what batch norm averages over: global, all devices, or replica, each its own"
    ),
}

# Beside those, of the configs of a task.
TASKS: dict[str, dict[str, Field]] = {
    "segmentation": {
        "loss": Field("cross_entropy", "what a pixel that is wrong costs (`lcjax info losses`)"),
    },
    "contrastive": {
        "temperature": Field(0.2, "of the NT-Xent loss; smaller looks at the hardest pairs alone"),
        "projection": Field(128, "width of the two-layer projection heads; 0 leaves them out", 32),
        "probe.train": Field("", "labelled records that classifiers on the frozen encoders learn from; empty for none"),
        "probe.test": Field("", "labelled records that these classifiers are scored on"),
    },
}
ALL_FIELDS: dict[str, Field] = FIELDS | {name: field for of_task in TASKS.values() for name, field in of_task.items()}

# Of `config.model`: the numbers of a network, whose values come from its size (lcjax/models/presets.py).
MODEL: dict[str, str] = {
    "base": "channels of the first stage; each further stage has twice as many",
    "decoder_depths": "blocks in each stage of the decoder",
    "depth": "blocks of the encoder",
    "depths": "blocks in each stage of the encoder",
    "drop_path": "share of residual branches that training leaves out",
    "embed": "channels of the first stage, or of all where there is one",
    "grid": "patches along the side of the image that the table of positions is made for",
    "heads": "attention heads of each stage, or of all where there is one",
    "hidden": "channels of the decoder",
    "patch": "pixels along the side of a patch",
    "stages": "(expansion, kernel, stride, channels, blocks) of each stage",
    "stem": "channels of the stem",
    "upsampling": "how the decoder enlarges: bilinear or transposed (a learned convolution)",
    "width": "channels of the first stage",
    "widths": "channels of each stage of the decoder",
    "window": "size of an attention window, in patches",
}

_TYPES = {bool: "bool", int: "int", float: "float", str: "text", tuple: "tuple", list: "tuple"}

# They stand no rate as high as convolutions do, and small networks stand a higher one.
_TRANSFORMERS = ("swin_unet", "two_stream_swin", "swin_upernet", "vit_pyramid")
_RATES = {"convolutions": (1e-3, 1e-2), "transformers": (3e-4, 4e-3)}  # in full size, tiny


def meaning(name: str) -> str:
    """One line about a field, by its dotted name; empty for one that only its own config knows."""
    field = ALL_FIELDS.get(name)
    return field.meaning if field else MODEL.get(name.removeprefix("model."), "")


def rows(config: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Of every field of a config or a dictionary: dotted name, value, type and meaning, as text; in order of FIELDS."""
    places = {name: place for place, name in enumerate(ALL_FIELDS)}
    found = sorted(flat(config).items(), key=lambda item: places.get(item[0], _place_of_group(item[0], places)))
    return [(name, repr(value), _TYPES.get(type(value), ""), meaning(name)) for name, value in found]


def _place_of_group(name: str, places: Mapping[str, int]) -> int:
    """Beside the field of its group that FIELDS names: of model.depths, that of model.name; else the end."""
    group = name.partition(".")[0] + "."
    return next((place for known, place in places.items() if known.startswith(group)), len(places))


def make(
    model: str,
    size: str = "",
    *,
    task: str = "segmentation",
    tiny: bool = False,
    init: str = "random",
    freeze: str = "",
    recipe: str = "ours",
) -> ml_collections.ConfigDict:
    """A config of all FIELDS: the defaults, a network, and the learning rates that suit it.

    Args:
      model: family of the network.
      size: one of the family's sizes; empty takes the first.
      task: with the fields that TASKS has for it.
      tiny: for a run of a minute; a size of its own.
      init, freeze, recipe: the fields of these names.

    Raises:
      InputError: unknown model or size, or a size beside tiny.
    """
    if tiny and size:
        raise InputError(f"size={size},tiny=true: tiny is a size of its own; leave one of them out")
    fields = FIELDS | TASKS.get(task, {})
    config = ml_collections.ConfigDict(nested({name: field.value(tiny) for name, field in fields.items()}))
    plugins.allow_named_in({"model": {"name": model}})  # who makes a config names its network
    config.model = ml_collections.ConfigDict(registry.sized(model, "tiny" if tiny else size))
    config.task, config.init, config.freeze, config.recipe = task, init, freeze, recipe
    config.optimizer.learning_rate = _RATES["transformers" if model in _TRANSFORMERS else "convolutions"][tiny]
    if init != "random" and not freeze:
        config.optimizer.layer_decay = 0.5  # pre-trained layers move less the nearer they are to the image
    return config


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name as dictionaries in each other: {"a.b": 1} is {"a": {"b": 1}}."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        *folders, key = name.split(".")
        at = found
        for folder in folders:
            at = at.setdefault(folder, {})
        at[key] = value
    return found


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The opposite of `nested`, of a config or a dictionary: values by dotted name."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        deeper = isinstance(value, Mapping | ml_collections.ConfigDict)
        found |= flat(value, f"{prefix}{key}.") if deeper else {f"{prefix}{key}": value}
    return found


def assign(config: ml_collections.ConfigDict, values: Mapping[str, Any]) -> None:
    """Sets fields by their dotted names."""
    for name, value in values.items():
        *folders, key = name.split(".")
        at = config
        for folder in folders:
            at = at[folder]
        at[key] = value
