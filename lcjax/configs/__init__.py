"""The experiments, one file for each family: in a clone they lie in the folder `configs` beside this package."""

import pathlib

__path__ = [str(pathlib.Path(__file__).parents[2] / "configs")]
