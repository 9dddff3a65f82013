"""ResNets of torchvision (BSD-3-Clause), and all that took over its names: timm, MoCo, DINO and many others."""

import dataclasses

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
# What plain ResNets do not have: three convolutions in the stem (those of decoders are numbered), a shortcut that
# pools, attention in the blocks.
VARIANTS = (
    r"(?<!\d\.)conv1\.0\.weight$|downsample\.2\.|\.(se|se_module|eca|attn)\.|\.conv2\.(fc|fc1|attn|paths)\b"
    r"|\.convs\.0\."
)
# Of the same names, and yet other networks: their strides or pools have no entry.
NOTE = (
    "taken for a ResNet with its strides in the 3x3 convolutions of bottlenecks, as torchvision and timm have them; "
    "the names do not tell those with strides in the 1x1 convolutions (Caffe) or with blurred pools (resnetaa, "
    "resnetblur)"
)

TORCHVISION = Layout(
    "torchvision_resnet",
    "ResNet of torchvision or timm",
    RESNETS,
    parts=(Part(r"(?=conv1\.|bn1\.|layer\d\.)", "encoders/image/", RESNET),),
    first=r"^conv1\.weight$",
    marks=(r"^bn1\.weight$", r"^layer4\.0\.conv2\.weight$"),
    against=(VARIANTS,),
    unused=((r"^fc\.", "head of the origin"),),
    inputs=(Input(("R", "G", "B"), ("imagenet",), origin="ImageNet"),),
    note=NOTE,
    source="https://pytorch.org/vision (BSD-3-Clause), https://huggingface.co/timm (licence of each on its page)",
)

LAYOUTS = (
    TORCHVISION,
    dataclasses.replace(
        TORCHVISION,
        name="resnet_variant",
        title="a ResNet, but no plain one",
        models=(),
        parts=(Part("", "encoders/image/"),),
        first=r"^conv1(\.0)?\.weight$",
        marks=(VARIANTS,),
        against=(),
        inputs=(),
        note="",
        refused=(
            "another stem or shortcut (ResNet-D, -S, -T), attention (SE-, ECA-, SK-ResNet, ResNeSt) or parted blocks "
            "(Res2Net) make it another network than those here; expected a plain ResNet-18, 34, 50 or 101"
        ),
        source="",
    ),
)
