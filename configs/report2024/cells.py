"""The cells of the 2024 report's tables, and the experiments that it recommends, as commands.

  python -m lcjax.configs.report2024.cells --pretrain=runs/pretrain      a line for each run: its name and its --config
  python -m lcjax.configs.report2024.cells --pretrain=runs/pretrain --recipe=report --data=sample --tiny

Tables 1 and 2 are DFC2020 with both sensors, 3 and 4 FLAIR-1, and 6 DFC2020 with Sentinel-2 alone, as Scheibenreif et
al. 2022 have it. "Resnet50-UNet" was a ResNet-34 in the report's code, so recipe=code takes that. It began with
ImageNet weights: so does a run of that cell whose init names weights of others, by transfer; one from scratch is told
from it.
"""

import argparse
import dataclasses
import pathlib

from lcjax import weights
from lcjax.configs.report2024 import recipes
from lcjax.weights import hub, imagenet


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one run is.

    Attributes:
      file: name of the config.
      model, fusion: its arguments.
      transfer: "scratch", or what becomes of the pre-trained encoders: "frozen" or "finetuned".
    """

    file: str
    model: str
    fusion: str
    transfer: str


# A column of the tables each.
PRINTED = {
    "sentinel/swin_unet": Cell("dfc2020", "swin_unet", "s1", "scratch"),
    "sentinel/ssl_frozen": Cell("dfc2020", "two_stream_swin", "late", "frozen"),
    "sentinel/ssl_finetuned": Cell("dfc2020", "two_stream_swin", "late", "finetuned"),
    "flair/unet": Cell("flair1", "unet", "aerial", "scratch"),
    "flair/resnet_unet": Cell("flair1", "resnet50_unet", "aerial", "scratch"),
    "flair/swin_unet": Cell("flair1", "swin_unet", "aerial", "scratch"),
    "flair/ssl_frozen": Cell("flair1", "two_stream_swin", "as_sentinel", "frozen"),
    "flair/ssl_finetuned": Cell("flair1", "two_stream_swin", "as_sentinel", "finetuned"),
    "s2/unet": Cell("dfc2020", "unet", "s2", "scratch"),
    "s2/swin_unet": Cell("dfc2020", "swin_unet", "s2", "scratch"),
    "s2/ssl_frozen": Cell("dfc2020", "two_stream_swin", "s2", "frozen"),
    "s2/ssl_finetuned": Cell("dfc2020", "two_stream_swin", "s2", "finetuned"),
}
_AS_RUN = {"flair/resnet_unet": Cell("flair1", "resnet34_unet", "aerial", "scratch")}

# Cells whose printed run began with weights of others, where ours may begin from scratch, too.
BY_TRANSFER = ("flair/resnet_unet",)
_WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".npz")  # how files of weights end

# What the report recommends and did not run: the controls of its cells, one Swin-UNet without and with the pre-trained
# encoders beside its own, early fusion that deserves the name, and pre-trained convolutional encoders.
FURTHER = {
    "sentinel/ssl_scratch": Cell("dfc2020", "two_stream_swin", "late", "scratch"),
    "flair/ssl_scratch": Cell("flair1", "two_stream_swin", "as_sentinel", "scratch"),
    "early_plus_late/without": Cell("dfc2020", "two_stream_swin", "early", "scratch"),
    "early_plus_late/scratch": Cell("dfc2020", "two_stream_swin", "early_plus_late", "scratch"),
    "early_plus_late/frozen": Cell("dfc2020", "two_stream_swin", "early_plus_late", "frozen"),
    "early_plus_late/finetuned": Cell("dfc2020", "two_stream_swin", "early_plus_late", "finetuned"),
    "early/finetuned": Cell("dfc2020", "two_stream_swin", "early", "finetuned"),
    "plain/finetuned": Cell("flair1", "two_stream_swin", "aerial", "finetuned"),
    "unet/scratch": Cell("dfc2020", "unet", "late", "scratch"),
    "unet/finetuned": Cell("dfc2020", "unet", "late", "finetuned"),
    "resnet50_unet/scratch": Cell("dfc2020", "resnet50_unet", "late", "scratch"),
    "resnet50_unet/finetuned": Cell("dfc2020", "resnet50_unet", "late", "finetuned"),
}


def transfer(init: str, freeze: str) -> str:
    """What a run does with pre-trained encoders; nothing that has a name where it freezes random ones."""
    if init == "random":
        return "" if freeze else "scratch"
    return "frozen" if freeze else "finetuned"


def of_others(init: str) -> bool:
    """Whether a run begins with weights of others, and not at random or with those of a run of ours."""
    if pathlib.PurePath(init).name in weights.EXPORTED:
        return False
    return init == imagenet.NAME or init.startswith(hub.PREFIX) or pathlib.PurePath(init).suffix in _WEIGHTS


def named(file: str, model: str, size: str, fusion: str, init: str, freeze: str) -> str:
    """The name of the column that a run stands in, or nothing; networks of a size that is named stand in none."""
    if size:
        return ""
    known = [*PRINTED.items(), *_AS_RUN.items()]
    if of_others(init):
        known += [
            (name, dataclasses.replace(cell, transfer="finetuned")) for name, cell in known if name in BY_TRANSFER
        ]
    wanted = Cell(file, model, fusion, transfer(init, freeze))
    return next((name for name, cell in known if cell == wanted), "")


def commands(
    pretrain: str, *, recipe: str = "ours", data: str = "dfc2020", split: str = "", tiny: bool = False
) -> dict[str, str]:
    """Name of the workdir of each run -> its --config, with the pre-training runs that it needs before it.

    Args:
      pretrain: workdir of the pre-training run of two Swin encoders; those of other encoders add their name to it.
      split: of FLAIR-1; empty for that of the recipe.
    """
    how = ([] if recipe == "ours" else [f"recipe={recipe}"]) + (["tiny=true"] if tiny else [])
    # There is no unlabelled part of DFC2020: pre-training on SEN12MS comes before it.
    pairs = "sen12ms" if data == "dfc2020" else data
    cells = PRINTED | (_AS_RUN if recipe == "code" else {}) | (FURTHER if recipe == "ours" else {})
    found = {}
    for model in dict.fromkeys(cell.model for cell in cells.values() if cell.transfer != "scratch"):
        found[_pretraining(model)] = _config("pretrain", [f"model={model}", f"data={pairs}", *how])
    for name, cell in cells.items():
        given = [f"data={data}"] if cell.file == "dfc2020" else [f"split={split}"] if split else []
        source = [] if cell.transfer == "scratch" else [f"init={pretrain}{_suffix(cell.model)}"]
        frozen = ["freeze=encoder"] if cell.transfer == "frozen" else []
        found[name.replace("/", "_")] = _config(
            cell.file, [f"model={cell.model}", f"fusion={cell.fusion}", *given, *source, *frozen, *how]
        )
    return found


def _suffix(model: str) -> str:
    return "" if model == "two_stream_swin" else f"_{model}"


def _pretraining(model: str) -> str:
    return f"pretrain{_suffix(model)}"


def _config(file: str, words: list[str]) -> str:
    return f"{file}:{','.join(words)}"


def main(arguments: list[str] | None = None) -> None:
    """Prints a line for each run: its name and its --config."""
    parser = argparse.ArgumentParser(
        prog="python -m lcjax.configs.report2024.cells",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pretrain", default="runs/pretrain", help="workdir of the pre-training run")
    parser.add_argument("--recipe", default="ours", choices=recipes.NAMES, help="see configs/report2024/recipes.py")
    parser.add_argument("--data", default="dfc2020", choices=("dfc2020", "sample"), help="of Sentinel images")
    parser.add_argument("--split", default="", help="of FLAIR-1")
    parser.add_argument("--tiny", action="store_true")
    options = vars(parser.parse_args(arguments))
    for name, config in commands(**options).items():
        print(name, config)


if __name__ == "__main__":
    main()
