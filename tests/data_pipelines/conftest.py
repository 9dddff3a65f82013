"""A tiny data set in the published layout of DFC2020 and SEN12MS."""

import pathlib

import pytest
from downloads import write_patch


@pytest.fixture
def source(tmp_path) -> pathlib.Path:
    """20 validation, 3 test and 4 unlabelled patches."""
    root = tmp_path / "source"
    for patch in range(20):
        write_patch(root, "ROIs0000_validation", patch)
    for patch in range(3):
        write_patch(root, "ROIs0000_test", patch)
    for scene, patch in (("2", 30), ("10", 4), ("2", 100), ("2", 31)):
        write_patch(root, "ROIs1158_spring", patch, scene, only=("s1", "s2"))
    return root
