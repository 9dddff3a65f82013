"""Unets of segmentation_models_pytorch (MIT); what FLAIR was trained with is one of them (layouts/flair.py)."""

from lcjax.weights.layout import Input, Layout, Part, Rules
from lcjax.weights.layouts import timm_efficientnet, torchvision_resnet

DECODER: Rules = (
    (r"^blocks\.(\d+)\.conv1", r"levels.\1.first"),
    (r"^blocks\.(\d+)\.conv2", r"levels.\1.second"),
    (r"(first|second)\.0", r"\1.conv"),
    (r"(first|second)\.1", r"\1.norm"),
)
_BLOCK = r"^decoder\.blocks\.0\.conv1\.0\.weight$"
ENCODER = Part(r"encoder\.(model\.)?", "encoders/image/", torchvision_resnet.RESNET)
PARTS = (Part(r"decoder\.", "decoders/image/", DECODER), Part(r"segmentation_head\.0\.", "head/classify/"))
MARKS = (_BLOCK, r"^encoder\.(model\.)?layer4\.0\.conv2\.weight$")
# Of decoders that calibrate their features (scse); the encoder by itself is known then, too.
ATTENTION = r"^decoder\..*\.attention\d\."
UNUSED = ((r"^classification_head\.", "auxiliary head of the origin"),)
_INPUT = Input(("R", "G", "B"), origin="three bands, taken for red, green and blue; scaled as in that training")
_SOURCE = "https://github.com/qubvel-org/segmentation_models.pytorch (MIT); whoever trained it"

SMP_UNET = Layout(
    "smp_unet",
    "Unet of segmentation_models_pytorch on a ResNet",
    torchvision_resnet.RESNETS,
    parts=(ENCODER, *PARTS),
    first=r"^encoder\.(model\.)?conv1\.weight$",
    marks=MARKS,
    against=(torchvision_resnet.VARIANTS, ATTENTION),
    unused=UNUSED,
    inputs=(_INPUT,),
    note="taken for a Unet whose decoder repeats pixels (decoder_interpolation='nearest', as they are by default)",
    source=_SOURCE,
)

LAYOUTS = (
    SMP_UNET,
    Layout(
        "smp_unet_efficientnet",
        "Unet of segmentation_models_pytorch on tu-tf_efficientnet_lite0",
        ("efficientnet_lite0_unet",),
        parts=(Part(r"encoder\.model\.", "encoders/image/", timm_efficientnet.EFFICIENTNET), *PARTS),
        first=r"^encoder\.model\.conv_stem\.weight$",
        marks=(_BLOCK, r"^encoder\.model\.blocks\.6\.0\.conv_pwl\.weight$"),
        against=(r"\.se\.", ATTENTION),
        unused=UNUSED,
        inputs=(_INPUT,),
        note=timm_efficientnet.NOTE,
        source=_SOURCE,
    ),
    Layout(
        "smp_timm_efficientnet",
        "Unet of segmentation_models_pytorch on timm-efficientnet",
        (),
        parts=(Part("", "encoders/image/"),),
        first=r"^encoder\.conv_stem\.weight$",
        marks=(r"^decoder\.",),
        refused=(
            "its encoders pad evenly, have 1e-5 for 1e-3 in their batch norms and give the decoder the stem: other "
            "networks than those here; expected one on tu-tf_efficientnet_lite0"
        ),
    ),
)
