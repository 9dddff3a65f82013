"""A network for lcjax: a convolutional encoder of two stages, and features of all scales side by side."""

import jax
import jax.numpy as jnp
from flax import nnx


class OwnModel(nnx.Module):
    """Classes of pixels from what is seen at one, two and four pixels' distance."""

    # What lcjax may freeze (config.freeze=encoder) or train at rates of its own (config.optimizer.layer_decay).
    parameter_groups = {"stem": ["stem"], "stages": [["stages/0"], ["stages/1"]]}
    sizes = {"base": {"width": 32}, "tiny": {"width": 8}}

    def __init__(self, bands, classes, rngs, width, dropout=0.1):
        self.stem = nnx.Conv(sum(bands.values()), width, (3, 3), rngs=rngs)
        self.stages = nnx.List([nnx.Conv(n, 2 * n, (3, 3), strides=2, rngs=rngs) for n in (width, 2 * width)])
        self.norm = nnx.BatchNorm(7 * width, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.head = nnx.Linear(7 * width, classes, rngs=rngs)

    def __call__(self, images, keys_B=None):
        """Logits (B, H, W, classes) of images {sensor: (B, H, W, bands)}."""
        x = jnp.concatenate(list(images.values()), axis=-1)
        features = [nnx.relu(self.stem(x))]
        for stage in self.stages:
            features.append(nnx.relu(stage(features[-1])))
        enlarged = [jax.image.resize(f, (*x.shape[:3], f.shape[3]), "bilinear") for f in features]
        seen = jnp.concatenate(enlarged, axis=-1)
        return self.head(self.dropout(self.norm(seen)))
