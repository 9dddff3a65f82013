"""ResNets of torchvision (BSD-3-Clause), and all that took over its names."""

from lcjax.weights.layout import Input, Layout, Part, Rules

RESNETS = ("resnet18_unet", "resnet34_unet", "resnet50_unet", "resnet101_unet")

RESNET: Rules = (
    (r"^conv1", "stem.conv"),
    (r"^bn1", "stem.norm"),
    *((rf"^layer{stage + 1}", f"stages.{stage}") for stage in range(4)),
    *((rf"\.conv{layer + 1}", f".layers.{layer}.conv") for layer in range(3)),
    *((rf"\.bn{layer + 1}", f".layers.{layer}.norm") for layer in range(3)),
    (r"downsample\.0", "shortcut.conv"),
    (r"downsample\.1", "shortcut.norm"),
)

LAYOUTS = (
    Layout(
        "torchvision_resnet",
        "ResNet of torchvision",
        RESNETS,
        parts=(Part(r"(?=conv1\.|bn1\.|layer\d\.)", "encoders/image/", RESNET),),
        first=r"^conv1\.weight$",
        marks=(r"^bn1\.weight$", r"^layer4\.0\.conv2\.weight$"),
        unused=((r"^fc\.", "head of the origin"),),
        inputs=(Input(("R", "G", "B"), ("imagenet",), origin="ImageNet"),),
        source="https://pytorch.org/vision (BSD-3-Clause)",
    ),
)
