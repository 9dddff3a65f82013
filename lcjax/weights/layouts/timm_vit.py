"""Vision transformers of timm (Apache-2.0), whose names DeiT, DINO and MAE have; and those that are no plain ones.

Layer norms there add 1e-6 to the variance, here 1e-12 as in transformers. What leaves a norm differs by a share of
5e-7 / variance of the token.
"""

from lcjax.weights.layout import Input, Layout, Part, Rules
from lcjax.weights.layouts.microsoft_swin import RGB
from lcjax.weights.layouts.torchgeo_resnet import SENTINEL2

VITS = ("vit_pyramid",)
RULES: Rules = (
    (r"^patch_embed\.proj", "embed"),
    (r"^cls_token", "class_token"),
    (r"^pos_embed", "position"),
    (r"^blocks\.(\d+)\.", r"stages.\1.0."),
    (r"attn\.qkv", "qkv"),
    (r"attn\.proj", "out"),
    (r"mlp\.fc1", "mlp_in"),
    (r"mlp\.fc2", "mlp_out"),
)
LACKS = ((r"^(finest1|finest_norm|finest2|finer)/", "pyramid behind the encoder, which a plain ViT has not"),)
# Of Google's, and of those that began from them; of DeiT, DINO, MAE and most others. The names do not tell.
SCALINGS = ("inception", "imagenet")
NOTE = (
    "ViTs of Google (augreg, orig, google/vit) learned with mean 0.5 and deviation 0.5 (config.scaling=inception), "
    "DeiT, DINO and MAE with ImageNet's (config.scaling=imagenet)"
)

# What plain ones do not have: scaled branches, more tokens, relative positions, norms elsewhere, gates, a stem.
VARIANTS = (
    r"\.(ls\d\.gamma|gamma_\d|layer_scale\d\.lambda1|rel_pos|rel_pos_[hw]|relative_position_bias_table|q_norm|k_norm|norm3)\b"
    r"|(reg_token|register_tokens|dist_token|distillation_token)$|^(norm_pre|fc_norm|attn_pool)\."
    r"|^patch_embed\.backbone\.|mlp\.(w12|fc1_g)\."
)

LAYOUTS = (
    Layout(
        "timm_vit",
        "ViT of timm",
        VITS,
        parts=(Part(r"(?=patch_embed\.|cls_token$|pos_embed$|blocks\.|norm\.)", "encoders/image/", RULES),),
        first=r"^patch_embed\.proj\.weight$",
        marks=(r"^blocks\.0\.attn\.qkv\.weight$", r"^cls_token$", r"^pos_embed$"),
        against=(VARIANTS,),
        unused=(
            (r"^head\.", "head of the origin"),
            (r"^(decoder_|mask_token$)", "decoder of the pre-training"),
        ),
        lacks=LACKS,
        inputs=(
            Input(RGB, SCALINGS, origin="ImageNet"),
            Input(SENTINEL2, ("sensor", "range"), origin="Sentinel-2 (SSL4EO-S12): reflectance"),
        ),
        note=(
            f"{NOTE}; timm's layer norms add 1e-6 to the variance, those here 1e-12: where tokens have a variance of "
            "0.01, features differ by 1e-4"
        ),
        source="https://huggingface.co/timm (Apache-2.0 for Google's, licence of each on its page)",
    ),
    Layout(
        "vit_variant",
        "a vision transformer that is no plain one",
        (),
        parts=(Part("", "encoders/image/"),),
        first=r"(patch_embed\.(backbone\.stem\.conv|proj)|patch_embeddings\.projection)\.weight$",
        marks=(VARIANTS, r"^(encoder\.)?(blocks|layers?)\.\d+\.(norm1|layernorm_before|attn|attention)\."),
        refused=(
            "with scaled branches, tokens for registers or distillation, relative positions or norms in other places "
            "it is another network than the ViT here; expected a plain one, with class token and learned positions"
        ),
    ),
)
