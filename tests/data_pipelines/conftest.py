"""A tiny data set in the published layout of DFC2020 and SEN12MS."""

import pathlib

import pytest
from downloads import write_patches


@pytest.fixture
def source(tmp_path) -> pathlib.Path:
    """20 validation, 3 test and 4 unlabelled patches."""
    return write_patches(tmp_path / "source")
