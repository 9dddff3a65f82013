"""Strict settings for every test: eight CPU devices, no silent rank promotion, warnings are errors (see setup.cfg).

The larger fixtures are the real thing, small: the sample's landscapes, prepared, and a network trained on them.
"""

import fcntl
import gc
import importlib.metadata
import os
import pathlib
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable

# The workers of one run share a folder, which the process that starts them makes and removes.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
if not WORKER:
    os.environ["LCJAX_TESTS"] = tempfile.mkdtemp(prefix="lcjax-tests-")
SHARED = pathlib.Path(os.environ["LCJAX_TESTS"])

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["MPLBACKEND"] = "agg"
# What one test has compiled, another test or a process that it starts need not compile again. Each worker for itself:
# JAX writes these files in place, and another worker could read half of one.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(SHARED / f"compiled{WORKER}")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# Nor need each process that a test starts compile our sources again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Most of the tests' time is the compiler's, and their networks are small: a third less.
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
if importlib.metadata.version("jaxlib").startswith("0.10."):  # Later ones end at a flag that they no longer know.
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"

import jax
import pytest
from absl import flags

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


# Files that take minutes start first, so that no worker is left alone with one at the end.
LONGEST = ("test_multihost.py", "test_faults.py", "test_overfit.py", "test_loop.py", "test_same_steps.py")


def pytest_collection_modifyitems(items):
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def pytest_unconfigure():
    if not WORKER:
        shutil.rmtree(SHARED, ignore_errors=True)


def _made_once(name: str, make: Callable[[pathlib.Path], object], tmp_path_factory) -> pathlib.Path:
    """Returns this worker's own copy of a folder that the first worker to ask for it makes."""
    with (SHARED / f"{name}.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (SHARED / f"{name}.made").exists():
            make(SHARED / name)
            (SHARED / f"{name}.made").touch()
    return shutil.copytree(SHARED / name, tmp_path_factory.mktemp("shared") / name)


@pytest.fixture(autouse=True, scope="session")
def _flags_are_parsed():
    """Libraries that define absl flags ask whether they were parsed."""
    flags.FLAGS.mark_as_parsed()


@pytest.fixture(autouse=True, scope="module")
def _what_stays_is_not_searched():
    """What JAX keeps of the programs of one file is millions of objects, in which to look for garbage takes seconds."""
    yield
    gc.collect()
    gc.freeze()


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

    return _made_once("sample", lambda folder: make.make(folder, tiles="tiny", workers=2), tmp_path_factory)


@pytest.fixture(scope="session")
def data_dir(sample, tmp_path_factory) -> pathlib.Path:
    """The tiny sample, prepared."""
    from data_pipelines.prepare import prepare

    return _made_once("data", lambda folder: prepare.prepare("sample", sample, folder, workers=2), tmp_path_factory)


@pytest.fixture(scope="session")
def trained(data_dir, tmp_path_factory) -> pathlib.Path:
    """The workdir of a UNet after a few steps."""
    from networks import small

    from lcjax.configs import dfc2020
    from lcjax.training.run import train

    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir)
    return _made_once("unet", lambda folder: train(config, folder), tmp_path_factory)


@pytest.fixture(scope="session")
def classifier(data_dir, tmp_path_factory) -> pathlib.Path:
    """The workdir of a UNet's encoder that classifies patches, single labels, after a few steps."""
    from networks import small

    from lcjax.configs import classification
    from lcjax.training.run import train

    config = small(classification.get_config("model=unet,data=sample,tiny=true"), data_dir, steps=4)
    return _made_once("patches", lambda folder: train(config, folder), tmp_path_factory)


@pytest.fixture
def command(monkeypatch, capsys, request):
    """Runs a verb in this process and forgets its flags; returns (exit code, stdout, lines of stderr)."""
    import grain  # noqa: F401  it defines flags of its own, which must not be taken for those of a verb

    from lcjax.cli import main as verbs

    monkeypatch.chdir(request.config.rootpath)

    def run(*arguments: str) -> tuple[int, str, list[str]]:
        before = set(flags.FLAGS)
        # Here the config library looks for --config.FIELD=VALUE.
        monkeypatch.setattr("sys.argv", ["lcjax", *arguments])
        try:
            code = verbs.main(list(arguments))
        finally:
            for name in set(flags.FLAGS) - before:
                delattr(flags.FLAGS, name)
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return run


@pytest.fixture
def file_server(monkeypatch):
    """A `range_server.Server` that may be asked; nobody waits between two tries."""
    import range_server

    from data_pipelines.remote import hosts, ranges

    monkeypatch.setattr(hosts, "_allowed", {})
    monkeypatch.setattr(ranges, "pause", lambda seconds: None)
    with range_server.running() as server:
        hosts.allow(server.host)
        yield server


@pytest.fixture
def examples_installed(monkeypatch, tmp_path):
    """The packages of examples/, as `pip install` leaves them in a folder of packages; forgotten afterwards."""
    from data_pipelines.schema import plugins

    monkeypatch.setattr(plugins, "_allowed", set())
    site = tmp_path / "site-packages"
    modules: list[str] = []
    for file in (pathlib.Path(__file__).parents[1] / "examples").glob("*/pyproject.toml"):
        about = tomllib.loads(file.read_text())
        name, version = about["project"]["name"], about["project"]["version"]
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        groups = about["project"]["entry-points"].items()
        points = [f"[{group}]\n" + "".join(f"{one} = {value}\n" for one, value in own.items()) for group, own in groups]
        (info / "entry_points.txt").write_text("".join(points))
        for module in about["tool"]["setuptools"]["py-modules"]:
            shutil.copy(file.with_name(f"{module}.py"), site)
            modules.append(module)
    monkeypatch.syspath_prepend(str(site))
    yield
    for module in modules:
        sys.modules.pop(module, None)
