"""The Python door of data."""

import doctest
import pathlib
import subprocess
import sys

import lcjax.data


def test_examples_are_true(data_dir):
    told = doctest.testmod(lcjax.data, globs={"data_dir": str(data_dir)}, extraglobs=None)
    assert told.attempted >= 8 and told.failed == 0


def test_importing_it_imports_no_heavy_library():
    code = (
        "import sys; import lcjax.data; heavy = ('jax', 'rasterio', 'tensorflow_datasets', 'grain', 'numpy'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_lists_its_names():
    assert all(callable(getattr(lcjax.data, name)) for name in lcjax.data.__all__)
