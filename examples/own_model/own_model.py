"""A network for lcjax: a convolutional encoder of two stages, and features of all scales side by side."""

import jax.numpy as jnp
from flax import nnx

from lcjax.models.resample import resize


class OwnModel(nnx.Module):
    """Classes of pixels from what is seen at one, two and four pixels' distance."""

    # What lcjax may freeze (config.freeze=encoder) or train at rates of its own (config.optimizer.layer_decay).
    parameter_groups = {"stem": ["stem"], "stages": [["stages/0"], ["stages/1"]]}  # noqa: RUF012
    sizes = {"base": {"width": 32}, "tiny": {"width": 8}}  # noqa: RUF012

    def __init__(self, bands, classes, rngs, width, dropout=0.1):
        self.stem = nnx.Conv(sum(bands.values()), width, (3, 3), rngs=rngs)
        self.stages = nnx.List([
            nnx.Conv(channels, 2 * channels, (3, 3), strides=2, rngs=rngs) for channels in (width, 2 * width)
        ])  # fmt: skip
        self.norm = nnx.BatchNorm(7 * width, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.head = nnx.Linear(7 * width, classes, rngs=rngs)

    def __call__(self, images, keys_B=None):
        x = jnp.concatenate(list(images.values()), axis=-1)
        features = [nnx.relu(self.stem(x))]
        for stage in self.stages:
            features.append(nnx.relu(stage(features[-1])))
        seen = jnp.concatenate([resize(feature, *x.shape[1:3]) for feature in features], axis=-1)
        return self.head(self.dropout(self.norm(seen)))
