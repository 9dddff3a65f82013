"""Our runs beside the printed tables: the right figure in the right place, with what a reader must know of it."""

import csv
import io
import re

import numpy as np
import pytest
from finished import make_pretraining, make_report, make_run

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.datasets.flair1.legend import FLAIR1_12, FLAIR1_13
from lcjax.ops import metrics
from lcjax.reporting import run_reader
from lcjax.reporting.report2024 import compare, writers

REAL = {"dataset": "dfc2020 1.0.0", "records": 5128}
AERIAL = {"dataset": "flair1 1.0.0", "records": 520, "legend": FLAIR1_13}


def make(folder, seed: int, *, cell: str, legend=DFC2020, absent: str = "", **fields):
    """The workdir of a run with a random confusion matrix and the scores that lcjax.ops.metrics finds in it."""
    names = [c.name for c in legend.scored]
    counts = np.random.default_rng(seed).integers(1, 50, (len(names),) * 2) + 100 * np.eye(len(names), dtype=int)
    if absent:
        counts[names.index(absent)] = counts[:, names.index(absent)] = 0
    scores, missing = metrics.scores(counts, names)
    fields = {"recipe": "ours", "resize": 0, "samples": False} | fields
    return make_run(
        folder, seed, cell=cell, legend=legend, scores=scores, absent=missing, confusion=counts.tolist(), **fields
    )


def comparison_of(root) -> compare.Comparison | None:
    return compare.compare(run_reader.read(run_reader.find([f"{root}/*"])))


def column_of(table: compare.ComparedTable, run: str) -> compare.ComparedColumn:
    (found,) = (column for column in table.columns if column.source[0] == run)
    return found


def notes_of(table: compare.ComparedTable, numbers) -> list[str]:
    return [table.notes[number - 1] for number in numbers]


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """Runs of four cells, one of them twice, one on made-up data, with a run of no cell and a pre-training run."""
    root = tmp_path_factory.mktemp("four") / "runs"
    make(root / "frozen", 0, cell="sentinel/ssl_frozen", freeze="encoder", **REAL)
    make(root / "again_$x_1", 1, cell="sentinel/ssl_frozen", freeze="encoder", **REAL | {"recipe": "code"})
    make(root / "made_up", 2, cell="sentinel/swin_unet", dataset="sample 1.0.0", records=16)
    make(root / "unet", 3, cell="flair/unet", absent="other", **AERIAL)
    make(root / "resnet", 4, cell="flair/resnet_unet", **AERIAL | {"legend": FLAIR1_12, "records": 15700})
    make(root / "s2", 5, cell="s2/unet", **REAL)
    make(root / "elsewhere", 6, cell="", **REAL)
    make_pretraining(root / "pretrain")
    return root, comparison_of(root)


def test_every_printed_table_with_a_run_is_laid(four):
    assert [table.number for table in four[1].tables] == [1, 2, 3, 4, 6]
    assert four[1].unplaced == ()
    assert not any(column.source[0] == "elsewhere" for table in four[1].tables for column in table.columns)


def test_only_those_with_a_run(tmp_path):
    make(tmp_path / "resnet", 0, cell="flair/resnet_unet", **AERIAL)
    assert [table.number for table in comparison_of(tmp_path).tables] == [4]  # Table 3 has no such column


def test_columns_stand_in_the_order_of_print_each_followed_by_its_runs(four):
    order = [(column.cell, column.source[0]) for column in four[1].tables[1].columns]
    assert order == [
        ("sentinel/swin_unet", "printed"),
        ("sentinel/swin_unet", "article"),
        ("sentinel/swin_unet", "made_up"),
        ("sentinel/ssl_frozen", "printed"),
        ("sentinel/ssl_frozen", "article"),
        ("sentinel/ssl_frozen", "notebook"),
        ("sentinel/ssl_frozen", "again_$x_1"),
        ("sentinel/ssl_frozen", "frozen"),
        ("sentinel/ssl_finetuned", "printed"),
        ("sentinel/ssl_finetuned", "article"),
    ]


