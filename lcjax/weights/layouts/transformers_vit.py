"""ViTs of transformers (Apache-2.0): by the names of its files, and of its modules since version 5."""

from lcjax.weights.layout import Input, Layout, Part, Rules
from lcjax.weights.layouts.microsoft_swin import MASK, RGB
from lcjax.weights.layouts.timm_vit import LACKS, NOTE, SCALINGS, VARIANTS, VITS
from lcjax.weights.layouts.transformers_swin import ATTENTION, MLP

RULES: Rules = (
    (r"^embeddings\.patch_embeddings\.projection", "embed"),
    (r"^embeddings\.cls_token", "class_token"),
    (r"^embeddings\.position_embeddings", "position"),
    (r"^(encoder\.layer|layers)\.(\d+)\.", r"stages.\2.0."),
    (r"^layernorm\b", "norm"),
    *ATTENTION,
    (r"attention\.", ""),
    *MLP,
)

LAYOUTS = (
    Layout(
        "transformers_vit",
        "ViT of transformers",
        VITS,
        parts=(Part(r"(?=embeddings\.|(encoder\.layer|layers)\.\d+\.|layernorm\.)", "encoders/image/", RULES),),
        first=r"^embeddings\.patch_embeddings\.projection\.weight$",
        marks=(
            r"^embeddings\.cls_token$",
            r"^embeddings\.position_embeddings$",
            r"^(encoder\.layer|layers)\.0\.layernorm_before\.weight$",
        ),
        against=(VARIANTS,),
        unused=((r"^pooler\.", "pooling of the origin"), (r"^classifier\.", "head of the origin"), MASK),
        lacks=LACKS,
        inputs=(Input(RGB, SCALINGS, origin="ImageNet"),),
        note=NOTE,
        source="https://huggingface.co/google/vit-base-patch16-224 (Apache-2.0)",
    ),
)
