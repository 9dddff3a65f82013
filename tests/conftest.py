"""Strict settings for every test: eight CPU devices, no silent rank promotion, warnings are errors (see setup.cfg)."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["MPLBACKEND"] = "agg"

import jax
import pytest
from absl import flags

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True, scope="session")
def _flags_are_parsed():
    """Libraries that define absl flags ask whether they were parsed."""
    flags.FLAGS.mark_as_parsed()
