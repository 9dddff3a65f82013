"""Swins of torchvision (BSD-3-Clause)."""

from lcjax.weights.layout import Layout, Part, Rules
from lcjax.weights.layouts.microsoft_swin import BLOCK, BUFFERS, HEAD, IMAGENET, LACKS, SWINS, V2

# Embedding, then stage and merging by turns, in one row.
RULES: Rules = (
    (r"^features\.0\.0", "embed"),
    (r"^features\.0\.2", "embed_norm"),
    *((rf"^features\.{2 * stage + 1}\.", f"stages.{stage}.") for stage in range(4)),
    *((rf"^features\.{2 * stage + 2}\.", f"merges.{stage}.") for stage in range(3)),
    (r"mlp\.0", "mlp_in"),
    (r"mlp\.3", "mlp_out"),
    *BLOCK,
)

LAYOUTS = (
    Layout(
        "torchvision_swin",
        "Swin of torchvision",
        SWINS,
        parts=(Part(r"(?=features\.\d\.|norm\.)", "encoders/image/", RULES),),
        first=r"^features\.0\.0\.weight$",
        marks=(r"^features\.1\.0\.attn\.relative_position_bias_table$",),
        against=(V2,),
        unused=(BUFFERS, HEAD),
        lacks=LACKS,
        mirrors=True,
        inputs=IMAGENET,
        note=(
            "torchvision shifts windows in one direction alone where only the other edge of an image fits into a "
            "window; the Swin here, as its authors', then in neither"
        ),
        source="https://pytorch.org/vision (BSD-3-Clause)",
    ),
)
