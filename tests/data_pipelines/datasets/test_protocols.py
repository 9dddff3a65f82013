"""Published protocols: what is taken from their tables, and what does not follow them."""

import dataclasses
import re

import pytest
from networks import small

from data_pipelines.datasets import protocols, registry
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import named
from data_pipelines.schema.spec import Protocol
from lcjax.configs import dfc2020, flair1
from lcjax.engine import experiment as experiments

EVERY = [(spec, one) for spec in registry.DATASETS.values() for one in spec.protocols]
LISTS = ("dfc-train-new.csv", "dfc-val-new.csv", "dfc-test-new.csv")


@pytest.mark.parametrize(("spec", "one"), EVERY, ids=lambda value: value.name)
def test_a_table_fits_its_data_set(spec, one):
    assert named(spec.legends, one.legend).scored
    for part, records in zip(one.splits.values(), one.records, strict=True):
        assert bool(part) == bool(records)
        assert part.startswith("list:") <= bool(one.lists_from)
    assert protocols.warnings(spec.name, one.name) == ([f"protocol {one.name}: {one.warning}"] if one.warning else [])


def test_class_sets_are_named_by_their_number():
    sizes = {one.name: len(named(spec.legends, one.legend).scored) for spec, one in EVERY}
    assert len(sizes) == len(EVERY)  # a name means one protocol
    assert sizes == {
        "weak_labels": 8, "reference": 8, "gfm_bench": 8, "within_validation": 8, "copernicus_bench": 10,
        "copernicus_bench_8": 8, "official_12": 12, "official_13": 13, "official_15": 15,
    }  # fmt: skip
    names = [land_class.name for land_class in registry.dataset("flair1", legend="flair1_15").legend.scored]
    # The classes that the cards of IGN's "15cl" networks list, with snow.
    assert names[:12] == [c.name for c in registry.dataset("flair1", legend="flair1_12").legend.scored]
    assert names[12:] == ["swimming pool", "snow", "greenhouse"]


def test_a_config_takes_all_that_belongs_to_a_protocol(tmp_path):
    config = dfc2020.get_config("protocol=gfm_bench,fusion=s2")
    assert (config.split.train, config.split.validation, config.split.test) == (
        "test[:90%]",
        "test[90%:]",
        "validation",
    )
    assert (config.protocol, config.legend) == ("gfm_bench", "")
    plain = dfc2020.get_config("fusion=s2")
    assert plain.cell and not config.cell  # a cell of the report has the report's splits
    config = dfc2020.get_config(f"protocol=copernicus_bench,lists={tmp_path}")
    assert [config.split[role] for role in ("train", "validation", "test")] == [f"list:{tmp_path / f}" for f in LISTS]
    assert config.legend == "dfc2020_10"
    config = dfc2020.get_config("protocol=weak_labels,data=sen12ms")
    assert (config.dataset, config.split.train, config.legend) == ("sen12ms", "official/train", "dfc2020_8")
    config = flair1.get_config("protocol=official_15")
    assert (config.split.train, config.legend, config.protocol) == ("train", "flair1_15", "official_15")
    assert dfc2020.get_config("").protocol == flair1.get_config("").protocol == ""


@pytest.mark.parametrize(
    ("make", "argument", "words"),
    [
        (
            dfc2020,
            "protocol=croma",
            r"config\.protocol='croma': no protocol of dfc2020; expected one of reference, gfm_b",
        ),
        (dfc2020, "protocol=reference,data=sample", "no protocol of sample; it has none"),
        (
            dfc2020,
            "protocol=copernicus_bench",
            r"dfc-train-new\.csv, dfc-val-new\.csv, dfc-test-new\.csv, which lcjax does not carry; take them out of "
            r"dfc2020\.zip in .*Copernicus-Bench, and give their folder as lists=DIR",
        ),
        (dfc2020, "lists=there", "lists=there: are of a protocol"),
        (dfc2020, "protocol=reference,lists=there", "the protocol reference has no lists; leave it out"),
        (flair1, "protocol=official_12,legend=flair1_13", "protocol=official_12: sets split and legend"),
        (flair1, "protocol=official_13,recipe=report", "protocol=official_13,recipe=report: a recipe repeats a cell"),
        (
            dfc2020,
            "protocol=reference,model=swin_unet,fusion=s1,recipe=code",
            "protocol=reference,recipe=code: a recipe repeats a cell",
        ),
    ],
)
def test_arguments_that_do_not_go_together(make, argument, words):
    with pytest.raises(InputError, match=words):
        make.get_config(argument)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        (
            "split.train",
            "validation[:50%]",
            r"config\.split\.train='validation\[:50%\]': the protocol reference has 'valid",
        ),
        ("split.validation", "test", r"config\.split\.validation='test': the protocol reference has ''"),
        ("legend", "dfc2020_10", r"config\.legend='dfc2020_10': the protocol reference has 'dfc2020'"),
        ("protocol", "gfm_bench", r"config\.split\.train='validation': the protocol gfm_bench has 'test\[:90%\]'"),
        ("protocol", "none", "no protocol of dfc2020"),
    ],
)
def test_a_run_that_goes_another_way_is_refused_before_data_are_opened(tmp_path, field, value, words):
    config = small(dfc2020.get_config("protocol=reference,tiny=true"), tmp_path)
    config.update_from_flattened_dict({field: value})
    with pytest.raises(InputError, match=words):
        experiments.build(config)


