"""Weights of convolutional networks as their libraries save them, read by lcjax.weights: every stage is theirs."""

import os

import answers
import numpy as np
import originals
import published
import pytest
import timm
from compare import TOLERANCE, compare
from peer import Peer

from lcjax.weights import files

# Even and odd; and with less in the batch norms, as an epsilon says little beside a variance of 1.
IMAGES = [(224, 224, 1.0), (97, 130, 1.0), (97, 130, 0.1)]


def _stages(case, original, images, height: int, width: int) -> dict[str, np.ndarray]:
    if case.classes:
        return original.peer.whole_stages(images, height, width)
    return original.peer.stages(images)


@pytest.mark.parametrize("name", published.CASES)
def test_every_stage(name, note, tmp_path):
    case, original = published.CASES[name], originals.BUILD[name]()
    ours, drawn = case.network, None
    for height, width, dim in IMAGES:
        if drawn != dim:
            saved = original.filled(dim).save(original.peer.network, tmp_path)
            ours = published.filled_from(published.taken(files.read(saved).arrays, case, ours), case, ours)
            drawn = dim
        mine, theirs = case.images(height, width, ours.stride if case.classes else 1)
        compare(
            f"weights of {name} {height}x{width}, {dim}",
            ours.stages(mine),
            _stages(case, original, theirs, height, width),
            note,
        )


def test_what_the_names_do_not_tell_of_efficientnet_lite0(note):
    """The same names and shapes, another network: what the layout's note says, and not more."""
    networks = [timm.create_model(name) for name in ("tf_efficientnet_lite0", "efficientnet_lite0")]
    shapes = [{name: tuple(value.shape) for name, value in n.state_dict().items()} for n in networks]
    assert shapes[0] == shapes[1]
    stages = []
    for network in networks:
        original = originals.Original(Peer(network, (), originals.LITE0), originals.bare).filled()
        _, image = published.CASES["timm tf_efficientnet_lite0"].images(224, 224, 1)
        stages.append(original.peer.stages(image))
    differences = {name: float(np.abs(stages[0][name] - stages[1][name]).max()) for name in stages[0]}
    note(f"timm's two EfficientNet-Lite0 with the same values: {max(differences.values()):.1e} apart")
    assert min(differences.values()) > 100 * TOLERANCE


def _answers(name: str) -> dict[str, np.ndarray]:
    case, original = published.CASES[name], originals.BUILD[name]().filled()
    _, theirs = case.images(*published.EDGES, case.network.stride if case.classes else 1)
    return _stages(case, original, theirs, *published.EDGES)


def test_names_and_answers_are_kept():
    now = {f"names:{name}": published.packed(build().shapes) for name, build in originals.BUILD.items()}
    numbers = {
        f"{name}:{stage}": found
        for name, case in published.CASES.items()
        if case.answers
        for stage, found in answers.kept(_answers(name)).items()
    }
    if os.environ.get("WRITE_ANSWERS"):
        np.savez_compressed(published.PATH, **now, **numbers)
    with np.load(published.PATH, allow_pickle=False) as kept:
        assert set(kept) == set(now) | set(numbers)
        for name, lines in now.items():
            assert list(kept[name]) == list(lines), name
        for name, found in numbers.items():
            np.testing.assert_allclose(kept[name], found, rtol=0, atol=TOLERANCE / 10)
