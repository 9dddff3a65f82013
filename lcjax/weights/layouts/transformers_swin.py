"""Swin and UPerNet of transformers (Apache-2.0): by the names of its files, and of its modules since version 5."""

from lcjax.weights.layout import Layout, Part, Rules
from lcjax.weights.layouts.microsoft_swin import (
    BUFFERS,
    HEAD,
    IMAGENET,
    LACKS,
    MASK,
    POSITIONS,
    SWINS,
    V2,
)

# query, key and value apart, and side by side here. A ViT has an "attention" more.
ATTENTION: Rules = (
    *(
        (rf"attention\.(self\.|attention\.)?({old}|{new})\b", f"attention.qkv[{place}/3]")
        for place, (old, new) in enumerate([("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")])
    ),
    (r"attention\.(output\.dense|o_proj)", "attention.out"),
)
MLP: Rules = (
    (r"(intermediate\.dense|mlp\.fc1)", "mlp_in"),
    (r"(output\.dense|mlp\.fc2)", "mlp_out"),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
)
RULES: Rules = (
    (r"^embeddings\.patch_embeddings\.projection", "embed"),
    (r"^embeddings\.norm", "embed_norm"),
    (r"^encoder\.layers\.(\d+)\.blocks", r"stages.\1"),
    (r"^encoder\.layers\.(\d+)\.downsample", r"merges.\1"),
    (r"^layernorm\b", "norm"),
    *ATTENTION,
    (r"attention\.(self|relative_position_bias)\.relative_position_bias_table", "attention.bias_table"),
    *MLP,
)
# A backbone normalises what leaves each stage.
STAGE_NORMS: Rules = (*((rf"^stage{stage + 1}", f"norms.{stage}") for stage in range(3)), (r"^stage4", "norm"))
UPERNET: Rules = (
    (r"\b(batch_norm|bn)\b", "norm"),
    (r"^psp_modules\.(\d+)\.1", r"pools.\1"),
    (r"^lateral_convs", "laterals"),
    (r"^fpn_convs", "smooths"),
    (r"^fpn_bottleneck", "join"),
)
AUXILIARY = (r"^auxiliary_head\.", "second head, which only training needs")

LAYOUTS = (
    Layout(
        "transformers_swin",
        "Swin of transformers",
        SWINS,
        parts=(Part(r"(?=embeddings\.|encoder\.layers\.|layernorm\.)", "encoders/image/", RULES),),
        first=r"^embeddings\.patch_embeddings\.projection\.weight$",
        marks=(r"^encoder\.layers\.0\.blocks\.0\.layernorm_before\.weight$",),
        against=(V2, POSITIONS, r"hidden_states_norms\."),
        unused=(BUFFERS, HEAD, MASK, (r"^pooler\.", "pooling of the origin")),
        lacks=LACKS,
        mirrors=True,
        inputs=IMAGENET,
        note=(
            "transformers makes windows smaller where a stage is smaller than one; the Swin here, as its authors', pads"
        ),
        source="https://huggingface.co/microsoft/swin-tiny-patch4-window7-224, -small, -base (Apache-2.0)",
    ),
    Layout(
        "transformers_upernet",
        "UPerNet on Swin, or a Swin backbone, of transformers",
        ("swin_upernet",),
        parts=(
            Part(r"(backbone\.)?hidden_states_norms\.", "encoders/image/", STAGE_NORMS),
            Part(r"(backbone\.)?(swin\.)?(?=embeddings\.|encoder\.layers\.)", "encoders/image/", RULES),
            Part(r"decode_head\.classifier\.", "head/classify/"),
            Part(r"decode_head\.", "decoders/image/", UPERNET),
        ),
        first=r"^(backbone\.)?(swin\.)?embeddings\.patch_embeddings\.projection\.weight$",
        marks=(r"^(backbone\.)?hidden_states_norms\.stage4\.weight$",),
        against=(V2, POSITIONS),
        unused=(
            (r"swin\.layernorm\.", "a norm that a backbone does not ask"),
            AUXILIARY,
            BUFFERS,
        ),
        lacks=((r"^norms/", "norms behind the stages, which the origin has for those alone that it was asked for"),),
        inputs=IMAGENET,
        note=(
            "a backbone of transformers shifts windows also where one holds an edge of the image; the Swin here, as "
            "its authors', does not: images of up to 224 pixels by side differ in the last stage"
        ),
        source="https://huggingface.co/openmmlab/upernet-swin-tiny, -small, -base (MIT)",
    ),
)
