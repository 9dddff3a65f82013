"""The fields that every config has, and those of some: what each is by default, in tiny runs, and what it means.

The one declaration of them: configs are made from it (lcjax.configs.base), and a config.json is checked against it.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any, NotRequired, TypedDict

import ml_collections
import msgspec

from data_pipelines.schema import typed_json
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.typed_json import Number

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

# Type of a field's default -> what stands in config.json.
_KINDS: dict[type, Any] = {
    bool: bool,
    int: Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)],
    float: Number,
    str: Annotated[str, msgspec.Meta(max_length=10_000)],
}
_MAY_LACK = ("split.test",)  # of pre-training, which has no labels to score
_DEPTH = 4  # of lists in lists, in a field of the network


def read(path: pathlib.Path, fields: dict[str, Any], remedy: str) -> dict[str, Any]:
    """Checks what was read of a config.json: all fields are there, and each is of the type of its default.

    A config may have more fields than those: of its network, or of a task or a config of one's own.

    Args:
      path: of the file, for messages.
      fields: of the file.
      remedy: what to do about a file that is damaged.

    Returns:
      The fields.

    Raises:
      InputError: a field is missing or of another type, or its name or value is none that a config can hold.
    """
    task = fields.get("task")
    declared = FIELDS | (TASKS.get(task, {}) if isinstance(task, str) else {})
    typed_json.convert(fields, _kind(declared), path, remedy, foreign=True)
    _check_plain(fields, "", path, remedy)
    return fields


def _kind(fields: Mapping[str, Field]) -> Any:
    """The type of a config of these fields, by their dotted names."""
    kinds: dict[str, Any] = {}
    for name, field in fields.items():
        kind = _KINDS[type(field.default)]
        group, dot, rest = name.partition(".")
        if dot:
            kinds.setdefault(group, {})[rest] = NotRequired[kind] if name in _MAY_LACK else kind
        else:
            kinds[name] = kind
    groups = {name: TypedDict(name, some) for name, some in kinds.items() if isinstance(some, dict)}  # type: ignore[operator]
    return TypedDict("Config", kinds | groups)  # type: ignore[misc, operator]


def _check_plain(value: Any, name: str, path: pathlib.Path, remedy: str, depth: int = 0) -> None:
    """Raises InputError for a name or a value that a config cannot hold."""
    if isinstance(value, dict) and depth < _DEPTH:
        for key, one in value.items():
            if not key.isidentifier() or hasattr(ml_collections.ConfigDict, key):
                raise InputError(f"{path}: {name}{key!a:.60}: expected the name of a field; {remedy}")
            _check_plain(one, f"{name}{key}.", path, remedy, depth + 1)
    elif isinstance(value, list) and depth < _DEPTH:
        for one in value:
            _check_plain(one, name, path, remedy, depth + 1)
    elif not isinstance(value, bool | int | float | str | None) or (isinstance(value, int) and abs(value) > 2**53):
        raise InputError(f"{path}: {name.rstrip('.')}: expected a number, text or a list of them; {remedy}")
