"""Contrastive pre-training: pull together two views of one place, such as those of Sentinel-1 and Sentinel-2."""

from typing import Any

import jax

from lcjax.models.pretraining import DualEncoder
from lcjax.ops import losses
from lcjax.tasks.task import Values
from lcjax.tasks.two_views import TwoViews

_COLLAPSED = -0.1  # uniformity: the mean squared distance of places is below 0.05, where 4 is the largest


class Contrastive(TwoViews):
    """Pulls together the embeddings of two views of one place, and pushes other places away.

    The loss is NT-Xent (lcjax/ops/losses/contrastive.py).
    """

    twice = "be its own negative"

    def compare(
        self, model: DualEncoder, images: Values, keys_B: jax.Array | None = None, valid_B: jax.Array | None = None
    ) -> tuple[jax.Array, Values]:
        """Returns NT-Xent and its sums."""
        first, second = model(images, keys_B).values()
        return losses.nt_xent(first, second, self.config.temperature, valid_B)

    def mean_loss(self, sums: Values) -> Any:
        """The mean over all anchors."""
        return sums["loss_sum"] / sums["anchors"]

    def health_warning(self, means: dict[str, float]) -> str:
        """Returns a warning where the embeddings have collapsed: all places lie at nearly one point."""
        if means["uniformity"] < _COLLAPSED:
            return ""
        return (
            f"the embeddings of all places are nearly the same (uniformity {means['uniformity']:.3f}, 0 is one point): "
            "they have collapsed; start again with a longer config.optimizer.warmup or a lower learning_rate"
        )
