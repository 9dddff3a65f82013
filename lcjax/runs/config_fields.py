"""The fields of configs, declared once: default, value of tiny runs, what each may be and what it means.

`check` refuses values that no run could use, before a record is opened or a step compiled. What depends on the data or
the network (a crop larger than its tiles, say) is checked where these are known.
"""

import dataclasses
import difflib
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import ml_collections

from data_pipelines.reading import sampling
from data_pipelines.schema.errors import InputError

_SAME: Any = object()


class Allowed(Protocol):
    """What a field may be; `text` says it to a person."""

    @property
    def text(self) -> str:
        """As in "expected ..."."""
        ...

    def admits(self, value: Any) -> bool:
        """Whether a value of the field's type is one of them."""
        ...


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; with `open_low` and `open_high` without these themselves."""

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    @property
    def text(self) -> str:
        """Such as "0 or more", "1 to 16", "above 0 and at most 1"."""
        low = f"above {self.low:g}" if self.open_low else f"{self.low:g}"
        if self.high == math.inf:
            return low if self.open_low else f"{low} or more"
        if self.open_high:
            return f"{low} and below {self.high:,g}" if self.open_low else f"{low} to below {self.high:,g}"
        return f"{low} and at most {_plain(self.high)}" if self.open_low else f"{low} to {_plain(self.high)}"

    def admits(self, value: Any) -> bool:
        """Whether a number lies between the limits; NaN does not, nor does infinity."""
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return bool(above and below and abs(value) != math.inf)


@dataclasses.dataclass(frozen=True)
class Interval:
    """Two numbers, the smaller one first, both from `low` to `high`."""

    low: float
    high: float

    @property
    def text(self) -> str:
        """Such as "two numbers from 0.1 to 10, the smaller one first, e.g. 0.5,2"."""
        return f"two numbers from {_plain(self.low)} to {_plain(self.high)}, the smaller one first, e.g. 0.5,2"

    def admits(self, value: Any) -> bool:
        """Whether a tuple or a list holds two such numbers."""
        numbers = [one for one in value if isinstance(one, int | float) and not isinstance(one, bool)]
        return len(numbers) == len(value) == 2 and self.low <= numbers[0] <= numbers[1] <= self.high


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    @property
    def text(self) -> str:
        """Such as "jit or pmap"."""
        words = [word or "empty" for word in self.words]
        return f"{', '.join(words[:-1])} or {words[-1]}"

    def admits(self, value: Any) -> bool:
        """Whether a word is one of them."""
        return value in self.words


@dataclasses.dataclass(frozen=True)
class Names:
    """Names, each once."""

    text = "names with commas between them, each once, e.g. tensorboard,wandb"

    def admits(self, value: Any) -> bool:
        """Whether a tuple or a list holds names alone."""
        return all(isinstance(one, str) and one.strip() for one in value) and len(set(value)) == len(value)


@dataclasses.dataclass(frozen=True)
class Duration:
    """A number and a unit, such as "20 epochs"; in `percent` of the run, too, if this is not the run itself."""

    percent: bool = True

    @property
    def units(self) -> tuple[str, ...]:
        """Those that are known."""
        return UNITS if self.percent else UNITS[:-1]

    @property
    def text(self) -> str:
        """What to write."""
        return f'a number and one of {", ".join(self.units)}, e.g. "20 {self.units[1]}"'

    def admits(self, value: Any) -> bool:
        """Whether a text is a number and a known unit."""
        return self.parsed(value) is not None

    def parsed(self, value: Any) -> tuple[float, str] | None:
        """Number and unit of a text, "1 epoch" as "1 epochs"; None where it is no duration."""
        number, _, word = str(value).strip().partition(" ")
        unit = next((unit for unit in self.units if word.strip() in (unit, unit.removesuffix("s"))), "")
        try:
            amount = float(number)
        except ValueError:
            return None
        return (amount, unit) if unit and 0 <= amount <= _LONGEST else None


UNITS = ("steps", "epochs", "examples", "percent")
_LONGEST = 1e12  # of any unit: a run of a million years


def _plain(number: float) -> str:
    return f"{int(number)}" if number == int(number) else f"{number:g}"


_COUNT = Range(1, 2**20)
_SIZE = Range(0, 2**14)
_FROM_0 = Range(0)
_DURATIONS = Duration()
_ENLARGEMENT = Interval(0.1, 10)


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a config.

    Attributes:
      default: its value; later values must be of the same type.
      meaning: one line, in the words of somebody who sets it.
      tiny: its value where the config is asked for with tiny=true; the default where none is given.
      allowed: what it may be; None where its type says enough, or where only the data or plug-ins know.
    """

    default: Any
    meaning: str
    tiny: Any = _SAME
    allowed: Allowed | None = None

    def value(self, tiny: bool) -> Any:
        """What the field begins with."""
        return self.tiny if tiny and self.tiny is not _SAME else self.default