@pytest.fixture
def listed(data_dir, tmp_path, monkeypatch):
    """A config of a protocol of the sample by lists: 4, 2 and 2 records; and the folder of the lists."""
    lists = Protocol(
        name="lists", title="by lists", train="list:a.csv", validation="list:b.csv", test="list:c.csv",
        records=(4, 2, 2), source="tests", lists_from="a.zip of somebody", warning="is made up",
    )  # fmt: skip
    spec = dataclasses.replace(registry.DATASETS["sample"], protocols=(lists,))
    monkeypatch.setitem(registry.DATASETS, "sample", spec)
    for name, numbers in (("a", range(4)), ("b", range(4, 6)), ("c", range(6, 8))):
        names = [f"ROIs0000_validation_dfc_0_p{number}.tif" for number in numbers]
        (tmp_path / f"{name}.csv").write_text("\n".join(names) + "\n")
    return small(dfc2020.get_config(f"data=sample,tiny=true,protocol=lists,lists={tmp_path}"), data_dir), tmp_path


def test_a_protocol_by_lists(listed):
    config, _ = listed
    card = experiments.build(config).card
    assert {role: split["records"] for role, split in card.splits.items()} == {"train": 4, "validation": 2, "test": 2}
    assert all("protocol lists: is made up" in split["warnings"] for split in card.splits.values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, r"b\.csv: no such file; expected the list of the 2 records for validation of the protocol lists; take "
               r"it out of a\.zip of somebody, and give its folder as lists=DIR"),
        ("ROIs0000_validation_dfc_0_p4.tif\n", "validation holds 1 records, the protocol 2; were records refused"),
        ("ROIs0000_validation_dfc_0_p4.tif\n" * 2, "holds 1 records more than once"),
        ("ROIs0000_validation_dfc_0_p4.tif\nROIs0000_test_dfc_0_p999.tif\n", "1 of 2 lines name no one record"),
        ("", "it holds no record; expected at least one"),
        ("\0\n", "holds NUL"),
    ],
)  # fmt: skip
def test_lists_that_are_not_those_of_the_protocol(listed, text, words):
    config, folder = listed
    path = folder / "b.csv"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        experiments.build(config)
    assert "\n" not in str(caught.value) and re.search(r"b\.csv|config\.protocol", str(caught.value))


def test_lists_in_the_home_of_nobody_are_refused_in_one_line(listed):
    config, _ = listed
    config.split.validation = "list:~nobody_of_this_name/b.csv"
    with pytest.raises(InputError, match=r"there is no user 'nobody_of_this_name' whose home it could be"):
        experiments.build(config)


def test_a_data_set_that_was_prepared_before_is_read_as_a_newer_legend(data_dir, monkeypatch):
    from data_pipelines.datasets.contest_legend import DFC2020_10
    from data_pipelines.reading.dataset import open_dataset

    with pytest.raises(InputError, match="no such legend; expected one of dfc2020"):
        open_dataset(data_dir, "sample", legend="dfc2020_10")
    spec = registry.DATASETS["sample"]
    monkeypatch.setitem(registry.DATASETS, "sample", dataclasses.replace(spec, legends=(spec.legend, DFC2020_10)))
    assert len(open_dataset(data_dir, "sample", legend="dfc2020_10").legend.scored) == 10
    other = dataclasses.replace(spec.legend, name="other")
    monkeypatch.setitem(registry.DATASETS, "sample", dataclasses.replace(spec, legends=(other, DFC2020_10)))
    with pytest.raises(InputError, match="no such legend"):
        open_dataset(data_dir, "sample", legend="dfc2020_10")
