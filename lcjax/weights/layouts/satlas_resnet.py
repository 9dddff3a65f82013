"""ResNets of SatlasPretrain (Bastani et al. 2023), ImageNet's of torchvision below `backbone.resnet.`.

Names as its loading code expects them, bands and scalings as its page on normalisation says; no file was opened. There
are ResNet-50 and ResNet-152, of which the first is a network here. Models of many images prefix `backbone.` once more.
"""

import dataclasses

from lcjax.weights.layout import Part
from lcjax.weights.layouts import torchgeo_resnet
from lcjax.weights.layouts.torchvision_resnet import RESNET, TORCHVISION

_PREFIX = r"backbone\.(backbone\.)?resnet\."
_INPUTS = next(layout.inputs for layout in torchgeo_resnet.LAYOUTS if layout.name == "torchgeo_satlas")

LAYOUTS = (
    dataclasses.replace(
        TORCHVISION,
        name="satlas_resnet",
        title="ResNet of SatlasPretrain",
        models=("resnet50_unet",),
        parts=(Part(rf"{_PREFIX}(?=conv1\.|bn1\.|layer\d\.)", "encoders/image/", RESNET),),
        first=rf"^{_PREFIX}conv1\.weight$",
        marks=(rf"^{_PREFIX}layer4\.0\.conv3\.weight$",),
        unused=(
            (rf"^{_PREFIX}fc\.", "head of ImageNet, unused there"),
            (r"^(intermediates|fpn|upsample)\.", "feature pyramid of the origin"),
            (r"^heads?\.", "head of the origin"),
        ),
        inputs=_INPUTS,
        source="https://huggingface.co/allenai/satlas-pretrain (ODC-BY); no file was opened",
    ),
)