_DURATION = "in steps, epochs, examples or percent of the run"

# Of every config. Nested fields have dots in their names.
FIELDS: dict[str, Field] = {
    "task": Field(
        "segmentation",
        "what is learned: segmentation, classification, contrastive, vicreg or masked (`lcjax info tasks`)",
    ),
    "recipe": Field("ours", "whose settings these are: ours, or report or code for a cell of the 2024 report"),
    "cell": Field("", "the cell of the 2024 report's tables that this run is; only a name"),
    "seed": Field(
        42, "decides on the initial parameters, the order of the records and every draw", allowed=Range(0, 2**31 - 1)
    ),
    # Data
    "data_dir": Field("data", "folder of the prepared data sets, --data_dir of `lcjax prepare`"),
    "dataset": Field("", "which of them (`lcjax info datasets`)"),
    "split.train": Field("train", "records that are trained on: a split, a part (validation[:80%]) or a sum (a+b)"),
    "split.validation": Field("validation", "records that choose the best checkpoint; empty for none"),
    "split.test": Field("test", "records that `lcjax evaluate` scores"),
    "protocol": Field(
        "", "the published protocol that splits and legend are those of (`lcjax info protocols`); empty for none"
    ),
    "legend": Field("", "classes of the labels, where the data set has several legends; empty for its own"),
    "bands": Field("all", "bands that the network sees: all, a name such as rgb, or bands with + between them"),
    "metadata": Field(False, "the network is also told where, when and how an image was taken, where that is known"),
    "resize": Field(0, "images are made smaller to this size in pixels before anything else; 0 is off", allowed=_SIZE),
    "crop": Field(
        224,
        "size in pixels of the piece of a tile that is trained on, drawn anew each time; 0 is all",
        64,
        allowed=_SIZE,
    ),
    "dihedral": Field(True, "training images are flipped and turned at random, in eight ways"),
    "speckle": Field(
        0, "looks of the speckle that training adds to radar; fewer are noisier, 0 is off", allowed=_FROM_0
    ),
    "jitter": Field(
        0.0, "deviation of the logarithm of a random gain for each band in training; 0 is off", allowed=Range(0, 10)
    ),
    "scaling": Field(
        "sensor",
        "how numbers become inputs: sensor, standardised, whitened, range, by_maximum, imagenet or inception",
        allowed=Choice(("sensor", "standardised", "whitened", "range", "by_maximum", "imagenet", "inception")),
    ),
    "batch_size": Field(32, "examples of one step, of all processes and devices together", 8, allowed=_COUNT),
    "evaluation_batch_size": Field(16, "examples of one step of evaluation", 4, allowed=_COUNT),
    "window": Field(
        0, "evaluation shows the network overlapping windows of this size in pixels; 0 shows whole tiles", allowed=_SIZE
    ),
    "threads": Field(
        2, "threads that read ahead, in each process; 0 reads when a batch is due", allowed=Range(0, 1024)
    ),
    "workers": Field(
        0, "processes that read ahead, for each process of the run; 0 leaves it to the threads", allowed=Range(0, 1024)
    ),
    # Augmentation of training images, drawn anew for each example and step: docs/augmentation.md
    "augmentation.group_jitter": Field(
        0.0, "deviation of the logarithm of a random gain for each group of bands; 0 is off", allowed=Range(0, 10)
    ),
    "augmentation.brightness": Field(
        0.0, "largest random shift, as a share of the range of the scaling; 0 is off", allowed=Range(0, 1)
    ),
    "augmentation.contrast": Field(
        0.0, "largest random change of the distances to the image's mean, as a share; 0 is off", allowed=Range(0, 1)
    ),
    "augmentation.gamma": Field(
        0.0, "largest logarithm of the random exponent that light is raised to; 0 is off", allowed=Range(0, 3)
    ),
    "augmentation.blur": Field(
        0.0, "largest deviation in pixels of a random Gaussian blur; 0 is off", allowed=Range(0, 16)
    ),
    "augmentation.noise": Field(
        0.0, "largest deviation of random noise, as a share of the range of the scaling; 0 is off", allowed=Range(0, 1)
    ),
    "augmentation.drop_bands": Field(
        0.0, "probability of each band to be left out, never all of a sensor; 0 is off", allowed=Range(0, 1)
    ),
    "augmentation.scale": Field(
        (1.0, 1.0), "least and largest random enlargement: 0.5 shows twice the ground; 1,1 is off", allowed=_ENLARGEMENT
    ),
    "augmentation.aspect": Field(
        1.0, "largest random stretch of width over height, or of height over width; 1 is off", allowed=Range(1, 4)
    ),
    "augmentation.cutmix": Field(
        0.0, "probability of an example to get a box of the one before it in the batch; 0 is off", allowed=Range(0, 1)
    ),
    "sampling.name": Field(
        "uniform",
        "uniform, spread_groups (each once an epoch, neighbours apart), class_presence or rarity (by class)",
        allowed=Choice(sampling.NAMES),
    ),
    "sampling.strength": Field(
        0.5,
        "at 1 all classes are drawn alike, near 0 as often as they occur, above 1 rare ones most",
        allowed=Range(0, 4, open_low=True),
    ),
    # Network
    "model.name": Field("", "the network (`lcjax info models`)"),
    "fusion": Field(
        "",
        "bands of each encoder: a sensor, early, late, early_plus_late, early:A+B, ...; empty: all as one",
    ),
    "precision": Field(
        "bf16",
        "of the computation: bf16 or f32; parameters, logits and loss are float32",
        "f32",
        allowed=Choice(("bf16", "f32")),
    ),
    "attention": Field(
        "auto",
        "what Swin blocks train by: xla, pallas (TPU kernels) or auto: pallas where a TPU agrees with xla",
        allowed=Choice(("auto", "xla", "pallas")),
    ),
    "remat": Field(False, "compute stages again in the backward pass instead of keeping them: slower, less memory"),
    "initializer": Field(
        "ours",
        "how random values are drawn: ours, pytorch (its defaults) or swin_unet (as Cao et al. 2021)",
        allowed=Choice(("ours", "pytorch", "swin_unet")),
    ),
    "init": Field("random", "what the network begins with: random, a workdir, a file of weights, imagenet or hf:..."),
    "weights.layout": Field("", "whose weights the file of init holds (`lcjax info weights`); empty recognises it"),
    "weights.bands": Field(
        "auto",
        "how its first layer becomes one for these bands: auto, name, order, mean, repeat or random",
        allowed=Choice(("auto", "name", "order", "mean", "repeat", "random")),
    ),
    "weights.scaling": Field(
        "origin",
        "origin refuses a scaling that the weights did not learn with; any takes whatever scaling says",
        allowed=Choice(("origin", "any")),
    ),
    "weights.head": Field(False, "the last layer of a file is taken, too, where it has as many classes"),
    "weights.decoder": Field(
        "",
        "mirrored starts the decoder of a Swin network with its encoder's blocks; empty takes the file's",
        allowed=Choice(("", "mirrored")),
    ),
    "freeze": Field("", "empty, or encoder: the encoders keep what init gave them", allowed=Choice(("", "encoder"))),
    "freeze_statistics": Field(
        "",
        "empty, or encoder: batch norms of the encoders use, and keep, the statistics that init gave",
        allowed=Choice(("", "encoder")),
    ),
    # Optimisation
    "class_weights": Field(
        0.0, "classes weigh 1 / share to this power: at 0 all pixels are alike, at 1 all classes", allowed=Range(0, 10)
    ),
    "class_weights_rule": Field(
        "power",
        "what class_weights is: power, or effective_number with its beta, such as 0.9999",
        allowed=Choice(("power", "effective_number")),
    ),
    "class_weights_fixed": Field((), "a weight for each scored class in the order of the legend; empty for none"),
    "accumulate": Field(1, "parts that a batch is computed in, one after the other, to save memory", allowed=_COUNT),
    "optimizer.name": Field(
        "adamw", "adamw, adam, sgd, lars or lamb", allowed=Choice(("adamw", "adam", "sgd", "lars", "lamb"))
    ),
    "optimizer.learning_rate": Field(1e-3, "peak of the learning rate", allowed=Range(0)),
    "optimizer.batch_rule": Field(
        "none",
        "how the peak follows the batch: none, linear or sqrt, from reference_batch",
        allowed=Choice(("none", "linear", "sqrt")),
    ),
    "optimizer.reference_batch": Field(
        256, "batch size that learning_rate is meant for, with a batch_rule", allowed=_COUNT
    ),
    "optimizer.layer_decay": Field(
        1.0, "factor of the rate from each layer of an encoder to the one before it", allowed=Range(0, 1, open_low=True)
    ),
    "optimizer.schedule": Field(
        "cosine",
        "the rate after the warm-up: cosine, constant, plateau, poly or one_cycle",
        allowed=Choice(("cosine", "constant", "plateau", "poly", "one_cycle")),
    ),
    "optimizer.poly_power": Field(
        0.9, "of the schedule poly; 1 is a straight line", allowed=Range(0, 10, open_low=True)
    ),
    "optimizer.plateau_factor": Field(
        0.5, "what a plateau multiplies the rate by", allowed=Range(0, 1, open_low=True, open_high=True)
    ),
    "optimizer.plateau_patience": Field(
        10, "evaluations without a better score before a plateau lowers the rate", allowed=_FROM_0
    ),
    "optimizer.warmup": Field("5 percent", f"how long the rate rises from 0; {_DURATION}", allowed=_DURATIONS),
    "optimizer.head_warmup": Field(
        "0 steps", f"how long all but the encoders learns alone; {_DURATION}", allowed=_DURATIONS
    ),
    "optimizer.weight_decay": Field(
        0.01, "decay of the kernels; biases and norms do not decay", allowed=Range(0, 1000)
    ),
    "optimizer.decay_all": Field(False, "biases, norms and tables of positions decay, too, as in PyTorch"),
    "optimizer.momentum": Field(0.9, "of sgd and lars", allowed=Range(0, 1, open_high=True)),
    "optimizer.no_decay": Field("", "regular expression of paths of parameters that do not decay, beside those"),
    "optimizer.clip": Field(1.0, "largest norm of the gradient, or what clip_by says; 0 is off", allowed=_FROM_0),
    "optimizer.clip_by": Field(
        "global_norm",
        "what clip is the largest of: global_norm, norm (of each parameter), value or adaptive",
        allowed=Choice(("global_norm", "norm", "value", "adaptive")),
    ),
    "optimizer.ema_decay": Field(
        0.0,
        "decay of moving averages of the parameters, which are what is scored and used; 0 is off",
        allowed=Range(0, 1, open_high=True),
    ),
    "total": Field(
        "100 epochs", "length of the run, in steps, epochs or examples", "300 steps", allowed=Duration(percent=False)
    ),
    # The run
    "log_every": Field("50 steps", f"how often metrics are written; {_DURATION}", allowed=_DURATIONS),
    "evaluate_every": Field(
        "2 percent", f"how often the validation split is scored; {_DURATION}", "34 percent", allowed=_DURATIONS
    ),
    "save_every": Field("2 percent", f"how often a checkpoint is saved; {_DURATION}", "50 percent", allowed=_DURATIONS),
    "monitor": Field("", "validation score that chooses the best checkpoint, e.g. IoU/Water; empty for the task's own"),
    "patience": Field(
        10, "evaluations without a better score after which the run ends; 0 never ends it", 0, allowed=_FROM_0
    ),
    "trackers": Field(
        ("tensorboard",),
        "who is told of the run beside metrics.jsonl: tensorboard, wandb, mlflow (`lcjax info trackers`)",
        allowed=Names(),
    ),
    "tracked_images": Field(
        0,
        "validation tiles that trackers are shown with truth and map, and the confusion matrix; 0 is off",
        allowed=Range(0, 64),
    ),
    "parallel.mode": Field("jit", "how devices share a step: jit or pmap", allowed=Choice(("jit", "pmap"))),
    "parallel.data": Field(
        -1, "parts that a batch is split into over the devices; -1 takes all that fsdp leaves", allowed=Range(-1, 2**20)
    ),
    "parallel.fsdp": Field(1, "devices that share one copy of the parameters", allowed=_COUNT),
    "parallel.batch_norm": Field(
        "global",
        "what batch norm averages over: global, all devices, or replica, each its own",
        allowed=Choice(("global", "replica")),
    ),
}

