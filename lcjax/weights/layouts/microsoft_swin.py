"""Swin of its authors (microsoft/Swin-Transformer, MIT), what Swins of all origins have in common, and what is none."""

from lcjax.weights.layout import Input, Layout, Part, Rules

SWINS = ("swin_unet", "two_stream_swin", "swin_upernet")

# Of a block, where attention and MLP go by the names of the original.
BLOCK: Rules = (
    (r"attn\.qkv", "attention.qkv"),
    (r"attn\.proj", "attention.out"),
    (r"attn\.relative_position_bias_table", "attention.bias_table"),
    (r"mlp\.fc1", "mlp_in"),
    (r"mlp\.fc2", "mlp_out"),
)
EMBEDDING: Rules = (
    (r"^patch_embed\.proj", "embed"),
    (r"^patch_embed\.norm", "embed_norm"),
)
RULES: Rules = (
    *EMBEDDING,
    (r"^layers\.(\d+)\.blocks", r"stages.\1"),
    (r"^layers\.(\d+)\.downsample", r"merges.\1"),
    *BLOCK,
)
# What a Swin for classes lacks of ours for UPerNet.
LACKS = ((r"^norms/", "norms behind the stages, which a Swin for classes has not"),)
BUFFERS = (r"(relative_position_index|attn_mask)$", "is computed where it is needed")
HEAD = (r"^(head|classifier)\.", "head of the origin")
MASK = (r"mask_token$", "stood for hidden patches in pre-training")
RGB = ("R", "G", "B")
IMAGENET = (Input(RGB, ("imagenet",), origin="ImageNet"),)

# Entries of networks that have others of the names of a Swin, too.
V2 = r"\.(logit_scale|cpb_mlp|continuous_position_bias_mlp|meta_mlp)\b"
POSITIONS = r"(absolute_pos_embed|embeddings\.position_embeddings)$"
_FIRST = r"(patch_embed\.proj|patch_embed\.projection|patch_embeddings\.projection|features\.0\.0)\.weight$"
_SWIN = r"(relative_position_bias_table|downsample\.reduction\.weight)$"


def _refused(name: str, title: str, mark: str, why: str) -> Layout:
    return Layout(name, title, (), (Part("", "encoders/image/"),), _FIRST, marks=(mark, _SWIN), refused=why)


LAYOUTS = (
    Layout(
        "microsoft_swin",
        "Swin of its authors (with their names SimMIM, MoBY, timm before version 0.9 and many others)",
        SWINS,
        parts=(Part(r"(?=patch_embed\.|layers\.\d+\.(blocks|downsample)\.|norm\.)", "encoders/image/", RULES),),
        first=r"^patch_embed\.proj\.weight$",
        # timm numbers the same merging by the stage behind it.
        marks=(r"^layers\.0\.downsample\.reduction\.weight$", r"^layers\.0\.blocks\.0\.attn\.qkv\.weight$"),
        against=(V2, POSITIONS),
        unused=(BUFFERS, HEAD, MASK),
        lacks=LACKS,
        mirrors=True,
        inputs=IMAGENET,
        source="https://github.com/microsoft/Swin-Transformer (MIT)",
    ),
    _refused(
        "swin_v2",
        "Swin v2",
        V2,
        "it is another network than the Swin here, with cosine attention, positions from an MLP and norms behind its "
        "layers; expected a Swin of version 1",
    ),
    _refused(
        "swin_with_positions",
        "a Swin with absolute positions",
        POSITIONS,
        "the Swin here has only relative ones; expected one without",
    ),
)