@pytest.mark.parametrize(("index", "score", "mean"), [(0, "Acc", "mCA_8"), (1, "IoU", "mIoU_8")])
def test_a_column_of_ours_holds_the_scores_of_the_run(four, index, score, mean):
    (run,) = run_reader.read([four[0] / "frozen"])
    scores = run.evaluations[0].fields["scores"]
    column = column_of(four[1].tables[index], "frozen")
    names = [c.name for c in DFC2020.scored]
    assert [entry.value for entry in column.entries] == [scores[f"{score}/{n}"] for n in names] + [scores[mean]]
    assert column.entries[-1].text == f"{scores[mean]:.3f} ({mean})"
    assert column.source == ("frozen", "ours", "dfc2020 1.0.0")
    assert column.notes == ()


def test_table_6_holds_the_two_means(four):
    (run,) = run_reader.read([four[0] / "s2"])
    scores = run.evaluations[0].fields["scores"]
    table = four[1].tables[-1]
    assert [entry.value for entry in column_of(table, "s2").entries] == [scores["mCA_8"], scores["mIoU_8"]]


def test_absent_and_unscored_classes_are_told(four):
    table = four[1].tables[3]
    other = table.rows.index("other")
    entry = column_of(table, "unet").entries
    assert (entry[other].text, entry[other].value) == ("absent", None)
    assert notes_of(table, entry[-1].notes) == ["mean of 12 of 13 classes; absent: other"]
    resnet = column_of(table, "resnet")
    assert resnet.entries[other].text == "–"  # no class of its legend
    assert resnet.entries[-1].text.endswith("(mIoU_12)")
    assert notes_of(table, resnet.notes) == [
        "encoders not pre-trained: from random values",
        "scored on 15,700 test records, the printed figures on 520",
    ]


@pytest.mark.parametrize(
    ("fields", "told", "compared"),
    [
        (REAL, [], True),
        ({"dataset": "sample 1.0.0", "records": 16}, ["made-up data: shows that it runs; not comparable"], False),
        (
            {"dataset": "dfc2020 1.0.0", "records": 4},
            ["made-up data or a trial: .* not comparable .4 test records, the printed figures are of 5,128."],
            False,
        ),
        ({"dataset": "dfc2020 1.0.0", "records": 986}, ["scored on 986 test records, .* on 5,128"], True),
        (REAL | {"resize": 224}, ["images made 224 px"], True),
        (REAL | {"metadata": True, "bands": "rgb"}, ["with metadata", "bands: rgb"], True),
        (REAL | {"metadata": False, "bands": "all"}, [], True),
        (REAL | {"init": "runs/pretrain", "freeze": "encoder"}, ["encoders pre-trained", "encoders frozen"], True),
    ],
)
def test_how_a_run_differs_from_what_is_printed_is_told(tmp_path, fields, told, compared):
    make(tmp_path / "a", 0, cell="sentinel/swin_unet", **fields)
    table = comparison_of(tmp_path).tables[0]
    column = column_of(table, "a")
    for note, pattern in zip(notes_of(table, column.notes), told, strict=True):
        assert re.match(pattern, note)
    assert ("not comparable" not in column.source) == compared


def test_a_run_that_stands_under_frozen_and_was_not_is_told(tmp_path):
    """As the reference's code was run (recipe=code)."""
    make(tmp_path / "a", 0, cell="sentinel/ssl_frozen", **REAL)
    make(tmp_path / "b", 1, cell="sentinel/ssl_frozen", freeze="encoder", **REAL)
    make(tmp_path / "c", 2, cell="sentinel/ssl_frozen", freeze="encoder", **REAL | {"init": "random"})
    table = comparison_of(tmp_path).tables[0]
    assert notes_of(table, column_of(table, "a").notes) == ["not frozen: the whole network was trained"]
    assert notes_of(table, column_of(table, "c").notes) == ["encoders not pre-trained: from random values"]
    assert column_of(table, "b").notes == ()


