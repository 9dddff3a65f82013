"""The layouts of weights from elsewhere: one module an origin, tables alone."""

from lcjax.weights.layout import Layout
from lcjax.weights.layouts import (
    efficientnet_lite_pytorch,
    flair,
    satlas_resnet,
    smp_unet,
    timm_efficientnet,
    torchgeo_resnet,
    torchvision_resnet,
    transformers_resnet,
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
)