_PROBES: dict[str, Field] = {
    "probe.train": Field("", "labelled records that classifiers on the frozen encoders learn from; empty for none"),
    "probe.test": Field("", "labelled records that these classifiers are scored on"),
}
_VIEWS = Field(
    "sensors",
    "two views of a place: sensors, an encoder each; dates, or augmentations of one image: one encoder",
    allowed=Choice(("sensors", "dates", "augmentations")),
)
_HEADS, _WEIGHT = Range(0, 2**16), Range(0, 1e6)
# Beside those, of the configs of a task.
TASKS: dict[str, dict[str, Field]] = {
    "segmentation": {
        "loss": Field("cross_entropy", "a loss or a sum, such as cross_entropy + 0.5 * dice (`lcjax info losses`)"),
    },
    "classification": {
        "labels": Field(
            "single",
            "labels of a patch: single, its most frequent class, or multi, all of at least least_share",
            allowed=Choice(("single", "multi")),
        ),
        "least_share": Field(
            0.1,
            "least share of a patch's labelled pixels that makes a class one of its labels, with labels=multi",
            allowed=Range(0, 1, open_low=True),
        ),
    },
    "contrastive": {
        "views": _VIEWS,
        "temperature": Field(
            0.2, "of the NT-Xent loss; smaller looks at the hardest pairs alone", allowed=Range(0, 1000, open_low=True)
        ),
        "projection": Field(128, "width of the two-layer projection heads; 0 leaves them out", 32, allowed=_HEADS),
        **_PROBES,
    },
    "vicreg": {
        "views": _VIEWS,
        "vicreg.invariance": Field(25.0, "weight of the mean square of what two views differ by", allowed=_WEIGHT),
        "vicreg.variance": Field(25.0, "weight of what deviations of dimensions fall short of 1", allowed=_WEIGHT),
        "vicreg.covariance": Field(1.0, "weight of the squared covariances of dimensions", allowed=_WEIGHT),
        "projection": Field(2048, "width of the two-layer projection heads; 0 leaves them out", 128, allowed=_HEADS),
        **_PROBES,
    },
    "masked": {
        "masked.square": Field(32, "size in pixels of the squares that are hidden", 8, allowed=_COUNT),
        "masked.share": Field(0.6, "share of the squares that is hidden", allowed=Range(0, 1, True, True)),
        **_PROBES,
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
    "upsampling": "how the decoder enlarges: bilinear, align_corners or transposed (a learned convolution)",
    "width": "channels of the first stage",
    "widths": "channels of each stage of the decoder",
    "window": "size of an attention window, in patches",
}

_TYPES: dict[type, tuple[Any, str]] = {
    bool: (bool, "True or False"),
    int: (int, "a whole number"),
    float: (int | float, "a number"),
    str: (str, "text"),
    tuple: (tuple | list, "values with commas between them"),
}
_DEPTH = 4  # of groups of fields, and of lists in lists
_BEGIN = "begin with one of ours, such as lcjax.configs.rasters.get_config()"
_MAY_LACK = ("split.test", "split.validation")  # what is pre-trained has nothing to be tested on


def check(config: Mapping[str, Any] | ml_collections.ConfigDict, where: str = "config", remedy: str = _BEGIN) -> None:
    """Refuses a config that no run could use.

    Args:
      config: of a run, whole.
      where: what is said before the name of a field.
      remedy: what to do about one that lacks fields.

    Raises:
      InputError: a field is missing, of another type, or outside of what it may be.
    """
    values = flat(config)
    wanted = FIELDS | TASKS.get(str(values.get("task", "")), {})
    if missing := [name for name in wanted if name not in values and name not in _MAY_LACK]:
        raise InputError(f"{where}: has no field {', '.join(missing)}; expected all of docs/config.md; {remedy}")
    check_values(values, where)


def check_read(fields: dict[str, Any], path: pathlib.Path, remedy: str) -> dict[str, Any]:
    """Checks what was read of a config.json as `check` does, and that all else in it is what a config can hold.

    Args:
      fields: of the file.
      path: of the file, for messages.
      remedy: what to do about a file that is damaged.

    Returns:
      The fields.

    Raises:
      InputError: as `check`, or a name or a value is none that a config can hold.
    """
    _check_plain(fields, "", path, remedy)
    check(fields, f"{path}: config", remedy)
    return fields


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


def check_values(values: Mapping[str, Any], where: str = "config") -> None:
    """As `check`, of some fields by their dotted names; what is not declared here is not looked at."""
    for name, value in values.items():
        field = ALL_FIELDS.get(name)
        if field is None:
            continue
        accepted, kind = _TYPES[type(field.default)]
        if not isinstance(value, accepted) or (isinstance(value, bool) and type(field.default) is not bool):
            raise InputError(f"{where}.{name}={value!r:.60}: expected {kind} ({field.meaning})")
        if field.allowed and not field.allowed.admits(value):
            raise InputError(f"{where}.{name}={value!r:.60}: expected {field.allowed.text} ({field.meaning})")


def meant(name: str, fields: Sequence[str]) -> str:
    """Asks for the field that was meant by a dotted name that is none of the fields; empty where none is near."""
    group, _, word = name.rpartition(".")
    beside = [field for field in fields if field.rpartition(".")[0] == group]
    inside = [field for field in fields if field.startswith(f"{name}.")]
    close = (
        sorted(inside, key=lambda field: _last(field) != "name")[:1]  # a group is meant by the name in it
        or [field for field in [*beside, *fields] if word in (_last(field), _initials(_last(field)))][:1]
        or difflib.get_close_matches(name, fields, 1)
        or _by_last_word(word, fields)
    )
    return f"did you mean {close[0]!r}? " if close else ""


def unknown(name: str, fields: Sequence[str]) -> str:
    """What to say of a field that is none of a config's, by their dotted names: which was meant, what is beside it."""
    group = name.rpartition(".")[0]
    beside = [_last(field) for field in fields if field.rpartition(".")[0] == group] if group else []
    has = f"config.{group} has {', '.join(beside)}" if beside else f"config has {', '.join(fields)}"
    return meant(name, fields) + has


def _by_last_word(word: str, fields: Sequence[str]) -> list[str]:
    ends = {_last(field): field for field in reversed(fields)}  # learning_rate is meant to be optimizer's
    return [ends[end] for end in difflib.get_close_matches(word, ends, 1)]


def _last(field: str) -> str:
    return field.rpartition(".")[2]


def _initials(words: str) -> str:
    """Such as "lr" of "learning_rate"; nothing of one word."""
    return "".join(word[0] for word in words.split("_")) if "_" in words else ""


def meaning(name: str) -> str:
    """One line about a field, by its dotted name; empty for one that only its own config knows."""
    field = ALL_FIELDS.get(name)
    return field.meaning if field else MODEL.get(name.removeprefix("model."), "")


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The opposite of `nested`, of a config or a dictionary: values by dotted name."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        deeper = isinstance(value, Mapping | ml_collections.ConfigDict)
        found |= flat(value, f"{prefix}{key}.") if deeper else {f"{prefix}{key}": value}
    return found
