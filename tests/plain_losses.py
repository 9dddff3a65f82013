"""Losses in float64 numpy, written from the formulas of their articles: an image and a class at a time.

Each takes logits (B, H, W, K), labels (B, H, W) with 255 for what must not count, and weights of the classes or None.
"""

import numpy as np

IGNORE = 255
KINDS = ("random", "one class", "all ignored", "extreme")
SIZE = (3, 3, 4, 4)  # images, rows, columns, classes
WEIGHTS = np.array([1.0, 2.0, 0.5, 3.0], np.float32)


def some(kind: str):
    """Logits that float32 holds, and labels."""
    generator = np.random.default_rng(0)
    logits = generator.standard_normal(SIZE)
    labels = generator.choice(4, SIZE[:3], p=[0.5, 0.3, 0.15, 0.05])
    if kind == "one class":
        labels[:] = 2
    elif kind == "extreme":
        logits *= 60
        logits[0, 0, 0] = [1e4, -1e4, 0, 50]
    labels[generator.random(labels.shape) < 0.3] = IGNORE
    labels[2] = IGNORE  # an image without a label
    if kind == "all ignored":
        labels[:] = IGNORE
    return logits.astype(np.float32), labels.astype(np.uint8)


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def gradient(loss, logits, labels, weights, step=1e-6):
    """Central differences."""
    found = np.zeros_like(logits)
    for place in np.ndindex(logits.shape):
        moved = np.zeros_like(logits)
        moved[place] = step
        up, down = (loss(logits + sign * moved, labels, weights) for sign in (1, -1))
        found[place] = (up - down) / (2 * step)
    return found


def over_pixels(of_pixels):
    """The weighted mean over all labelled pixels of of_pixels(log p (N, K), one-hot (N, K)), which is (N,)."""

    def loss(logits, labels, weights=None):
        seen = labels != IGNORE
        truth = np.eye(logits.shape[-1])[labels[seen]]
        counts = np.ones(len(truth)) if weights is None else truth @ weights
        return (counts * of_pixels(log_softmax(logits[seen]), truth)).sum() / counts.sum() if counts.sum() else 0.0

    return loss


def over_images(of_image):
    """The mean over images of of_image(log p (N, K), labels (N,), weights), where each counts by its pixels' weight."""

    def loss(logits, labels, weights=None):
        weights = np.ones(logits.shape[-1]) if weights is None else np.asarray(weights, np.float64)
        logs, total, count = log_softmax(logits), 0.0, 0.0
        for of_logs, of_labels in zip(logs, labels, strict=True):
            seen = of_labels != IGNORE
            size = weights[of_labels[seen]].sum()
            if size:
                total += size * of_image(of_logs, of_labels, weights)
                count += size
        return total / count if count else 0.0

    return loss


def _seen(of_image):
    def of_whole(logs, labels, weights):
        seen = labels != IGNORE
        return of_image(logs[seen], labels[seen], weights)

    return of_whole


def over_classes(of_class):
    """The weighted mean over the classes that there are of of_class(p (N,), truth (N,) of 0 and 1)."""

    def of_image(logs, labels, weights):
        there = np.unique(labels)
        losses = np.array([of_class(np.exp(logs[:, k]), (labels == k).astype(float)) for k in there])
        total = weights[there].sum()
        return (weights[there] * losses).sum() / total if total else 0.0

    return of_image


def cross_entropy(smoothing=0.0):
    return over_pixels(lambda logs, truth: -(((1 - smoothing) * truth + smoothing / logs.shape[1]) * logs).sum(1))


def focal(gamma):
    return over_pixels(lambda logs, truth: -(truth * (1 - np.exp(logs)) ** gamma * logs).sum(1))


def generalised_cross_entropy(q):
    return over_pixels(lambda logs, truth: (truth * (1 - np.exp(logs) ** q) / q).sum(1))


def symmetric_cross_entropy(alpha, beta):
    def of_pixels(logs, truth):
        log_truth = np.where(truth == 1, 0.0, -4.0)
        return -alpha * (truth * logs).sum(1) - beta * (np.exp(logs) * log_truth).sum(1)

    return over_pixels(of_pixels)


def _tversky(alpha, beta, smooth):
    def of_class(share, truth):
        hits = (share * truth).sum()
        false, missed = (share * (1 - truth)).sum(), ((1 - share) * truth).sum()
        return 1 - (hits + smooth) / (hits + alpha * false + beta * missed + smooth)

    return of_class


def tversky(alpha, beta, smooth=0.0):
    return over_images(_seen(over_classes(_tversky(alpha, beta, smooth))))


def dice(smooth=0.0):
    def of_class(share, truth):
        return 1 - (2 * (share * truth).sum() + smooth) / (share.sum() + truth.sum() + smooth)

    return over_images(_seen(over_classes(of_class)))


def dice_over_batch(smooth=0.0):
    one_image = dice(smooth)

    def loss(logits, labels, weights=None):
        return one_image(logits.reshape(1, -1, 1, logits.shape[-1]), labels.reshape(1, -1, 1), weights)

    return loss


def lovasz_of_class(share, truth):
    """Berman et al. 2018, algorithm 1: the errors in falling order against the differences of the Jaccard losses."""
    errors = np.abs(truth - share)
    order = np.argsort(-errors, kind="stable")
    truth = truth[order]
    intersection = truth.sum() - truth.cumsum()
    union = truth.sum() + (1 - truth).cumsum()
    jaccard = 1 - intersection / union
    jaccard[1:] = jaccard[1:] - jaccard[:-1]
    return errors[order] @ jaccard


lovasz = over_images(_seen(over_classes(lovasz_of_class)))


def near_boundaries(labels, width):
    found = np.zeros(labels.shape, bool)
    for row, column in np.argwhere(labels != IGNORE):
        square = labels[max(row - width, 0) : row + width + 1, max(column - width, 0) : column + width + 1]
        found[row, column] = np.any((square != IGNORE) & (square != labels[row, column]))
    return found


def boundary_cross_entropy(gain, width):
    def of_image(logs, labels, weights):
        seen = labels != IGNORE
        counts = weights[labels[seen]] * np.where(near_boundaries(labels, width)[seen], 1 + gain, 1)
        losses = -logs[seen][np.arange(seen.sum()), labels[seen]]
        return (counts * losses).sum() / counts.sum()

    return over_images(of_image)


def ohem_cross_entropy(threshold, share):
    def of_image(logs, labels, weights):
        logs, labels = (of_all[weights[labels] > 0] for of_all in (logs, labels))
        losses = -logs[np.arange(len(labels)), labels]
        least = max(1, round(share * len(losses)))
        taken = (np.exp(-losses) <= threshold) | (losses >= np.sort(losses)[-least])
        counts = weights[labels[taken]]
        return (counts * losses[taken]).sum() / counts.sum() if counts.sum() else 0.0

    return over_images(_seen(of_image))
