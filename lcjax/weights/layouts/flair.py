"""The baseline of FLAIR-1 and the models of FLAIR-INC (IGN, Etalab 2.0): a Unet of segmentation_models_pytorch.

Names as its code makes them; bands and normalisation as its configuration has them; no file was opened. Classes are 19
of the legend, of which some are not learned.
"""

import dataclasses

from lcjax.weights.layout import Input, Part
from lcjax.weights.layouts.smp_unet import ATTENTION, ENCODER, PARTS, SMP_UNET
from lcjax.weights.layouts.torchvision_resnet import VARIANTS

_PREFIX = r"seg_model\."  # below `model.` in checkpoints of Lightning
_BANDS = ("R", "G", "B", "NIR", "elevation")


def _below(part: Part) -> Part:
    return dataclasses.replace(part, theirs=_PREFIX + part.theirs)


_BARE = dataclasses.replace(
    SMP_UNET,
    name="flair_unet_bare",
    title="ResNet34-UNet of FLAIR (IGN), its names without seg_model",
    # The means and deviations of bytes that the sensor `aerial` has.
    inputs=tuple(
        Input(_BANDS[:count], ("sensor", "standardised"), origin=f"aerial images of France (FLAIR), {what}")
        for count, what in ((5, "with elevation"), (4, "with near infrared"), (3, "in colour"))
    ),
    asked=True,
    source="https://huggingface.co/IGNF (FLAIR-INC, Etalab 2.0), https://github.com/IGNF/FLAIR-1; no file was opened",
)

LAYOUTS = (
    dataclasses.replace(
        _BARE,
        name="flair_unet",
        title="ResNet34-UNet of FLAIR (IGN)",
        parts=tuple(map(_below, (ENCODER, *PARTS))),
        first=rf"^{_PREFIX}encoder\.conv1\.weight$",
        marks=(rf"^{_PREFIX}decoder\.blocks\.0\.conv1\.0\.weight$",),
        against=(VARIANTS, _PREFIX + ATTENTION.removeprefix("^")),
        unused=((r"^enc\.", "encoder of the metadata of images"), (r"^criterion\.", "weights of the loss")),
        asked=False,
    ),
    _BARE,
)
