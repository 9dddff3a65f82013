"""The list of networks: its figures, and that the docs hold the same."""

import json
import types

import pytest

from lcjax.cli import benchmark
from lcjax.models import registry
from lcjax.profiling import model_table

FEW = [("unet", "tiny"), ("two_stream_swin", "tiny")]


@pytest.mark.slow  # most of a minute, or more
def test_the_table_in_the_docs_is_what_the_code_counts(request):
    written = (request.config.rootpath / "docs" / "models_table.md").read_text()
    found = model_table.table(model_table.rows(model_table.networks(tiny=False)))
    assert written == found + "\n", "lcjax benchmark --list > docs/models_table.md"


def test_all_families_and_sizes_are_listed_the_tiny_ones_when_asked_for():
    assert {name for name, _ in model_table.networks(tiny=False)} == registry.FAMILIES.keys()
    assert ("unet", "transposed") in model_table.networks(tiny=False)
    tiny = set(model_table.networks(tiny=True)) - set(model_table.networks(tiny=False))
    assert tiny == {(name, "tiny") for name in registry.FAMILIES}


def test_a_row_holds_what_each_input_costs():
    one, two = model_table.rows(FEW)
    assert one["multiple"] == 16
    assert (one["sentinel"]["fusion"], one["sentinel"]["bands"]) == ("early", 15)
    assert (one["aerial"]["bands"], one["aerial"]["classes"], one["aerial"]["edge"]) == (5, 13, 512)
    # 13 classes, and 5 bands for 15.
    assert one["aerial"]["macs"] > (512 / 224) ** 2 * one["sentinel"]["macs"] * 0.95
    assert sum(one["sentinel"]["macs_by_part"].values()) == one["sentinel"]["macs"]
    assert two["sentinel"]["fusion"] == "late"
    assert "aerial" not in two  # one sensor makes no two streams


def test_the_table_is_markdown():
    lines = model_table.table(model_table.rows(FEW)).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4
    assert len({line.count("|") for line in table}) == len({len(line) for line in table}) == 1
    assert table[3].replace(" ", "").endswith("|-|-|16|")


def test_list_prints_the_table_and_writes_the_figures(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(model_table, "networks", lambda tiny: FEW if tiny else FEW[:1])
    path = tmp_path / "new" / "list.json"
    benchmark.run(
        types.SimpleNamespace(
            **dict.fromkeys(("config", "topology", "scene", "plot")),
            **dict.fromkeys(("input", "plan", "inference"), False),
            **dict.fromkeys(("compare", "devices"), []),
            **{"list": True, "tiny": True, "json": str(path)},
        )
    )
    written = json.loads(path.read_text())
    assert capsys.readouterr().out == model_table.table(written) + "\n"
    assert [row["model"] for row in written] == ["unet", "two_stream_swin"]