def test_the_cell_that_began_with_weights_of_others_is_called_transfer(tmp_path):
    make(tmp_path / "a", 0, cell="flair/resnet_unet", **AERIAL | {"init": "resnet50.pth"})
    make(tmp_path / "b", 1, cell="flair/resnet_unet", **AERIAL)
    make(tmp_path / "c", 2, cell="flair/ssl_finetuned", **AERIAL)
    (table,) = (table for table in comparison_of(tmp_path).tables if table.number == 4)
    a, b, c = (column_of(table, name) for name in "abc")
    assert "transfer" in a.source and a.notes == ()
    assert "transfer" not in b.source
    assert notes_of(table, b.notes) == ["encoders not pre-trained: from random values"]
    assert "transfer" not in c.source and c.notes == ()
    (printed,) = (s for s in table.columns if (s.cell, s.source) == ("flair/resnet_unet", ("printed",)))
    assert "transfer, not from scratch" in notes_of(table, printed.notes)[0]


def test_marks_stand_at_the_figures(four):
    accuracy, iou = four[1].tables[2:4]
    swin = next(column for column in accuracy.columns if column.cell == "flair/swin_unet")
    assert "overall accuracy" in notes_of(accuracy, swin.entries[-1].notes)[0]
    frozen = next(column for column in accuracy.columns if column.cell == "flair/ssl_frozen")
    assert "trains the whole network" in notes_of(accuracy, frozen.notes)[0]
    herbs = accuracy.rows.index("herbaceous vegetation")
    assert "misprint" in notes_of(accuracy, frozen.entries[herbs].notes)[0]
    resnet = next(column for column in iou.columns if column.cell == "flair/resnet_unet")
    assert "over 12 classes" in notes_of(iou, resnet.entries[-1].notes)[0]
    for table in four[1].tables:
        used = {n for s in table.columns for n in (*s.notes, *(n for e in s.entries for n in e.notes))}
        assert used | set(table.marked) == set(range(1, len(table.notes) + 1))


def test_the_notebook_is_shown_where_it_differs_from_print(four):
    table = four[1].tables[2]
    (column,) = (column for column in table.columns if column.source == ("notebook",))
    shown = {row: entry.text for row, entry in zip(table.rows, column.entries, strict=True) if entry.text}
    assert (column.cell, shown) == ("flair/ssl_frozen", {"herbaceous vegetation": "0.7124"})


def test_a_cell_of_no_table_is_told_and_no_cell_at_all_is_no_paper(tmp_path):
    make(tmp_path / "a", 0, cell="flair/unett", **AERIAL)
    found = comparison_of(tmp_path)
    assert found.tables == found.best == ()
    assert "'flair/unett' is none of flair/resnet_unet, " in found.unplaced[0]
    made = make_report(f"{tmp_path}/a", tmp_path / "out")
    assert any("a stands in no printed table" in note for note in made.notes)
    make(tmp_path / "other" / "b", 0, cell="", **AERIAL)
    assert comparison_of(tmp_path / "other") is None


def test_validation_scores_and_old_runs_stand_in_no_printed_table(tmp_path):
    make(tmp_path / "a", 0, cell="flair/unet", role="validation", **AERIAL)
    make_run(tmp_path / "old", 1)  # knows no cells
    assert comparison_of(tmp_path) is None


