"""Losses, in float32.

Each is of one replica's examples, divided by what the whole batch holds: over replicas they add up to the loss of the
batch (lcjax/parallel/mesh.py). What there is, with formulas and sources: docs/losses.md.
"""

from lcjax.ops.losses.class_weights import CLASS_WEIGHTS, class_weights, effective_number_weights, fixed_weights
from lcjax.ops.losses.contrastive import nt_xent
from lcjax.ops.losses.interfaces import PixelLoss
from lcjax.ops.losses.masked import masked_l1
from lcjax.ops.losses.means import mean_over_images, mean_over_pixels, total_weight
from lcjax.ops.losses.pixels import cross_entropy
from lcjax.ops.losses.terms import PIXEL_LOSSES, REGISTRY, WeightedSum, check_names, parameters, pixel_loss, shown
from lcjax.ops.losses.vicreg import Coefficients, vicreg

__all__ = [
    "CLASS_WEIGHTS",
    "PIXEL_LOSSES",
    "REGISTRY",
    "Coefficients",
    "PixelLoss",
    "WeightedSum",
    "check_names",
    "class_weights",
    "cross_entropy",
    "effective_number_weights",
    "fixed_weights",
    "masked_l1",
    "mean_over_images",
    "mean_over_pixels",
    "nt_xent",
    "parameters",
    "pixel_loss",
    "shown",
    "total_weight",
    "vicreg",
]
