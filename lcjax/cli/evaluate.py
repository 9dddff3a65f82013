"""`lcjax evaluate`: the scores of a trained network, every pixel of a split once."""

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError

HELP = """Scores a trained network on a split, every pixel once: whole tiles, or blended windows of config.window.

  lcjax evaluate --workdir=runs/unet                       the test split, by the best checkpoint
  lcjax evaluate --workdir=runs/unet,runs/swin_unet --split=validation --checkpoint=last

Writes WORKDIR/evaluation/SPLIT/: metrics.json (scores with their class set, absent classes, ignored ids, pixels, split
and checkpoint), confusion.csv, confusion.png, and samples.npz for the page of `lcjax report`."""


def define_flags(flags) -> None:
    """The flags of the verb."""
    flags.DEFINE_string("workdir", None, "Workdirs of training runs, separated by commas.")
    flags.DEFINE_string("split", "test", "Which split of the run's config: train, validation or test.")
    flags.DEFINE_string("checkpoint", "best", "Which checkpoint: best or last.")
    flags.DEFINE_string("data_dir", None, "Folder of the prepared data sets, if it is not where it was in training.")


def run(flags) -> None:
    """Runs the verb."""
    if not flags.workdir:
        raise InputError("evaluate needs --workdir, e.g. --workdir=runs/unet")
    from lcjax.evaluation.evaluate import evaluate

    for folder in paths.several(flags.workdir, "--workdir"):
        evaluate(paths.given(folder, "--workdir"), flags.split, flags.checkpoint, flags.data_dir)
