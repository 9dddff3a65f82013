"""The folder of a run: its resolved config, its card, its log of metrics. Layout: docs/layout.md."""

import json
import pathlib

import jax
import ml_collections
from tensorboardX import SummaryWriter

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from lcjax.parallel import multihost, nested_diff
from lcjax.runs import model_card as cards

CONFIG = "config.json"
METRICS = "metrics.jsonl"
# What may change between a start and a restart: where things lie, how they are read, what is kept in memory; not what
# is computed. With another remat, mode or mesh the gradients are the same but for rounding. A cell is only a name.
_FREE = ("cell", "data_dir", "remat", "threads", "workers", "parallel.mode", "parallel.data", "parallel.fsdp")
# What runs were before there was a choice; only networks that have the key.
_BEFORE = {
    "accumulate": 1,
    "cell": "",
    "jitter": 0.0,
    "metadata": False,
    "recipe": "ours",
    "remat": False,
    "resize": 0,
    "speckle": 0,
}
_BEFORE_OPTIMIZER = {
    "batch_rule": "none",
    "layer_decay": 1.0,
    "plateau_factor": 0.5,
    "plateau_patience": 10,
    "reference_batch": 256,
}
_BEFORE_PARALLEL = {"mode": "jit", "batch_norm": "global"}
_BEFORE_MODEL = {
    "unet": lambda model: {"upsampling": "bilinear"},
    "swin_unet": lambda model: {"decoder_depths": model["depths"][:-1]},
    "two_stream_swin": lambda model: {"decoder_depths": model["depths"][:-1]},
}


def read_config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
    """The resolved config of a run. Raises InputError where there is none."""
    path = workdir / CONFIG
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the workdir of a training run (see `lcjax train --help`)")
    return ml_collections.ConfigDict(_read(path))


def _read(path: pathlib.Path) -> dict:
    try:
        found = _BEFORE | json.loads(path.read_text())
    except ValueError as error:
        raise InputError(
            f"{path}: is damaged ({error}); delete it, and the train command of this run writes it again"
        ) from error
    found["optimizer"] = _BEFORE_OPTIMIZER | found["optimizer"]
    found["parallel"] = _BEFORE_PARALLEL | found["parallel"]
    if found["task"] == "contrastive":
        found.setdefault("probe", {"train": "", "test": ""})
    model = found["model"]
    found["model"] = _BEFORE_MODEL.get(model["name"], lambda model: {})(model) | model
    return found


def start(
    workdir: pathlib.Path, config: ml_collections.ConfigDict, card: cards.Card, *, allow_other_config: bool = False
) -> None:
    """Makes the workdir, or checks that it belongs to this config, and leaves it as it is; all processes call it.

    Args:
      allow_other_config: only tell of what differs, and let the run go on with the config that is given.

    Raises:
      InputError: it belongs to another config (the keys that differ are named), cannot be written, or is not the same
        folder for all processes.
    """
    wanted = json.loads(config.to_json())
    path = workdir / CONFIG
    with multihost.raise_on_all():
        # Without a checkpoint there is nothing to lose: an earlier start failed before its first one.
        begun = path.is_file() and any((workdir / "checkpoints" / "last").glob("*"))
        differing = []
        if begun:
            found = _read(path)
            differing = [key for key in nested_diff.differing(found, wanted) if key not in _FREE]
        if differing:
            shown = f"{workdir}: holds a run of another config: " + nested_diff.differences(
                found, wanted, ("there", "now"), differing
            )
            if not allow_other_config:
                raise InputError(f"{shown}; choose another --workdir, or go on all the same with --allow_other_config")
            say(f"warning: {shown}; it goes on with what is given now")
    of_first = bool(multihost.from_main_process("begun" if begun else ""))  # which decides: all write together, or none
    if not of_first:
        write(workdir, config, card)
    with multihost.raise_on_all():
        if begun != of_first or not path.is_file():
            raise InputError(
                f"{workdir}: not the folder for process {jax.process_index()} that it is for process 0; --workdir must "
                "be a folder on storage that all hosts share"
            )


def write(workdir: pathlib.Path, config: ml_collections.ConfigDict, card: cards.Card) -> None:
    """Puts config and card of a run that starts or goes on into its workdir; all processes call it."""
    with multihost.raise_on_all() as mine:
        try:
            if mine:
                workdir.mkdir(parents=True, exist_ok=True)
                write_atomically(workdir / CONFIG, json.dumps(json.loads(config.to_json()), indent=1, sort_keys=True))
                write_atomically(workdir / cards.FILE, card.to_json())
        except OSError as error:
            raise InputError(f"{workdir}: cannot be written ({error.strerror}); choose another --workdir") from error


class Log:
    """Metrics of a run: metrics.jsonl (deterministic: no times in it) and TensorBoard, written by process 0 alone."""

    def __init__(self, workdir: pathlib.Path, step: int, evaluated: int):
        """Opens the log of a run that goes on from `step`, evaluated last at `evaluated`; drops what came later."""
        self._writes = multihost.is_main_process()
        if not self._writes:
            return
        path = workdir / METRICS
        last = {"train": step, "validation": evaluated}
        rows = [row for row in read_metrics(workdir) if row["step"] <= last[row["split"]]]
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))
        self._file = path.open("a")
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, split: str, values: dict[str, float], times: dict[str, float] | None = None) -> None:
        """Logs values of one split; `times` (rates, seconds) go to TensorBoard alone."""
        if not self._writes:
            return
        self._file.write(json.dumps({"step": step, "split": split} | values) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{split}/{name}", value, step)
        for name, value in (times or {}).items():
            self._board.add_scalar(f"clock/{name}", value, step)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_) -> None:
        if self._writes:
            self._file.close()
            self._board.close()


def read_metrics(workdir: pathlib.Path) -> list[dict]:
    """The whole lines of metrics.jsonl, in order: each has "step", "split" and the values by name."""
    path = workdir / METRICS
    lines = path.read_text().splitlines() if path.is_file() else []
    # A kill can leave half a line at the end; it is of a later step than any whole checkpoint.
    return [json.loads(line) for line in lines if line.endswith("}")]


def say(line: str) -> None:
    """One line for the person at the terminal, from one of the processes of a run."""
    if multihost.is_main_process():
        print(line, flush=True)
