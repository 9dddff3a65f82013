"""VICReg pre-training: make two views of one place alike, without pushing other places away."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lcjax.models.dual_encoder import DualEncoder, unit
from lcjax.ops import losses
from lcjax.runs.model_card import Card
from lcjax.tasks.task import Values
from lcjax.tasks.two_views import TwoViews

_COLLAPSED = 0.1  # deviation of a dimension, of which the loss wants 1
_TERMS = ("invariance", "variance", "covariance")


class VICReg(TwoViews):
    """Makes the embeddings of two views alike, and keeps their dimensions varied and unlike each other.

    The loss is VICReg (lcjax/ops/losses/vicreg.py), of the projections as they are. Retrieval, alignment and uniformity
    are measured of unit vectors, as those of contrastive runs are.
    """

    twice = "count as two"
    lower_is_better = (*TwoViews.lower_is_better, *_TERMS)

    def __init__(self, config: ConfigDict, card: Card):
        super().__init__(config, card)
        self.score_names += ("deviation",)
        self._coefficients = losses.Coefficients(**{term: config.vicreg[term] for term in _TERMS})

    def compare(
        self, model: DualEncoder, images: Values, keys_B: jax.Array | None = None, valid_B: jax.Array | None = None
    ) -> tuple[jax.Array, Values]:
        """Returns VICReg, and sums: those that contrastive runs have, and of its terms over "compared" places."""
        first, second = model.projected(images, keys_B).values()
        loss, terms = losses.vicreg(first, second, self._coefficients, valid_B)
        stopped = jax.lax.stop_gradient((unit(first), unit(second)))
        _, sums = losses.nt_xent(*stopped, 1.0, valid_B)  # the temperature changes none of those that are used
        places = sums["anchors"] / 2
        compared = jnp.where(places > 1, places, 0.0)  # one place alone has no deviation
        return loss, sums | {name: compared * value for name, value in terms.items()} | {"compared": compared}

    def mean_loss(self, sums: Values) -> Any:
        """The mean over batches, by their places."""
        return sum(getattr(self._coefficients, term) * sums[term] for term in _TERMS) / sums["compared"]

    def measures(self, sums: Values, log: Callable[[Any], Any]) -> Values:
        """What contrastive runs have, the terms of the loss, and the deviation of a dimension."""
        terms = {name: sums[name] / sums["compared"] for name in (*_TERMS, "deviation")}
        return super().measures(sums, log) | terms

    def health_warning(self, means: dict[str, float]) -> str:
        """Returns a warning where the embeddings have collapsed: no dimension tells places apart."""
        if means["deviation"] > _COLLAPSED:
            return ""
        return (
            f"the embeddings of all places are nearly the same (deviation {means['deviation']:.3f} of a dimension, "
            "where 1 is wanted): they have collapsed; start again with a longer config.optimizer.warmup or a higher "
            "config.vicreg.variance"
        )
