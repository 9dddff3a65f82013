import numpy as np
import pytest

from data_pipelines.datasets import registry as datasets
from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.datasets.flair1.legend import FLAIR1, FLAIR1_12, FLAIR1_13
from data_pipelines.schema import legends


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
