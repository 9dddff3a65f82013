"""The layouts of weights from elsewhere: one module an origin, tables alone."""

from lcjax.weights.layout import Layout
from lcjax.weights.layouts import torchvision_resnet

# In this order: of two that know equally many entries of a file, the first is taken.
ALL: tuple[Layout, ...] = (*torchvision_resnet.LAYOUTS,)
