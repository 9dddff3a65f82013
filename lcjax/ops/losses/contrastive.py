"""NT-Xent, the loss of contrastive pre-training."""

import jax
import jax.numpy as jnp

from lcjax.parallel import mesh as meshes


def nt_xent(
    first_BxC: jax.Array, second_BxC: jax.Array, temperature: float, valid_B: jax.Array | None = None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns NT-Xent (Chen et al. 2020) between two views of the same places, symmetric, over the global batch.

    The positive of an embedding is the other view of its place; its 2B-2 negatives are all other embeddings, of both
    views.

    Args:
      first_BxC: embeddings of unit length, of the first view.
      second_BxC: the same of the second view, place by place.
      temperature: divides the cosine similarities.
      valid_B: False for padding, which is neither an anchor nor a negative.

    Returns:
      The sum over the 2B anchors divided by their number, and sums: "loss_sum" over "anchors"; "hits", (2,): how many
      embeddings of the first view find their place first among those of the second, and the other way round;
      "distance_sum": squared distances of the two views of each place; "potential_sum" over "pairs": exp(-2 d²) of the
      ordered pairs of different places in one view, d their distance.
    """
    size = first_BxC.shape[0]
    valid = jnp.ones(size, bool) if valid_B is None else valid_B
    # Anchors stay on the devices that computed them; only embeddings travel. Dimensions: V, W the two views, K keys.
    views_VxBxC = meshes.constrain(jnp.stack([first_BxC, second_BxC]).astype(jnp.float32), 1)
    keys_WxKxC = meshes.all_gather(views_VxBxC, 1)
    products = jnp.einsum("vbc,wkc->vbwk", views_VxBxC, keys_WxKxC, precision="highest")
    logits = meshes.constrain(products / temperature, 1)
    all_valid = meshes.all_gather(valid, 0)
    place = meshes.batch_offset(size) + jnp.arange(size)
    same_place = (place[:, None] == jnp.arange(len(all_valid))[None])[None, :, None]
    itself = jnp.eye(2, dtype=bool)[:, None, :, None] & same_place
    logits = jnp.where(itself | ~all_valid[None, None, None], -jnp.inf, logits)
    positive = jnp.sum(views_VxBxC * views_VxBxC[::-1], axis=-1) / temperature
    losses = jax.nn.logsumexp(logits, axis=(2, 3)) - positive
    loss_sum = jnp.sum(jnp.where(valid[None], losses, 0.0))
    anchors = meshes.psum(2 * jnp.sum(valid))
    other_view = jnp.stack([logits[0, :, 1], logits[1, :, 0]])
    found = jnp.argmax(other_view, axis=-1) == place[None]
    # Of unit vectors d² = 2 - 2 x'y.
    same_view = jnp.stack([products[0, :, 0], products[1, :, 1]])
    pairs = (valid[:, None] & all_valid[None])[None] & ~same_place[0, :, 0][None]
    sums = meshes.psum(
        {
            "loss_sum": loss_sum,
            "hits": jnp.sum(found & valid[None], axis=1),
            "distance_sum": jnp.sum(jnp.where(valid, 2 - 2 * temperature * positive[0], 0.0)),
            "potential_sum": jnp.sum(jnp.where(pairs, jnp.exp(4 * same_view - 4), 0.0)),
            "pairs": 2 * jnp.sum(pairs),
        }
    )
    return loss_sum / jnp.maximum(anchors, 1), sums | {"anchors": anchors}
