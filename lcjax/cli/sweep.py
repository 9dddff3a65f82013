"""`lcjax sweep`: a config and a space in, a study of trainings and the best of their configs out."""

import os

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError
from lcjax.cli import config_flag

HELP = """Searches the fields of a config for the highest score on the validation split.

  lcjax sweep --config=dfc2020:model=unet --study=studies/unet --trials=40
  lcjax sweep --config=dfc2020:model=unet --study=studies/unet --trials=40 --hours=8
  lcjax sweep --config=own.py --study=studies/own --trials=30 \\
      --space="optimizer.learning_rate=log 1e-4 1e-2" --space="model.drop_path=uniform 0 0.4" \\
      --space="loss=choice cross_entropy | focal"

What is searched is said a field a line, by --space, or in the config's file:

  SPACE = {"optimizer.learning_rate": "log 1e-5 1e-2", "crop": "uniform 64 256 step 32"}

where neither is, rate, decay and what holds a network back are searched. Each trial is a training of its own, in
STUDY/trials/NUMBER; the first is the config as it is, if all its values lie in the space. Trials that are behind are
pruned. One that diverges or runs out of memory has failed, with its reason, and the study goes on. The page is
STUDY/index.html, the config of the best trial STUDY/best.py:

  lcjax train --config=studies/unet/best.py --workdir=runs/unet

The same command goes on after any stop, even kill -9, with the trials that were running; with one worker it ends in the
same trials. Started several times it is several workers of one study: one a GPU (CUDA_VISIBLE_DEVICES), or one a
machine that shares the folder. A test split is never optimised. Needs pip install 'lcjax[sweep]'; docs/sweep.md."""


def define_flags(flags) -> None:
    """The flags of the verb."""
    config_flag.define(flags)
    flags.DEFINE_string("study", None, "Folder of the study; made if it is not there, gone on with if it is.")
    flags.DEFINE_integer("trials", None, "Trials of the study, of all workers together.", lower_bound=1)
    flags.DEFINE_float("hours", None, "This worker ends after so many hours; its trial can go on.", lower_bound=0)
    flags.DEFINE_multi_string(
        "space",
        [],
        "FIELD=TEXT, once for each field, in place of the config's SPACE. TEXT is 'log LOW HIGH', 'uniform LOW HIGH', "
        "'uniform LOW HIGH step STEP' or 'choice A | B'.",
    )
    flags.DEFINE_string(
        "storage",
        None,
        "Where the trials are told of: a server's address as SQLAlchemy writes it, or env:NAME for one that stands in "
        "an environment variable, as one with a password should. By default STUDY/study.db.",
    )
    flags.DEFINE_enum("sampler", "tpe", ["tpe", "random"], "How trials are drawn: by what was seen, or by chance.")
    flags.DEFINE_enum("pruner", "median", ["median", "hyperband", "none"], "Which trials are ended before their time.")
    flags.DEFINE_enum("keep", "best", ["best", "all"], "Whose checkpoints stay when a trial has ended.")


def run(flags) -> None:
    """Runs the verb."""
    if flags.config is None or not flags.study:
        raise InputError("sweep needs --config and --study, e.g. --config=dfc2020 --study=studies/unet --trials=40")
    if flags.trials is None and flags.hours is None:
        raise InputError("sweep needs --trials, --hours or both, e.g. --trials=40")
    import jax

    jax.config.update("jax_platforms", "cpu")  # the devices are for the trials, each a process of its own
    from lcjax.sweep import spaces, worker

    lines = spaces.from_flags(flags.space) or config_flag.space(flags) or spaces.default(flags.config)
    worker.sweep(
        flags.config,
        paths.given(flags.study, "--study"),
        lines,
        worker.Limits(flags.trials, flags.hours),
        storage=_address(flags.storage),
        sampler=flags.sampler,
        pruner=flags.pruner,
        keep=flags.keep,
    )


def _address(text: str | None) -> str:
    if not text or not text.startswith("env:"):
        return text or ""
    name = text.removeprefix("env:")
    if not os.environ.get(name):
        raise InputError(f"--storage={text}: the environment variable {name} is not set; expected an address in it")
    return os.environ[name]
