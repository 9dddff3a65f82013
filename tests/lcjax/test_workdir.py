"""Workdirs: what may change when a run goes on, and runs from before a choice was there."""

import json

import pytest
from networks import card_of

from configs import dfc2020, pretrain
from data_pipelines.errors import InputError
from lcjax import workdir


def begun(folder, config):
    """A workdir with what stands for a checkpoint."""
    workdir.start(folder, config, card_of(config))
    (folder / "checkpoints" / "last" / "1").mkdir(parents=True)


def test_a_run_goes_on_with_other_memory_but_not_as_another_run(tmp_path):
    config = dfc2020.get_config("model=unet,tiny=true")
    begun(tmp_path, config)
    config.remat, config.workers = True, 2
    workdir.start(tmp_path, config, card_of(config))
    config.seed = 7
    with pytest.raises(InputError, match=r"holds a run of another config: seed \(there 42, now 7\)"):
        workdir.start(tmp_path, config, card_of(config))


@pytest.mark.parametrize("model", ["unet", "unet,fusion=s2", "swin_unet", "two_stream_swin"])
def test_a_run_from_before_there_was_a_choice_is_what_it_was(tmp_path, model):
    """Also one that is a cell of the report now."""
    config = dfc2020.get_config(f"model={model},tiny=true")
    assert bool(config.cell) == ("s2" in model)
    begun(tmp_path, config)
    path = tmp_path / workdir.CONFIG
    old = json.loads(path.read_text())
    for key in ("accumulate", "cell", "jitter", "metadata", "recipe", "remat", "resize", "speckle"):
        del old[key]
    for key in ("batch_rule", "layer_decay", "plateau_factor", "plateau_patience", "reference_batch"):
        del old["optimizer"][key]
    old["model"].pop("upsampling", None)
    old["model"].pop("decoder_depths", None)
    path.write_text(json.dumps(old))
    assert json.loads(workdir.read_config(tmp_path).to_json()) == json.loads(config.to_json()) | {"cell": ""}
    workdir.start(tmp_path, config, card_of(config))


def test_a_pre_training_run_from_before_there_were_probes_goes_on(tmp_path):
    config = pretrain.get_config("tiny=true")
    begun(tmp_path, config)
    path = tmp_path / workdir.CONFIG
    old = json.loads(path.read_text())
    del old["probe"]
    path.write_text(json.dumps(old))
    workdir.start(tmp_path, config, card_of(config))
    assert workdir.read_config(tmp_path).probe.to_dict() == {"train": "", "test": ""}
