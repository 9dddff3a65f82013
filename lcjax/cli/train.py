"""`lcjax train`: a config in, a trained network in a workdir out."""

import os

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError
from lcjax.cli import STARTED, config_flag

HELP = """Trains a network, or goes on where an earlier run of the same command was stopped.

  lcjax train --config=pretrain:data=sample,tiny=true --workdir=runs/pretrain --config.data_dir=build/data
  lcjax train --config=dfc2020:model=unet --workdir=runs/unet
  lcjax train --config=dfc2020:model=two_stream_swin,init=runs/pretrain,freeze=encoder --workdir=runs/frozen

Arguments after the colon choose the experiment (each config file's docstring lists them); any field of the config is
set by --config.FIELD=VALUE. The workdir receives config.json, card.json, metrics.jsonl, TensorBoard files and
checkpoints (`last` to go on from, `best` by the validation score; without a validation split, config.split.validation
empty, the best is the last). Stopped at any moment, even by kill -9, the same
command goes on from the last checkpoint and ends in the same parameters to the bit (on CPU). SIGTERM lets it finish its
step and save; it then ends with exit code 75. Several processes make one run, see docs/launching.md."""


def define_flags(flags) -> None:
    """The flags of the verb."""
    config_flag.define(flags)
    flags.DEFINE_string("workdir", None, "Folder of the run; made if it is not there, gone on with if it is.")
    flags.DEFINE_bool(
        "allow_other_config", False, "Go on with the run in --workdir, though it was started with another config."
    )
    flags.DEFINE_string("profile", "", "FIRST:LAST, steps whose trace is written to WORKDIR/profile (XProf, Perfetto).")


def run(flags) -> None:
    """Runs the verb."""
    if flags.config is None or not flags.workdir:
        raise InputError("train needs --config and --workdir, e.g. --config=dfc2020 --workdir=runs/unet")
    from lcjax.parallel import cpu
    from lcjax.training.run import train

    cpu.keep_memory(os.environ)
    how = {"allow_other_config": flags.allow_other_config, "profile": flags.profile, "started": STARTED}
    train(flags.config, paths.given(flags.workdir, "--workdir"), **how)
