"""Networks: arrays in, arrays out. They know nothing of data sets, meshes or files.

Names of arrays end in their axes, `x_BxHxWxC`:

| letter | axis |
|---|---|
| B | examples of a batch |
| H, W | rows and columns, of an image or of a feature |
| C | channels: the bands of an image, or what a layer makes of them |
| N | of images: the tokens of a transformer; of vectors: their numbers |
| K | classes |
| S | streams, one for each encoder of a network |
| G | windows of an image, whose tokens attend to each other |

Images are (B, H, W, C), and a network of several sensors takes {sensor: (B, H, W, C)}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flax import nnx

__all__ = ["create", "names"]


# jax takes seconds to import, so only those wait for it who make a network.
def create(
    name: str,
    *,
    bands: int | Mapping[str, int],
    classes: int,
    size: str = "",
    precision: str = "f32",
    seed: int = 0,
    **numbers: Any,
) -> nnx.Module:
    """Makes a network that gives every pixel a class.

    Examples:
        >>> import jax.numpy as jnp
        >>> import lcjax.models
        >>> model = lcjax.models.create("unet", size="tiny", bands=4, classes=6)
        >>> model(jnp.zeros((2, 32, 48, 4))).shape
        (2, 32, 48, 6)
        >>> both = lcjax.models.create("unet", size="tiny", bands={"s1": 2, "s2": 13}, classes=8, base=4)
        >>> both({"s1": jnp.zeros((1, 32, 32, 2)), "s2": jnp.zeros((1, 32, 32, 13))}).shape
        (1, 32, 32, 8)

    Args:
      name: one of `names()`, or "package.module:attribute": something of your own that makes an nnx.Module of
        (bands, classes, rngs, ...); see docs/extending.md.
      bands: number of bands of the image; or {sensor: number of bands}, and ours have an encoder for each.
      classes: number of classes.
      size: one of its sizes; the one that is usually meant if it is left out. "tiny" is for trying things out.
      precision: "f32" or "bf16" to compute in; parameters and logits are float32.
      seed: of the initial values.
      **numbers: in place of those of the size, e.g. base=32; the fields of config.model.

    Returns:
      A flax.nnx.Module with initial values, in evaluation mode (`.train()` lets its batch norms learn). It takes an
      image (B, H, W, bands), or {sensor: image}, and answers logits (B, H, W, classes) float32.

    Raises:
      lcjax's InputError: an unknown name or size, or numbers that are no network.
    """
    from data_pipelines.schema import plugins
    from lcjax.models import registry

    plugins.allow_named_in({"model": {"name": name}})  # who calls this names it
    return registry.create(name, bands=bands, classes=classes, size=size, precision=precision, seed=seed, **numbers)


def names() -> list[str]:
    """Returns the names of all networks: ours, and those that installed packages bring along.

    Examples:
        >>> import lcjax.models
        >>> lcjax.models.names()[:3]
        ['unet', 'resnet18_unet', 'resnet34_unet']
    """
    from lcjax.models import registry

    return list(registry.MODELS.names())
