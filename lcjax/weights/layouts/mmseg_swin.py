"""Swin of OpenMMLab's mmsegmentation (Apache-2.0), alone or under UPerNet.

It merges patches by torch.nn.Unfold: the four neighbours of each channel lie side by side, row by row.
"""

from lcjax.weights.layout import Layout, Part, Rules
from lcjax.weights.layouts.microsoft_swin import BUFFERS, HEAD, IMAGENET, POSITIONS, V2
from lcjax.weights.layouts.transformers_swin import AUXILIARY, UPERNET

RULES: Rules = (
    (r"^patch_embed\.projection", "embed"),
    (r"^patch_embed\.norm", "embed_norm"),
    (r"^stages\.(\d+)\.blocks", r"stages.\1"),
    (r"^stages\.(\d+)\.downsample", r"merges.\1"),
    (r"^norm([012])\b", r"norms.\1"),
    (r"^norm3\b", "norm"),
    (r"attn\.w_msa\.qkv", "attention.qkv"),
    (r"attn\.w_msa\.proj", "attention.out"),
    (r"attn\.w_msa\.relative_position_bias_table", "attention.bias_table"),
    (r"ffn\.layers\.0\.0", "mlp_in"),
    (r"ffn\.layers\.1", "mlp_out"),
)

LAYOUTS = (
    Layout(
        "mmseg_swin",
        "Swin of mmsegmentation",
        ("swin_upernet",),
        parts=(
            Part(
                r"(backbone\.)?(?=patch_embed\.|stages\.\d+\.(blocks|downsample)\.|norm\d?\.)",
                "encoders/image/",
                RULES,
            ),
            Part(r"decode_head\.conv_seg\.", "head/classify/"),
            Part(r"decode_head\.", "decoders/image/", UPERNET),
        ),
        first=r"^(backbone\.)?patch_embed\.projection\.weight$",
        marks=(r"^(backbone\.)?stages\.0\.blocks\.0\.attn\.w_msa\.qkv\.weight$",),
        against=(V2, POSITIONS),
        unused=(BUFFERS, HEAD, AUXILIARY),
        lacks=((r"^norms/", "norms behind the stages, which a Swin for classes has not"),),
        turns=((r"^encoders/\w+/merges/", "unfolded"),),
        inputs=IMAGENET,
        note=(
            "mmsegmentation shifts windows also where one holds an edge of the image; the Swin here, as its authors', "
            "does not: images of up to 224 pixels by side differ in the last stage"
        ),
        source="https://github.com/open-mmlab/mmsegmentation (Apache-2.0)",
    ),
)
