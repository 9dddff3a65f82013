"""The study of few labels: its splits share no tiles, its runs have configs, its table tells what was found."""

import importlib.util
import pathlib
import types

import pytest

from data_pipelines.schema.splits import Splits
from lcjax.configs import registry

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("few_labels", ROOT / "benchmarks" / "studies" / "few_labels.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_seeds_learn_from_other_labels(study):
    tiles = Splits("sample", {"validation": [f"p{number}" for number in range(100)]}, {}, {})
    for percent in (1, 10):
        chosen = [set(tiles.ids(study.labelled(percent, seed))) for seed in range(3)]
        assert [len(ids) for ids in chosen] == [percent] * 3
        assert len(set.union(*chosen)) == 3 * percent
    assert len(tiles.ids(study.labelled(100, 2))) == 100


def test_arms_differ_in_their_encoders_alone(study, monkeypatch, tmp_path):
    """What each arm hands to `lcjax`, and what the configs make of it."""
    calls = []
    monkeypatch.setattr(study, "lcjax", lambda *arguments: calls.append(arguments))
    options = types.SimpleNamespace(output=tmp_path, data_dir=tmp_path, steps=7)
    study.pretrain(options, 1)
    for arm in study.ARMS:
        with pytest.raises(FileNotFoundError):  # there is no score of what did not run
            study.score(options, arm, 10, 1)
    texts = [next(text for text in call if text.startswith("--config=")) for call in calls if call[0] == "train"]
    configs = [registry.parse(text.removeprefix("--config=")).to_dict() for text in texts]
    for config in configs:
        config["optimizer"] = dict(config["optimizer"], layer_decay=None)
    first, scratch, tuned, frozen = configs
    assert scratch["init"] == "random" and tuned["init"] == frozen["init"] == str(tmp_path / "pretrain_1")
    assert (tuned["freeze"], frozen["freeze"]) == ("", "encoder")
    alike = {"init": None, "freeze": None, "cell": None}
    assert scratch | alike == tuned | alike == frozen | alike
    assert first["model"] == scratch["model"]


def test_table(study):
    found = {(arm, percent): [0.1, 0.2, 0.3] for arm in study.ARMS for percent in study.PERCENT}
    found["fine-tuned", 10] = [0.3, 0.5, 0.25]
    (line,) = (line for line in study.table(found).splitlines() if line.startswith("| 10 %"))
    assert "| 0.200 (0.100 to 0.300) | 0.350 (0.250 to 0.500) |" in line
    assert line.endswith("| +0.200, +0.300, -0.050 |")
    assert study.draw(found).startswith(b"\x89PNG")
