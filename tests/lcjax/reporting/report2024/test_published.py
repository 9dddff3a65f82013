"""What is printed elsewhere: transcribed in full, with a mark wherever arithmetic contradicts it."""

import configparser
import pathlib

import numpy as np
import pytest

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.datasets.flair1.legend import FLAIR1_12, FLAIR1_13
from lcjax.reporting.report2024.published import published

TABLES = {table.number: table for table in published().tables}
COLUMNS = [(table, column) for table in TABLES.values() for column in table.columns]
BY_CLASS = [(table, column) for table, column in COLUMNS if table.number != 6]
ROUNDING = 0.005  # of two decimals

# The means of the printed classes, computed apart from the transcription.
CLASS_MEANS = {
    1: [0.3387, 0.4375, 0.4463],
    2: [0.2075, 0.3175, 0.3263],
    3: [0.5308, 0.5154, 0.5615, 0.5277],
    4: [0.4208, 0.6323, 0.4231, 0.4362, 0.4162],
}


def name(case):
    table, column = case
    return f"{table.number}-{column.cell}"


def classes_of(table, values):
    """The values of the class rows, without those that are None."""
    rows = [value for value, (_, score) in zip(values, table.rows, strict=True) if score and "/" in score]
    return [value for value in rows if value is not None]


def marks_of(table, column):
    return {mark.row: mark for mark in table.marks if mark.cell == column.cell}


@pytest.mark.parametrize("number", CLASS_MEANS)
def test_the_printed_classes_have_the_means_known_of_them(number):
    table = TABLES[number]
    means = [np.mean(classes_of(table, column.printed)) for column in table.columns]
    np.testing.assert_allclose(means, CLASS_MEANS[number], atol=5e-5 + 1e-9)


@pytest.mark.parametrize("case", COLUMNS, ids=name)
def test_columns_are_as_long_as_the_rows(case):
    table, column = case
    for values in (column.printed, column.article, column.notebook):
        assert len(values) in (0, len(table.rows))
    assert len(column.printed) == len(table.rows)
    assert all(0 <= value <= 1 for value in classes_of(table, column.printed))


@pytest.mark.parametrize("case", [case for case in BY_CLASS if case[1].notebook], ids=name)
def test_the_notebooks_means_are_of_their_classes(case):
    table, column = case
    assert np.mean(classes_of(table, column.notebook)) == pytest.approx(column.notebook[-1], abs=2e-4)


@pytest.mark.parametrize("case", BY_CLASS, ids=name)
def test_a_mean_that_its_classes_cannot_have_is_marked(case):
    """Rounding moves a mean by 0.005 at most, and the printed mean by 0.005 again."""
    table, column = case
    if abs(np.mean(classes_of(table, column.printed)) - column.printed[-1]) <= 2 * ROUNDING:
        return
    marked = marks_of(table, column)
    corrected = [
        stored if row in marked and stored is not None else printed
        for (row, _), printed, stored in zip(
            table.rows, column.printed, column.notebook or [None] * len(table.rows), strict=True
        )
    ]
    explained = abs(np.mean(classes_of(table, corrected)) - column.printed[-1]) <= 2 * ROUNDING
    assert explained or marked[table.rows[-1][0]].class_mean is not None


@pytest.mark.parametrize("case", BY_CLASS, ids=name)
def test_a_figure_that_is_not_the_notebooks_is_marked(case):
    table, column = case
    marked = marks_of(table, column)
    for (row, _), printed, stored in zip(table.rows, column.printed, column.notebook, strict=False):
        if stored is not None and abs(stored - printed) > ROUNDING + 1e-9:
            assert row in marked, (row, printed, stored)


def test_marks_are_of_what_exists_and_their_means_are_right():
    assert any(mark.class_mean for table in TABLES.values() for mark in table.marks)
    for table in TABLES.values():
        columns = {column.cell: column for column in table.columns}
        for mark in table.marks:
            assert mark.cell in {"", *columns} and mark.row in {"", *dict(table.rows)}
            if mark.class_mean is not None:
                found = np.mean(classes_of(table, columns[mark.cell].printed))
                assert found == pytest.approx(mark.class_mean, abs=5.1e-4)
                assert f"{mark.class_mean:.3f}" in mark.note


def test_the_mean_of_the_resnet_leaves_out_other():
    """The mark on Table 4 says so: over the first twelve classes the printed mean comes out."""
    (column,) = (column for column in TABLES[4].columns if column.cell == "flair/resnet_unet")
    assert np.mean(column.notebook[1:13]) == pytest.approx(0.6898, abs=1e-4)
    assert abs(np.mean(classes_of(TABLES[4], column.printed)[:12]) - column.printed[-1]) <= 2 * ROUNDING


def test_rows_are_scores_of_our_class_sets():
    legends = {1: DFC2020, 2: DFC2020, 3: FLAIR1_13, 4: FLAIR1_13}
    for number, legend in legends.items():
        scores = [score for _, score in TABLES[number].rows if score and "/" in score]
        assert [score.partition("/")[2] for score in scores] == [c.name for c in legend.scored]
    assert {table.rows[-1][1] for table in TABLES.values()} == {"mCA", "mIoU"}


def test_the_confusion_matrix_is_of_the_twelve_classes_and_of_shares():
    known = published().confusion
    assert list(known.names) == [c.name for c in FLAIR1_12.scored]
    matrix = np.array(known.matrix)
    assert matrix.shape == (12, 12)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=12 * ROUNDING)
    assert (matrix.argmax(axis=1) == np.arange(12)).sum() == 10  # coniferous and plowed land are taken for others


def test_the_best_figures_are_fractions_with_a_source():
    best = published().best
    assert all(0.2 < figure.value < 0.9 and figure.source and figure.data for figure in best)
    assert len({(figure.system, figure.data, figure.metric) for figure in best}) == len(best)


def test_the_cards_of_one_network_have_means_over_other_classes():
    """The class figures of the first card, in percent: the first mean is over 15 classes, the later one over 14."""
    known = [82.63, 53.24, 74.17, 60.4, 87.59, 46.35, 67.45, 30.23, 82.93, 55.03, 52.01, 40.84, 48.44, 39.44]
    cards = [f for f in published().best if f.system.startswith("FLAIR-INC") and f.metric == "mIoU"]
    assert [card.value for card in cards] == pytest.approx([sum(known) / 1500, sum(known) / 1400], abs=6e-5)
    assert ["15 classes" in cards[0].data, "14 classes" in cards[1].data] == [True, True]


def test_an_installed_package_holds_the_file():
    setup = configparser.ConfigParser()
    setup.read(pathlib.Path(__file__).parents[4] / "setup.cfg")
    assert setup["options.package_data"]["lcjax.reporting.report2024"].split() == ["published.json"]
