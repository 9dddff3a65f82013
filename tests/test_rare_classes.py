"""The study of rare classes: what is hidden, what its arms set, its table."""

import importlib.util
import pathlib
import types

import numpy as np
import pytest
import rasterio

from lcjax.configs import base, registry
from lcjax.ops import losses
from lcjax.runs import config_fields

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("rare_classes", ROOT / "benchmarks" / "studies" / "rare_classes.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_labels_are_hidden_in_training_tiles_alone(study, sample, tmp_path):
    def masks(root):
        paths = root.glob("ROIs0000_*/dfc_0/*.tif")
        return {path.relative_to(root): rasterio.open(path).read(1) for path in paths}

    (tmp_path / "rare.begun").mkdir()  # of a start that was killed
    study.make_rare(sample, tmp_path / "rare")
    before, after = masks(sample), masks(tmp_path / "rare")
    assert before.keys() == after.keys()
    changed = {path for path in before if np.any(before[path] != after[path])}
    train = {path for path in before if "validation" in str(path) and not path.stem.endswith("_p0")}
    assert changed == {path for path in train if np.any(before[path] == study.RARE)} != set()
    for path in changed:
        np.testing.assert_array_equal(after[path], np.where(before[path] == study.RARE, study.UNSCORED, before[path]))
    study.make_rare(sample / "gone", tmp_path / "rare")  # is there already


def test_arms_set_what_there_is_and_nothing_twice(study):
    config = registry.parse(study.CONFIG)
    plain = base.flat(config)
    seen = set()
    for fields in study.ARMS.values():
        given = dict(field.removeprefix("--config.").split("=", 1) for field in fields)
        assert given.keys() <= plain.keys()
        values = {name: type(plain[name])(value) for name, value in given.items()}
        config_fields.check_values(values)
        losses.check_names(values.get("loss", "focal"))
        seen.add(tuple(sorted(values.items())))
    assert len(seen) == len(study.ARMS) and study.ARMS[study.BASE] == []


def test_each_arm_is_trained_and_scored_once(study, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(study, "lcjax", lambda *arguments: calls.append(arguments))
    options = types.SimpleNamespace(output=tmp_path, steps=7)
    for arm in study.ARMS:
        with pytest.raises(FileNotFoundError):  # there is no score of what did not run
            study.score(options, arm, 1)
    assert [call[0] for call in calls] == ["train", "evaluate"] * len(study.ARMS)
    folders = [next(text for text in call if text.startswith("--workdir=")) for call in calls]
    assert folders[::2] == folders[1::2] and len(set(folders)) == len(study.ARMS)


def test_table(study):
    scores = [dict.fromkeys(study.COLUMNS, value) for value in (0.1, 0.2, 0.3)]
    better = [dict.fromkeys(study.COLUMNS, value) for value in (0.3, 0.5, 0.25)]
    lines = study.table({study.BASE: scores, "dice": better}).splitlines()
    assert lines[2].startswith("| `cross_entropy` | 0.200 (0.100 to 0.300) | ") and lines[2].endswith("|  |  |")
    assert lines[3].endswith("| +0.200, +0.300, -0.050 | +0.200, +0.300, -0.050 |")


def test_a_folder_holds_one_study(study, sample, tmp_path):
    options = types.SimpleNamespace(output=tmp_path, source=sample, steps=7)
    assert study.other_study(options) == study.other_study(options) == ""
    options.steps = 8
    assert study.other_study(options) == "steps"


@pytest.mark.parametrize(
    ("arms", "says"),
    [("dise", "--arms: there is no 'dise'; expected some of cross_entropy, "), ("dice", "no sample.json")],
)
def test_what_the_study_cannot_do_is_refused(study, monkeypatch, tmp_path, capsys, arms, says):
    given = ["rare_classes.py", f"--source={tmp_path}", f"--output={tmp_path / 'out'}", f"--arms={arms}"]
    monkeypatch.setattr("sys.argv", given)
    with pytest.raises(SystemExit):
        study.main()
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
