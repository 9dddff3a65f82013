"""The layouts of weights from elsewhere: one module an origin, tables alone."""

from lcjax.weights.layout import Layout
from lcjax.weights.layouts import (
    efficientnet_lite_pytorch,
    flair,
    microsoft_swin,
    mmseg_swin,
    satlas_resnet,
    smp_unet,
    ssl_transformer_rs,
    swin_unet,
    timm_efficientnet,
    timm_swin,
    timm_vit,
    torchgeo_resnet,
    torchvision_resnet,
    torchvision_swin,
    transformers_resnet,
    transformers_swin,
    transformers_vit,
)

# In this order: of two that know equally many entries of a file, the first is taken.
ALL: tuple[Layout, ...] = (
    *torchvision_resnet.LAYOUTS,
    *timm_efficientnet.LAYOUTS,
    *efficientnet_lite_pytorch.LAYOUTS,
    *transformers_resnet.LAYOUTS,
    *smp_unet.LAYOUTS,
    *torchgeo_resnet.LAYOUTS,
    *satlas_resnet.LAYOUTS,
    *flair.LAYOUTS,
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
