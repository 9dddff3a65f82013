"""Swin-Unet of Cao et al. 2021 (HuCaoFighting/Swin-Unet), whose encoder has the names of Swin's authors."""

from lcjax.weights.layout import Layout, Part, Rules
from lcjax.weights.layouts.microsoft_swin import BLOCK, BUFFERS, POSITIONS, RULES

# A decoder's stage ends with the expansion behind it, where it begins the next one in ours.
DECODER: Rules = (
    (r"^layers_up\.0\.", "expands.0."),
    *((rf"^layers_up\.{stage}\.upsample", f"expands.{stage}") for stage in range(1, 3)),
    *((rf"^layers_up\.{stage}\.blocks", f"stages.{stage - 1}") for stage in range(1, 4)),
    *((rf"^concat_back_dim\.{stage}", f"joins.{stage - 1}") for stage in range(1, 4)),
    (r"^norm_up", "norm"),
    *BLOCK,
)

LAYOUTS = (
    Layout(
        "swin_unet",
        "Swin-Unet of Cao et al.",
        ("swin_unet",),
        parts=(
            Part(r"(?=patch_embed\.|layers\.\d+\.(blocks|downsample)\.|norm\.)", "encoders/image/", RULES),
            Part(r"(?=layers_up\.|concat_back_dim\.|norm_up\.)", "decoders/image/", DECODER),
            Part(r"up\.", "head/expand/"),
            Part(r"output\.", "head/classify/"),
        ),
        first=r"^patch_embed\.proj\.weight$",
        marks=(r"^layers_up\.0\.expand\.weight$", r"^concat_back_dim\.1\.weight$", r"^layers\.0\.downsample\."),
        against=(POSITIONS,),
        unused=(BUFFERS,),
        source="https://github.com/HuCaoFighting/Swin-Unet (publishes no weights)",
    ),
)
