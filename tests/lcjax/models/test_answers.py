"""Our smallest networks against what other libraries answered, stage by stage; `make parity` compares large ones."""

import functools

import answers
import numpy as np
import pytest

TOLERANCE = 1e-4


@functools.cache
def known() -> dict[str, np.ndarray]:
    with np.load(answers.PATH, allow_pickle=False) as found:
        return dict(found)


def test_there_is_an_answer_for_each_case_and_no_other():
    assert {name.split(":")[0] for name in known()} == set(answers.CASES)


@pytest.mark.parametrize("name", answers.CASES)
def test_every_stage(name):
    network = answers.ours(name)
    found = answers.kept(network.stages(answers.images(name, network.stride)))
    wanted = {key.split(":")[1]: value for key, value in known().items() if key.split(":")[0] == name}
    assert set(found) == set(wanted)
    differences = {stage: float(np.abs(value - wanted[stage]).max()) for stage, value in found.items()}
    assert max(differences.values()) <= TOLERANCE, differences
