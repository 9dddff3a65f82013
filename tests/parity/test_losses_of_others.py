"""Losses and gradients against PyTorch and segmentation_models_pytorch, in float64 where they can."""

import functools
import os
from collections.abc import Callable

import jax
import loss_answers
import numpy as np
import plain_losses
import pytest
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss, LovaszLoss, TverskyLoss

IGNORE = plain_losses.IGNORE


def cross_entropy(logits, labels, weights, smoothing=0.0):
    return F.cross_entropy(logits, labels, weights, ignore_index=IGNORE, label_smoothing=smoothing)


def of_each_image(loss: Callable) -> Callable:
    """The mean over images in which each counts by the weights of its pixels."""

    def mean(logits, labels, weights):
        weights = torch.ones(logits.shape[1], dtype=logits.dtype) if weights is None else weights
        counts = [weights[one[one != IGNORE]].sum() for one in labels]
        each = [loss(logits[i : i + 1], labels[i : i + 1], weights) * n for i, n in enumerate(counts) if n]
        return sum(each) / sum(counts)

    return mean


def overlap(logits, labels, weights, kind: Callable = DiceLoss, **numbers):
    """Of the classes that there are alone."""
    weights = torch.ones(logits.shape[1], dtype=logits.dtype) if weights is None else weights
    there = torch.bincount(labels[labels != IGNORE], minlength=logits.shape[1]) > 0
    return kind("multiclass", ignore_index=IGNORE, class_weights=(there * weights).tolist(), **numbers)(logits, labels)


def lovasz(logits, labels, weights):
    """Theirs takes float32 alone."""
    return LovaszLoss("multiclass", ignore_index=IGNORE)(logits.float(), labels).double()


THEIRS: dict[str, Callable] = {
    "cross_entropy": cross_entropy,
    "cross_entropy(smoothing=0.1)": functools.partial(cross_entropy, smoothing=0.1),
    "dice": of_each_image(overlap),
    "dice(smooth=3)": of_each_image(functools.partial(overlap, smooth=1.5)),  # they add it to half of the fraction
    "dice(over=batch)": overlap,
    "tversky": of_each_image(functools.partial(overlap, kind=TverskyLoss, alpha=0.3, beta=0.7)),
    "lovasz": of_each_image(lovasz),
}


@functools.cache
def theirs(text: str, kind: str, *, weighted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Loss, and gradient (B, H, W, K); zeros where they divide 0 by 0 for want of any label."""
    numbers, classes = plain_losses.some(kind)
    if np.all(classes == IGNORE):
        return np.zeros(()), np.zeros(numbers.shape)
    logits = torch.tensor(numbers.astype(np.float64).transpose(0, 3, 1, 2)).requires_grad_()
    weights = torch.tensor(plain_losses.WEIGHTS.astype(np.float64)) if weighted else None
    loss = THEIRS[text](logits, torch.tensor(classes.astype(np.int64)), weights)
    loss.backward()
    assert logits.grad is not None
    return loss.detach().numpy(), logits.grad.numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize(("text", "kind", "weighted"), loss_answers.CASES)
def test_losses_and_gradients_are_theirs(text, kind, weighted, note):
    found = loss_answers.ours(text, kind, weighted=weighted)
    expected = theirs(text, kind, weighted=weighted)
    for what, one, other in zip(("loss", "gradient"), found, expected, strict=True):
        note(f"{text} {kind}{' weighted' * weighted} {what}: {np.abs(one - other).max():.1e}")
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_answers_are_kept():
    assert set(THEIRS) == {text for text, *_ in loss_answers.CASES}
    now = {}
    for text, kind, weighted in loss_answers.CASES:
        loss, gradient = theirs(text, kind, weighted=weighted)
        now |= {loss_answers.key(text, kind, weighted=weighted, what=w): x for w, x in (("l", loss), ("g", gradient))}
    if os.environ.get("WRITE_ANSWERS"):
        np.savez_compressed(loss_answers.PATH, **now)
    with np.load(loss_answers.PATH, allow_pickle=False) as kept:
        assert set(kept) == set(now)
        jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-9), dict(kept), now)
