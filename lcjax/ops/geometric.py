"""Random scale and aspect on the device: all images and labels of an example sampled by one grid.

An example is enlarged or made smaller as a whole by showing, in the size of the crop, a larger or smaller window of its
tile. The loader draws where in the tile a square lies that is large enough for the largest window, and ships it
(data_pipelines.reading.loader.host_size); scale, aspect and the place of the window in the square are drawn here.
Where a tile is too small for that square, the square is the tile, and the window is never larger: so nothing from
outside of a tile is ever shown.
"""

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

SCALE = 1201  # folded into the key of an example


@dataclasses.dataclass(frozen=True)
class Geometric:
    """What is drawn for each example.

    Attributes:
      scale: least and largest enlargement; its logarithm is drawn uniformly. Below 1 more ground is shown.
      aspect: largest stretch A of width over height, or of height over width; its logarithm is drawn uniformly from
        -log A to log A.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    aspect: float = 1.0

    @property
    def moves(self) -> bool:
        """Whether any of it is on."""
        return tuple(self.scale) != (1.0, 1.0) or self.aspect != 1.0


def needed(crop: int, how: Geometric) -> int:
    """Size in pixels of the square that holds every window of a crop."""
    return math.ceil(crop / how.scale[0] * math.sqrt(how.aspect)) if how.moves else crop


def window(tile: int, crop: int, how: Geometric) -> int:
    """Size of the square that the loader draws and ships: what is needed, as far as the tile goes; 0 is the tile."""
    if not how.moves:
        return crop
    # Without a crop what is shown has the size of the tile, and any of it may be shown.
    return min(tile, needed(crop, how)) if crop else tile


def least_scale(square: int, crop: int, how: Geometric) -> float:
    """The least enlargement that a square of this size has room for, at an aspect of 1."""
    return max(how.scale[0], crop / square)


def rescale(
    images: Mapping[str, jax.Array],
    corner_Bx2: jax.Array,
    keys_B: jax.Array,
    *,
    crop: int,
    how: Geometric,
    zero_is_nodata: Mapping[str, bool],
) -> dict[str, jax.Array]:
    """Draws a window for each example and shows it in the size of the crop.

    Images are interpolated bilinearly, among pixels that hold data alone; labels are those of the nearest pixel. A
    pixel holds data where the nearest one does: images and labels stay registered, also along the border of the data.

    Args:
      images: name -> (B, H, W, bands) of images as stored, or (B, H, W) of labels; equal B and H = W.
      corner_Bx2: top and left of each square, int32.
      keys_B: one key per example.
      crop: size of what is shown; 0 is that of the images.
      how: what to draw.
      zero_is_nodata: of each image, whether a pixel that is 0 in every band holds no data.

    Returns:
      name -> (B, crop, crop, bands) float32 in stored units, 0 where there is no data, and labels in their own type.
    """
    side = next(iter(images.values())).shape[1]
    size = crop or side
    square = window(side, crop, how)

    def one(corner: jax.Array, key: jax.Array, example: dict[str, jax.Array]) -> dict[str, jax.Array]:
        rows, columns = _positions(jax.random.fold_in(key, SCALE), corner, square, size, how)
        return {
            name: _nearest(image, rows, columns, side)
            if image.ndim == 2
            else _bilinear(image, rows, columns, side, zero_is_nodata[name])
            for name, image in example.items()
        }

    shown: dict[str, jax.Array] = jax.vmap(one)(corner_Bx2, keys_B, dict(images))
    return shown


def _positions(
    key: jax.Array, corner: jax.Array, square: int, size: int, how: Geometric
) -> tuple[jax.Array, jax.Array]:
    """Rows and columns, as fractions of pixels, that the window is sampled at; 0 is the middle of the first pixel."""
    of_scale, of_aspect, of_place = jax.random.split(key, 3)
    least, largest = math.log(least_scale(square, size, how)), math.log(how.scale[1])
    stretch = math.log(how.aspect)
    scale = jnp.exp(jax.random.uniform(of_scale, minval=least, maxval=largest))
    root = jnp.exp(0.5 * jax.random.uniform(of_aspect, minval=-stretch, maxval=stretch))
    extents = jnp.minimum(jnp.stack([size * root / scale, size / (root * scale)]), square)
    first = corner + jax.random.uniform(of_place, (2,)) * (square - extents)
    steps = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    rows, columns = first[:, None] + steps[None] * extents[:, None] - 0.5
    return rows, columns


def _nearest_index(positions: jax.Array, side: int) -> jax.Array:
    return jnp.clip(jnp.floor(positions + 0.5).astype(jnp.int32), 0, side - 1)


def _nearest(image_HxW: jax.Array, rows: jax.Array, columns: jax.Array, side: int) -> jax.Array:
    return _taken(_taken(image_HxW, _nearest_index(rows, side), 0), _nearest_index(columns, side), 1)


def _bilinear(
    image_HxWxC: jax.Array, rows: jax.Array, columns: jax.Array, side: int, zero_is_nodata: bool
) -> jax.Array:
    mean = _interpolated(image_HxWxC, rows, columns, side)
    if not zero_is_nodata:
        return mean
    # What holds no data is 0 and adds nothing to the mean: the share of what does is divided by. The nearest pixel has
    # at least a quarter of it.
    holds = jnp.any(image_HxWxC != 0, axis=-1)
    share = _interpolated(holds[..., None], rows, columns, side)
    return jnp.where(_nearest(holds, rows, columns, side)[..., None], mean / jnp.maximum(share, 0.25), 0.0)


def _interpolated(image_HxWxC: jax.Array, rows: jax.Array, columns: jax.Array, side: int) -> jax.Array:
    """Interpolates along columns, then along rows; half a pixel along the border of a tile has no outer neighbour.

    Rows are interpolated by a matrix, whose product compilers compute once: everything else they would compute again
    wherever it is read, as by each flip that follows.
    """
    inside = jnp.clip(columns, 0, side - 1)
    before = jnp.floor(inside).astype(jnp.int32)
    share = (inside - before)[None, :, None]
    first, second = (
        _taken(image_HxWxC, index, 1).astype(jnp.float32) for index in (before, jnp.minimum(before + 1, side - 1))
    )
    across = first + share * (second - first)
    places = jnp.arange(side, dtype=jnp.float32)[None]
    weights = jnp.maximum(0.0, 1.0 - jnp.abs(jnp.clip(rows, 0, side - 1)[:, None] - places))
    return jnp.einsum("ih,hwc->iwc", weights, across, precision="highest")


def _taken(image: jax.Array, index: jax.Array, axis: int) -> jax.Array:
    return jnp.take(image, index, axis=axis, mode="clip")
