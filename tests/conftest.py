"""Strict settings for every test: eight CPU devices, no silent rank promotion, warnings are errors (see setup.cfg).

The larger fixtures are the real thing, small: the sample's landscapes, prepared, and a network trained on them.
"""

import importlib.metadata
import os
import pathlib
import shutil
import tempfile

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["MPLBACKEND"] = "agg"
# What one test has compiled, another test or a process that it starts need not compile again.
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="lcjax-tests-")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# Most of the tests' time is the compiler's, and their networks are small: a third less.
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
if importlib.metadata.version("jaxlib").startswith("0.10."):  # Later ones end at a flag that they no longer know.
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

import jax
import pytest
from absl import flags

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_unconfigure():
    shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def _flags_are_parsed():
    """Libraries that define absl flags ask whether they were parsed."""
    flags.FLAGS.mark_as_parsed()


@pytest.fixture(autouse=True)
def _lines_are_printed():
    """What the library logs stands on stdout, as the verbs print it."""
    from lcjax.cli import console

    with console.attached():
        yield


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> pathlib.Path:
    """The tiny sample as GeoTIFFs: 8 validation, 4 test and 8 unlabelled tiles."""
    from data_pipelines.datasets.sample import make

    folder = tmp_path_factory.mktemp("sample")
    make.make(folder, tiles="tiny", workers=2)
    return folder


@pytest.fixture(scope="session")
def data_dir(sample, tmp_path_factory) -> pathlib.Path:
    """The tiny sample, prepared."""
    from data_pipelines.prepare import prepare

    folder = tmp_path_factory.mktemp("data")
    prepare.prepare("sample", sample, folder, workers=2)
    return folder


@pytest.fixture(scope="session")
def trained(data_dir, tmp_path_factory) -> pathlib.Path:
    """The workdir of a UNet after a few steps."""
    from networks import small

    from lcjax.configs import dfc2020
    from lcjax.training.run import train

    folder = tmp_path_factory.mktemp("runs") / "unet"
    train(small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir), folder)
    return folder