def test_csv_holds_every_figure_once_in_full_precision(four):
    rows = list(csv.DictReader(io.StringIO(writers.to_csv(four[1]))))
    assert list(rows[0]) == ["table", "cell", "row", "source", "score", "value", "mark"]
    assert len({(row["table"], row["cell"], row["row"], row["source"], row["score"]) for row in rows}) == len(rows)
    (run,) = run_reader.read([four[0] / "unet"])
    scores = run.evaluations[0].fields["scores"]
    ours = {row["row"]: row for row in rows if (row["table"], row["source"]) == ("4", "run, unet, ours, flair1 1.0.0")}
    assert float(ours["water"]["value"]) == scores["IoU/water"]
    assert (ours["mIoU"]["score"], float(ours["mIoU"]["value"])) == ("mIoU_13", scores["mIoU_13"])
    assert ours["other"]["value"] == "" and "absent: other" in ours["mIoU"]["mark"]
    average = next(
        row for row in rows if (row["table"], row["cell"], row["row"]) == ("3", "flair/swin_unet", "Average")
    )
    assert average["value"] == "0.7" and "overall accuracy" in average["mark"] and "leak" in average["mark"]
    baseline = next(row for row in rows if row["table"] == "best" and row["cell"] == "U-Net, ResNet-34")
    assert (baseline["score"], baseline["value"]) == ("mIoU", "0.5443")


def test_markdown_has_whole_tables(four):
    text = writers.to_markdown(four[1])
    lines = [re.sub(r"\\\|", "", line) for line in text.splitlines()]
    tables = "\n".join(lines).split("\n\n")
    grids = [block.splitlines() for block in tables if block.startswith("|")]
    assert len(grids) == 5 + 1
    for grid in grids:
        assert len({line.count("|") for line in grid}) == 1
    assert "again\\_$x\\_1, code, dfc2020 1.0.0" in text
    assert "0.5443 ± 0.0014" in text


def test_tex_is_whole_and_escaped(four):
    r"""There is no LaTeX to try it with: braces and environments close, rows are as wide as the tabular says."""
    text = writers.to_tex(four[1])
    bare = text.replace("\\\\", "\n").replace("\\{", "").replace("\\}", "")
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    for environment in ("table", "tabular"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") == 6
    for columns, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert len(rows) > 2
        for row in rows:
            spans = [int(width) for width in re.findall(r"\\multicolumn\{(\d+)\}", row)]
            assert len(re.findall(r"(?<!\\)&", row)) + 1 + sum(spans) - len(spans) == len(columns), row
        assert [body.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"again\_\$x\_1" in text
    assert not re.search(r"(?<!\\)[#%_](?! For)", re.sub(r"(?m)^%.*$|\{%$", "", text))
    assert re.sub(r"\\\$|\$\\pm\$", "", text).count("$") == 0
    assert text.isascii()


def test_page_and_files_agree_and_come_out_the_same_twice(four, tmp_path):
    made = make_report(f"{four[0]}/*", tmp_path / "out")
    table = four[1].tables[3]
    head, *rows = made.tables["paper", "paper paper-4"]
    assert len(head) == 1 + len(table.columns) and [row[0] for row in rows] == list(table.rows)
    column = 1 + table.columns.index(column_of(table, "unet"))
    assert head[column] == "UNetunetoursflair1 1.0.0"
    texts = [entry.text for entry in column_of(table, "unet").entries]
    assert [row[column] for row in rows][:-1] == texts[:-1]
    assert rows[-1][column].startswith(texts[-1])
    assert len(made.tables["paper", "best"]) == 1 + len(four[1].best)
    assert made.fetched == []
    make_report(f"{four[0]}/*", tmp_path / "again")
    for name in ("index.html", "paper.csv", "paper.md", "paper.tex"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_the_published_matrix_is_drawn_once_beside_runs_of_its_classes(four, tmp_path):
    make_report(f"{four[0]}/*", tmp_path / "out")  # two tables of aerial runs: of 13 and of 12 classes
    assert (tmp_path / "out" / "index.html").read_text().count("flair-1_heatmap.png") == 1
    make_report(f"{four[0]}/frozen", tmp_path / "sentinel")
    assert "flair-1_heatmap.png" not in (tmp_path / "sentinel" / "index.html").read_text()
