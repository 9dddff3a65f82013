import types

import pytest
from downloads import parts, path_of, write_geotiff

from data_pipelines.prepare import prepare, quicklooks
from data_pipelines.schema.errors import InputError
from lcjax.cli import prepare as prepare_verb


def test_prepare_writes_pictures_and_says_what_it_did(source, tmp_path, capsys):
    write_geotiff(path_of(source, "ROIs0000_validation", "s2", 3), parts(3)["s2"][:12])
    dataset = prepare.prepare("sample", source, tmp_path / "data")
    said = capsys.readouterr().out
    assert "warning: tiles are 16 pixels wide, the published ones 256" in said
    assert "refused             1; which and why: " in said
    assert f"shards and statistics: {dataset.folder}" in said
    for name in (quicklooks.DISTRIBUTION.format(""), quicklooks.CONTACT_SHEET):
        assert (dataset.folder / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("share", [float("nan"), -0.1, 1.5])
def test_a_share_is_a_share(source, tmp_path, share):
    with pytest.raises(InputError, match=r"--max_nodata=.*expected a share from 0 to 1"):
        prepare.prepare("sample", source, tmp_path / "data", options={"max_nodata": share})
    assert not (tmp_path / "data").exists()


def test_prepared_twice_does_nothing(source, tmp_path, capsys):
    folder = prepare.prepare("sample", source, tmp_path / "data").folder
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    capsys.readouterr()
    prepare.prepare("sample", source, tmp_path / "data")
    assert "already prepared" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_another_source_is_refused(source, tmp_path):
    prepare.prepare("sample", source, tmp_path / "data")
    with pytest.raises(InputError, match=r"already prepared from .*, but --source="):
        prepare.prepare("sample", tmp_path, tmp_path / "data")


@pytest.mark.parametrize("missing", ["dataset", "source", "data_dir"])
def test_a_missing_flag_is_named_with_an_example(missing):
    given = {"dataset": "sample", "source": "a", "data_dir": "b", "init": False, missing: None}
    with pytest.raises(InputError, match=f"^--{missing} is missing; expected for example --{missing}="):
        prepare_verb.run(types.SimpleNamespace(**given))


def test_unknown_data_set_and_folder(tmp_path):
    with pytest.raises(InputError, match="'sampel' is unknown; expected one of dfc2020, flair1, sample"):
        prepare.prepare("sampel", tmp_path, tmp_path)
    with pytest.raises(InputError, match=r"no such folder; expected the files or archives: what python -m"):
        prepare.prepare("sample", tmp_path / "nowhere", tmp_path)


def test_help_and_flags_agree():
    defined = []
    define = lambda name, default, text, **bounds: defined.append(name)  # noqa: E731
    kinds = ("string", "integer", "float", "bool", "list")
    prepare_verb.define_flags(types.SimpleNamespace(**{f"DEFINE_{kind}": define for kind in kinds}))
    own, switches = {"legend", "tile", "init", "resample", "remote"}, {"init", "resample"}
    common = {"dataset", "source", "data_dir", "workers", "max_refused", "max_nodata", "offset", "beam"}
    assert set(defined) == own | common
    assert all((f"--{name}" if name in switches else f"--{name}=") in prepare_verb.HELP for name in defined)


def test_what_a_kill_left_in_a_finished_data_set_is_removed(source, tmp_path):
    folder = prepare.prepare("sample", source, tmp_path / "data").folder
    names = sorted(path.name for path in folder.iterdir())
    (folder / ".parts").mkdir()
    (folder / ".parts" / "plan.json").write_text("{}")
    for name in (".statistics.json.host.17", ".contact_sheet.png.host.17"):
        (folder / name).write_text("half")
    prepare.prepare("sample", source, tmp_path / "data")
    assert sorted(path.name for path in folder.iterdir()) == names
