"""Data sets by name: what each declares, and those of other packages."""

import dataclasses
import sys
import types

import numpy as np
import pytest

from data_pipelines.datasets import registry as datasets
from data_pipelines.datasets.rasters import family
from data_pipelines.prepare import prepare
from data_pipelines.reading.dataset import open_dataset
from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from lcjax.cli import prepare as prepare_verb

OUTSIDE = """
import dataclasses
from data_pipelines.datasets.sample.builder import SAMPLE

ELSEWHERE = dataclasses.replace(SAMPLE, name="elsewhere", version="2.1.0", tile=16, options=())
TAKEN = dataclasses.replace(SAMPLE, name="dfc2020")
OWNED = dataclasses.replace(SAMPLE, name="rasters/town")
UP = dataclasses.replace(SAMPLE, name="../town")
NAME = "elsewhere"
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A package of somebody else's; what is allowed is forgotten afterwards."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "outside_data.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(str(tmp_path / "package"))
    monkeypatch.delitem(sys.modules, "outside_data", raising=False)
    monkeypatch.setattr(plugins, "_allowed", set())


def test_what_data_sets_declare():
    for name, spec in datasets.DATASETS.items():
        assert datasets.entry(name) is spec and spec.name == name
        assert not spec.needs_preparation and not spec.overlapping and spec.sensors
    own = datasets.entry("rasters/town")
    assert own == dataclasses.replace(family.RASTERS, name="rasters/town")
    assert own.needs_preparation and own.overlapping and own.vectors == own.options == ()
    assert datasets.entry("rasters") == family.RASTERS
    options = {name: spec.options for name, spec in datasets.DATASETS.items()}
    sentinel = ("max_nodata", "offset")
    assert options == {"sen12ms": sentinel, "dfc2020": sentinel, "sample": sentinel, "flair1": ("max_nodata",)}


def test_declared_widths_are_those_of_the_encoders():
    declared = [vector for spec in datasets.DATASETS.values() for vector in spec.vectors]
    assert [vector.name for vector in declared] == ["metadata"]
    for vector in declared:
        encoded = vector.encode(np.ones(len(vector.numbers)))
        assert encoded.shape == (vector.width,) and encoded.dtype == np.float32
        assert np.isnan(vector.encode(np.full(len(vector.numbers), np.nan))).all()


@pytest.mark.parametrize("name", ["rasters/", "rasters/../x", "rasters/a/b", "rasters/a b"])
def test_a_name_that_no_folder_should_have_is_refused(name):
    with pytest.raises(InputError, match=rf"data set {name!r}: expected letters, digits, _ and - after the slash"):
        datasets.entry(name)


def test_own_imagery_is_known_once_it_is_prepared():
    with pytest.raises(InputError, match="'rasters/town': its sensors and classes are known once it is prepared"):
        datasets.dataset("rasters/town")


@pytest.mark.parametrize("name", ["os:system", "outside_data:ELSEWHERE"])
def test_a_name_from_a_file_does_not_choose_what_is_imported(outside, tmp_path, name):
    for ask in (datasets.entry, datasets.vectors, datasets.dataset, lambda name: open_dataset(tmp_path, name)):
        with pytest.raises(InputError, match=rf"^config\.dataset='{name}': comes from a file, which may not choose"):
            ask(name)
    assert "outside_data" not in sys.modules


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("NAME", "found str, expected a data_pipelines.schema.spec.DatasetSpec"),
        ("TAKEN", "calls itself 'dfc2020', which names the folder"),
        ("OWNED", "calls itself 'rasters/town', which names the folder"),
        ("UP", "calls itself '../town', which names the folder"),
    ],
)
def test_what_cannot_stand_beside_ours_is_refused(outside, name, says):
    plugins.allow("outside_data")
    with pytest.raises(InputError, match=f"^data set 'outside_data:{name}': {says}"):
        datasets.entry(f"outside_data:{name}")


def test_a_data_set_of_another_package_is_prepared_and_read_by_its_name(outside, source, tmp_path):
    name, data_dir = "outside_data:ELSEWHERE", tmp_path / "data"
    flags = {
        "dataset": name,
        "source": str(source),
        "data_dir": str(data_dir),
        "init": False,
        "legend": None,
        "resample": False,
    }
    flags |= {"tile": None, "workers": 1, "max_refused": 0.0, "max_nodata": 0.0, "offset": 0, "beam": "", "remote": []}
    with pytest.raises(InputError, match="--offset=-1000: not for elsewhere, whose files are read with neither"):
        prepare_verb.run(types.SimpleNamespace(**flags | {"offset": -1000}))
    prepare_verb.run(types.SimpleNamespace(**flags))
    opened, sample = open_dataset(data_dir, name), prepare.prepare("sample", source, data_dir)
    assert opened.folder == data_dir / "elsewhere" / "2.1.0"
    assert (opened.name, opened.version, opened.splits) == ("elsewhere", "2.1.0", sample.splits)
    one, other = opened.source("test")[0], sample.source("test")[0]
    assert one.keys() == other.keys()
    for key in one.keys() - {"id"}:
        np.testing.assert_array_equal(one[key], other[key])
