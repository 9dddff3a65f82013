"""EfficientNet-Lite0 of timm (Apache-2.0)."""

from lcjax.weights.layout import Input, Layout, Part, Rules

# The first stage widens nothing: its block has a convolution fewer.
EFFICIENTNET: Rules = (
    (r"^conv_stem", "stem.conv"),
    (r"^bn1", "stem.norm"),
    (r"^blocks\.0\.(\d+)\.conv_dw", r"stages.0.\1.layers.0.conv"),
    (r"^blocks\.0\.(\d+)\.bn1", r"stages.0.\1.layers.0.norm"),
    (r"^blocks\.0\.(\d+)\.conv_pw", r"stages.0.\1.layers.1.conv"),
    (r"^blocks\.0\.(\d+)\.bn2", r"stages.0.\1.layers.1.norm"),
    (r"^blocks\.", "stages."),
    (r"\.conv_pwl", ".layers.2.conv"),
    (r"\.conv_pw", ".layers.0.conv"),
    (r"\.conv_dw", ".layers.1.conv"),
    *((rf"\.bn{layer + 1}", f".layers.{layer}.norm") for layer in range(3)),
)
ATTENTION = r"^blocks\..*\.se\."  # EfficientNet-B0 and larger
NOTE = (
    "taken for tf_efficientnet_lite0; timm's efficientnet_lite0, trained without TensorFlow, has the same names and "
    "shapes, but pads evenly, has 1e-5 for 1e-3 in its batch norms and learned with ImageNet's mean and deviation: "
    "here it would answer other numbers, so that only training on makes use of it"
)
INPUT = Input(("R", "G", "B"), ("inception",), origin="ImageNet, from -1 to 1")

LAYOUTS = (
    Layout(
        "timm_efficientnet",
        "EfficientNet-Lite0 of timm",
        ("efficientnet_lite0_unet",),
        parts=(Part(r"(?=conv_stem\.|bn1\.|blocks\.)", "encoders/image/", EFFICIENTNET),),
        first=r"^conv_stem\.weight$",
        marks=(r"^blocks\.6\.0\.conv_pwl\.weight$",),
        against=(ATTENTION,),
        unused=((r"^(conv_head|bn2)\.", "widens for the head of the origin"), (r"^classifier\.", "head of the origin")),
        inputs=(INPUT,),
        note=NOTE,
        source="https://huggingface.co/timm/tf_efficientnet_lite0.in1k (Apache-2.0)",
    ),
    Layout(
        "timm_efficientnet_variant",
        "EfficientNet with attention to channels",
        (),
        parts=(Part("", "encoders/image/"),),
        first=r"^conv_stem\.weight$",
        marks=(ATTENTION,),
        refused="EfficientNet-B0 to B8 are other networks than those here; expected tf_efficientnet_lite0",
    ),
)
