"""VICReg, a loss of pre-training that needs no negatives."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lcjax.parallel import mesh as meshes

_TARGET = 1.0  # deviation that each dimension is to have
_EPSILON = 1e-4  # below the root, so that its slope is finite


class Coefficients(NamedTuple):
    """What the three terms are multiplied by."""

    invariance: float
    variance: float
    covariance: float


def vicreg(
    first_BxC: jax.Array, second_BxC: jax.Array, coefficients: Coefficients, valid_B: jax.Array | None = None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns VICReg (Bardes, Ponce and LeCun 2022, Algorithm 1) between two views of the same places.

    Means, variances and covariances are those of the global batch, with n - 1 below the fraction. No place is compared
    with another one.

    Args:
      first_BxC: embeddings of the first view, of any length.
      second_BxC: the same of the second view, place by place.
      coefficients: of the terms.
      valid_B: False for padding, which counts nowhere.

    Returns:
      The loss; and of the whole batch "invariance": the mean square of the difference of two views; "variance": how
      much the deviations of the dimensions fall short of 1, on average, both views added; "covariance": the sum of the
      squares of the covariances of different dimensions over their number, both views added; "deviation": the mean
      deviation of a dimension. Of fewer than two places the last three know nothing, and are 0.
    """
    size, dimensions = first_BxC.shape
    valid = jnp.ones(size, bool) if valid_B is None else valid_B
    places = meshes.psum(jnp.sum(valid)).astype(jnp.float32)
    views_VxBxC = jnp.where(valid[None, :, None], jnp.stack([first_BxC, second_BxC]).astype(jnp.float32), 0.0)
    views_VxBxC = meshes.constrain(views_VxBxC, 1)
    difference = jnp.sum(jnp.square(views_VxBxC[0] - views_VxBxC[1])) / (jnp.maximum(places, 1) * dimensions)
    means_VxC = meshes.psum(jnp.sum(views_VxBxC, axis=1)) / jnp.maximum(places, 1)
    centred_VxBxC = jnp.where(valid[None, :, None], views_VxBxC - means_VxC[:, None], 0.0)
    products_VxCxC = jnp.einsum("vbc,vbd->vcd", centred_VxBxC, centred_VxBxC, precision="highest")
    covariances_VxCxC = meshes.psum(products_VxCxC) / jnp.maximum(places - 1, 1)
    deviations_VxC = jnp.sqrt(jnp.diagonal(covariances_VxCxC, axis1=1, axis2=2) + _EPSILON)
    known = (places > 1).astype(jnp.float32)
    shortfall = known * jnp.sum(jnp.maximum(_TARGET - deviations_VxC, 0.0)) / dimensions
    different = ~jnp.eye(dimensions, dtype=bool)[None]
    correlation = known * jnp.sum(jnp.where(different, jnp.square(covariances_VxCxC), 0.0)) / dimensions
    # Replicas add up what they return: the first term is of their own examples, the others are of all.
    shared = coefficients.variance * shortfall + coefficients.covariance * correlation
    loss = coefficients.invariance * difference + shared / meshes.psum(1.0)
    return loss, {
        "invariance": meshes.psum(difference),
        "variance": shortfall,
        "covariance": correlation,
        "deviation": known * jnp.mean(deviations_VxC),
    }
