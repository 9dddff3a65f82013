"""The layouts of weights from elsewhere: one module an origin, tables alone."""

from lcjax.weights.layout import Layout
from lcjax.weights.layouts import (
    microsoft_swin,
    mmseg_swin,
    ssl_transformer_rs,
    swin_unet,
    timm_swin,
    timm_vit,
    torchvision_resnet,
    torchvision_swin,
    transformers_swin,
    transformers_vit,
)

# In this order: of two that know equally many entries of a file, the first is taken.
ALL: tuple[Layout, ...] = (
    *torchvision_resnet.LAYOUTS,
    *torchvision_swin.LAYOUTS,
    *timm_swin.LAYOUTS,
    *timm_vit.LAYOUTS,
    *transformers_swin.LAYOUTS,
    *transformers_vit.LAYOUTS,
    *microsoft_swin.LAYOUTS,
    *mmseg_swin.LAYOUTS,
    *swin_unet.LAYOUTS,
    *ssl_transformer_rs.LAYOUTS,
)
