"""`lcjax pull`: a network of a Hugging Face hub."""

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError

HELP = """Pulls a network that `lcjax push` wrote from a Hugging Face hub, and makes a workdir of it.

  lcjax pull hf:ORG/NAME --workdir=runs/theirs
  lcjax pull hf:ORG/NAME@REVISION --workdir=runs/theirs     # a branch, a tag or a commit
  lcjax predict --workdir=runs/theirs --scene=scene.tif --output=map.tif

The SHA-256 of every file is checked, and the numbers of the network once more when it is read back. Nothing of it is
run: arrays come as safetensors, and a network of a package that is not installed is refused. What is pulled can be
mapped with, scored, exported, and begin a run (--config.init=runs/theirs); no training goes on in it.

--workdir must be new or empty. The same command again finds that the network is there. A private repository needs a
login: `hf auth login`, or HF_TOKEN. It needs the extra hub (pip install 'lcjax[hub]'). docs/hub.md says more."""


def define_flags(flags) -> None:
    """The flags of the verb."""
    flags.DEFINE_string("source", None, "The repository, hf:ORG/NAME or hf:ORG/NAME@REVISION.")
    flags.DEFINE_string("workdir", None, "The workdir to make.")


def run(flags) -> None:
    """Runs the verb."""
    if not flags.source or not flags.workdir:
        raise InputError("pull needs --source and --workdir, e.g. lcjax pull hf:ORG/NAME --workdir=runs/theirs")
    from lcjax.hub import pull

    pull.pull(flags.source, paths.given(flags.workdir, "--workdir"))
