"""`lcjax push`: a trained network to a Hugging Face hub."""

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError

HELP = """Pushes a trained network to a repository of a Hugging Face hub, with a card for people.

  lcjax push runs/unet --to=hf:ORG/NAME --license=apache-2.0
  lcjax push runs/unet --to=hf:ORG/NAME --license=cc-by-4.0 --private
  lcjax push runs/unet --to=hf:ORG/NAME --license=mit --output=card    # only writes what would be pushed, to be read

One commit of:
  README.md               how to use it in two lines, bands, classes, scores with their classes and intervals, licence,
                          what it learned from and what it began with
  parameters.safetensors  its arrays, with the card in the metadata
  config.json, card.json  of the run; of paths of this machine the last part stays
  calibration.json        where this checkpoint is calibrated
  network.json            which network it is, and the SHA-256 of each file

No state of an optimiser is pushed, no data, and nothing that is pickled. The scores are those of `lcjax evaluate`: run
it first. The repository is made where there is none; what was pushed before stays in its history.

It needs the extra hub (pip install 'lcjax[hub]'), and a login: `hf auth login`, or HF_TOKEN. docs/hub.md says more."""


def define_flags(flags) -> None:
    """The flags of the verb."""
    flags.DEFINE_string("workdir", None, "Workdir of a training run.")
    flags.DEFINE_string("to", None, "The repository, hf:ORG/NAME.")
    flags.DEFINE_string("license", None, "The licence that you give, as hubs write it: apache-2.0, cc-by-4.0, other.")
    flags.DEFINE_enum("checkpoint", None, ["best", "last"], "Which checkpoint; without it best, of pre-training last.")
    flags.DEFINE_bool("private", False, "The repository must be private; a new one is made so.")
    flags.DEFINE_string("output", None, "A new folder for what would be pushed; nothing is pushed then.")


def run(flags) -> None:
    """Runs the verb."""
    if missing := [f"--{name}" for name in ("workdir", "to", "license") if not flags[name].value]:
        raise InputError(
            f"push needs {' and '.join(missing)}, e.g. lcjax push runs/unet --to=hf:ORG/NAME --license=apache-2.0"
        )
    from lcjax.hub import push

    push.push(
        paths.given(flags.workdir, "--workdir"),
        flags.to,
        flags.license,
        kind=flags.checkpoint or "",
        private=flags.private,
        output=paths.given(flags.output, "--output") if flags.output else None,
    )
