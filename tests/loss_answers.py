"""What other libraries answer to losses, kept for tests that have none of those libraries.

`WRITE_ANSWERS=1 make parity` writes them.
"""

import functools
import pathlib

import jax
import numpy as np
import plain_losses

from lcjax.ops import losses

PATH = pathlib.Path(__file__).parent / "parity" / "losses.npz"
# config.loss -> whether they know weights of classes for it as we do.
_WEIGHTED = {
    "cross_entropy": True,
    "cross_entropy(smoothing=0.1)": False,
    "dice": True,
    "dice(smooth=3)": True,
    "dice(over=batch)": True,
    "tversky": True,
    "lovasz": False,
}
CASES = [
    (text, kind, weighted)
    for text, known in _WEIGHTED.items()
    for kind in plain_losses.KINDS
    for weighted in ((False, True) if known else (False,))
]


def key(text: str, kind: str, *, weighted: bool, what: str) -> str:
    """Of an answer in the file."""
    return f"{text}:{kind}:{weighted}:{what}"


@functools.cache
def _compiled():
    found = {text: losses.pixel_loss(text) for text in _WEIGHTED}

    def all_of_them(logits, labels, weights):
        return {text: jax.value_and_grad(loss)(logits, labels, weights) for text, loss in found.items()}

    return jax.jit(all_of_them)


@functools.cache
def _all(kind: str, *, weighted: bool):
    return jax.device_get(_compiled()(*plain_losses.some(kind), plain_losses.WEIGHTS if weighted else None))


def ours(text: str, kind: str, *, weighted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Loss and gradient of a case."""
    return _all(kind, weighted=weighted)[text]
