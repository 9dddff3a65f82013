"""Swins of timm (Apache-2.0) since version 0.9; before, it had the names of microsoft_swin."""

from lcjax.weights.layout import Layout, Part, Rules
from lcjax.weights.layouts.microsoft_swin import (
    BLOCK,
    BUFFERS,
    EMBEDDING,
    HEAD,
    IMAGENET,
    LACKS,
    POSITIONS,
    SWINS,
    V2,
)

# A stage begins with the merging in front of it, where it is the end of the stage before in ours and in the original.
RULES: Rules = (
    *EMBEDDING,
    *((rf"^layers\.{stage + 1}\.downsample", f"merges.{stage}") for stage in range(3)),
    (r"^layers\.(\d+)\.blocks", r"stages.\1"),
    *BLOCK,
)

LAYOUTS = (
    Layout(
        "timm_swin",
        "Swin of timm",
        SWINS,
        parts=(Part(r"(?=patch_embed\.|layers\.\d+\.(blocks|downsample)\.|norm\.)", "encoders/image/", RULES),),
        first=r"^patch_embed\.proj\.weight$",
        marks=(r"^layers\.1\.downsample\.reduction\.weight$", r"^layers\.0\.blocks\.0\.attn\.qkv\.weight$"),
        against=(r"^layers\.0\.downsample\.", V2, POSITIONS),
        unused=(BUFFERS, HEAD),
        lacks=LACKS,
        mirrors=True,
        inputs=IMAGENET,
        note=(
            "timm shifts windows in one direction alone where only the other edge of an image fits into a window, and "
            "before it pads; the Swin here, as its authors', then in neither, and after"
        ),
        source="https://huggingface.co/timm (MIT for Microsoft's, licence of each on its page)",
    ),
)
