"""ResNets of transformers (Apache-2.0): of the files that Microsoft publishes, and as version 5 writes them."""

from lcjax.weights.layout import Input, Layout, Part, Rules
from lcjax.weights.layouts.torchvision_resnet import RESNETS

RULES: Rules = (
    (r"convolution", "conv"),
    (r"normalization", "norm"),
    (r"^embedder\.embedder", "stem"),
    (r"^encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut", r"stages.\1.\2.shortcut"),
    (r"^encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)", r"stages.\1.\2.layers.\3"),
)

LAYOUTS = (
    Layout(
        "transformers_resnet",
        "ResNet of transformers",
        RESNETS,
        parts=(Part(r"(resnet\.)?(?=embedder\.|encoder\.stages\.)", "encoders/image/", RULES),),
        first=r"^(resnet\.)?embedder\.embedder\.convolution\.weight$",
        marks=(r"^(resnet\.)?encoder\.stages\.3\.layers\.0\.layer\.1\.convolution\.weight$",),
        against=(r"\.attention\.\d",),  # RegNet
        unused=((r"^classifier\.", "head of the origin"),),
        inputs=(Input(("R", "G", "B"), ("imagenet",), origin="ImageNet"),),
        note=(
            "taken for a ResNet with its strides in the 3x3 convolutions of bottlenecks, as Microsoft's have them; the "
            "names do not tell one with them in the 1x1 convolutions (downsample_in_bottleneck in its config.json)"
        ),
        source="https://huggingface.co/microsoft/resnet-50, -18, -34, -101 (Apache-2.0)",
    ),
)
