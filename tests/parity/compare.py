"""Two networks' stages side by side."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from peer import Peer

TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3


def compare(title: str, ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], note: Callable) -> None:
    """Asserts that all stages are there and equal to 1e-4; notes the differences and the largest value."""
    assert set(ours) == set(theirs)
    for name, stage in ours.items():
        assert stage.shape == theirs[name].shape, name
    differences = {name: float(np.abs(stage - theirs[name]).max()) for name, stage in ours.items()}
    largest = max(float(np.abs(stage).max()) for stage in theirs.values())
    groups: dict[str, list[str]] = {}
    for name, difference in differences.items():
        group, _, last = name.rpartition("/")
        groups.setdefault(group if last.isdigit() else name, []).append(f"{difference:.1e}")
    columns = " | ".join(f"{group} {' '.join(found)}" for group, found in groups.items())
    note(f"{title}: {max(differences.values()):.1e} of values up to {largest:.1f} | {columns}")
    assert max(differences.values()) <= TOLERANCE, differences
    # What is zero everywhere, or is nowhere near one, would prove nothing.
    sizes = {name: float(np.sqrt(np.mean(np.square(stage)))) for name, stage in theirs.items()}
    assert all(0.05 < size < 10 for size in sizes.values()), sizes


def gradient_errors(
    title: str,
    ours: tuple[float, Mapping[str, np.ndarray]],
    peer: Peer,
    images: Mapping[str, np.ndarray],
    loss: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    note: Callable,
) -> None:
    """Asserts that each parameter's gradient in training is ours to 1e-3, relative in Euclidean norm."""
    value, gradients = ours
    their_value, pairs = peer.gradients(images, loss, gradients)
    errors = {}
    for path in gradients:
        both = [pair for found, *pair in pairs if found == path]
        difference = sum(float((mine - theirs).square().sum()) for mine, theirs in both) ** 0.5
        errors[path] = difference / sum(float(theirs.square().sum()) for _, theirs in both) ** 0.5
    worst = max(errors, key=errors.__getitem__)
    note(
        f"gradients of {title}: relative {errors[worst]:.1e} at most ({worst}), median "
        f"{float(np.median(list(errors.values()))):.1e}, {len(errors)} parameters; loss {value:.6f}, {their_value:.6f}"
    )
    assert errors[worst] <= GRADIENT_TOLERANCE
    assert abs(value - their_value) <= 1e-5 * max(1.0, abs(their_value))
