import dataclasses
import json

import numpy as np
import pytest

from data_pipelines.datasets import registry as datasets
from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.datasets.flair1.legend import FLAIR1, FLAIR1_12, FLAIR1_13
from data_pipelines.schema import legends, typed_json
from data_pipelines.schema.errors import InputError


@pytest.mark.parametrize("legend", datasets.LEGENDS.values(), ids=lambda legend: legend.name)
def test_tables_agree(legend):
    index_of_id, id_of_index = legend.index_of_id(), legend.id_of_index()
    for index, land_class in enumerate(legend.scored):
        assert index_of_id[land_class.id] == index
        assert id_of_index[index] == land_class.id
    for label in set(range(256)) - {c.id for c in legend.scored}:
        assert index_of_id[label] == legends.IGNORE
    assert id_of_index[legends.IGNORE] == legends.IGNORE


@pytest.mark.parametrize("legend", datasets.LEGENDS.values(), ids=lambda legend: legend.name)
def test_maps_hold_the_ids_unless_the_legend_says_otherwise(legend):
    np.testing.assert_array_equal(legend.value_of_index(), legend.id_of_index())
    np.testing.assert_array_equal(legend.map_palette(), legend.palette())
    np.testing.assert_array_equal(legend.id_of_value(), np.arange(256))
    assert legend.nodata == legends.IGNORE and legend.allowed_values == legend.allowed_ids


def test_a_class_255_is_written_as_255_and_no_data_as_another_number():
    classes = legends.LandClass(0, "land", "#000000"), legends.LandClass(1, "building", "#ff0000", written=255)
    legend = legends.Legend("binary", classes)
    assert (legend.nodata, legend.allowed_ids, legend.allowed_values) == (254, (0, 1, 255), (0, 254, 255))
    assert legend.value_of_index()[:2].tolist() == [0, 255] and set(legend.value_of_index()[2:].tolist()) == {254}
    assert legend.id_of_value()[[0, 255, 254, 1]].tolist() == [0, 1, 255, 255]
    assert legend.map_palette()[255].tolist() == legend.palette()[1].tolist() == [255, 0, 0]
    fields = json.loads(json.dumps(dataclasses.asdict(legend)))
    assert typed_json.convert(fields, legends.Legend, "a file", "") == legend
    with pytest.raises(InputError, match="the value 5 stands there twice"):
        legends.Legend("x", (legends.LandClass(3, "a", "#000000", written=5), legends.LandClass(5, "b", "#ff0000")))
    every = tuple(legends.LandClass(i, str(i), "#000000", 255 if i == 7 else None) for i in range(255))
    assert legends.Legend("full", every).nodata == 7


@pytest.mark.parametrize("legend", datasets.LEGENDS.values(), ids=lambda legend: legend.name)
def test_ids_names_and_colours_are_unique(legend):
    for field in ("id", "name", "colour"):
        values = [getattr(c, field) for c in legend.classes]
        assert len(set(values)) == len(values)


def test_dfc2020_scores_eight_classes():
    legend = DFC2020
    assert [c.id for c in legend.scored] == [1, 2, 4, 5, 6, 7, 9, 10]
    assert legend.allowed_ids == (*range(11), 255)
    np.testing.assert_array_equal(legend.palette()[10], [0x1C, 0x0D, 0xFF])


def test_flair1_merges_the_rare_classes_and_scores_twelve():
    assert [len(legend.scored) for legend in (FLAIR1, FLAIR1_13, FLAIR1_12)] == [19, 13, 12]
    stored = np.arange(1, 20)
    for legend in (FLAIR1_13, FLAIR1_12):
        np.testing.assert_array_equal(legend.read_as()[stored], [*range(1, 13), *[13] * 7])
    assert FLAIR1_13.scored[:12] == FLAIR1_12.scored == FLAIR1.scored[:12]


@pytest.mark.parametrize("legend", datasets.LEGENDS.values(), ids=lambda legend: legend.name)
def test_what_is_read_is_in_the_legend(legend):
    """Of every id that the data set stores, read as any of its legends."""
    spec = next(spec for spec in datasets.DATASETS.values() if legend in spec.legends)
    assert set(legend.read_as()[list(spec.legend.allowed_ids)].tolist()) <= set(legend.allowed_ids)
