import numpy as np
import pytest

from data_pipelines import legends


@pytest.mark.parametrize("legend", legends.LEGENDS.values(), ids=lambda legend: legend.name)
def test_tables_agree(legend):
    index_of_id, id_of_index = legend.index_of_id(), legend.id_of_index()
    for index, land_class in enumerate(legend.scored):
        assert index_of_id[land_class.id] == index
        assert id_of_index[index] == land_class.id
    for label in set(range(256)) - {c.id for c in legend.scored}:
        assert index_of_id[label] == legends.IGNORE
    assert id_of_index[legends.IGNORE] == legends.IGNORE


@pytest.mark.parametrize("legend", legends.LEGENDS.values(), ids=lambda legend: legend.name)
def test_ids_names_and_colours_are_unique(legend):
    for field in ("id", "name", "colour"):
        values = [getattr(c, field) for c in legend.classes]
        assert len(set(values)) == len(values)


def test_dfc2020_scores_eight_classes():
    legend = legends.DFC2020
    assert [c.id for c in legend.scored] == [1, 2, 4, 5, 6, 7, 9, 10]
    assert legend.allowed_ids == (*range(11), 255)
    np.testing.assert_array_equal(legend.palette()[10], [0x1C, 0x0D, 0xFF])
