"""`lcjax info`: what there is on this machine, to choose from, and in a folder."""

import pathlib

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError

HELP = """Tells what there is.

  lcjax info                          versions, devices, memory, and the extras that are not installed
  lcjax info --check                  the same, tried out, with what to do about what is missing
  lcjax info models                   what config.model.name can be; also datasets, tasks, losses, configs and trackers
  lcjax info protocols                published splits and classes, which --config=NAME:protocol=... takes
  lcjax info dfc2020:model=unet       a config: its arguments, and every field with its value and meaning
  lcjax info runs/unet                a workdir: network, data, steps, scores
  lcjax info data/dfc2020/1.0.0       a prepared data set: bands, classes, splits; of a folder of them, each
  lcjax info exported/unet            a network that `lcjax export` wrote
  lcjax info resnet50.pth             a file of weights: whose, which network here takes them, and what arrives
  lcjax info weights                  whose weights are known

Names that installed packages bring along stand in the lists beside ours. Nothing that a folder names is run."""


def define_flags(flags) -> None:
    """The flags of the verb."""
    flags.DEFINE_bool("check", False, "Try out this installation; what is missing or wrong ends it with exit code 2.")


def run(flags, *words: str) -> None:
    """Prints what is known of each word, or of this machine."""
    if flags.check and words:
        raise InputError(f"--check: is of this machine; expected no words beside it, found {' '.join(words)!r}")
    if words:
        print("\n\n".join(_of(word) for word in words))
        return
    from lcjax.cli.inventory import environment

    print(environment.text())
    if flags.check:
        problems = environment.problems()
        found = problems or ["what lcjax needs is there, and the devices compute"]
        print("\n".join(["", "check:", *(f"  {line}" for line in [*environment.advice(), *found])]))
        if problems:
            raise InputError(f"{len(problems)} of the things checked do not work, as told above")


def _of(word: str) -> str:
    """What there is to say of a word: one of the lists, a folder, or else a config."""
    from lcjax.cli.inventory import choices

    if word in choices.KINDS:
        return choices.text(word)
    folder = pathlib.Path(word) if choices.is_config(word) else paths.given(word, "info")
    if folder.is_dir() and not choices.is_config(word):
        from lcjax.cli.inventory import contents

        return contents.text(folder)
    if folder.is_file() and not choices.is_config(word):
        from lcjax.cli import weights

        return weights.text(folder)
    if not choices.is_config(word):
        raise InputError(
            f"{word}: expected one of {', '.join(choices.KINDS)}, a folder, a file of weights, or a config: "
            f"{', '.join(choices.names('configs'))}, FILE.py or package.module:function"
        )
    return choices.config_text(word)
