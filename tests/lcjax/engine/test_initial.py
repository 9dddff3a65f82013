"""What a run begins with: files of weights, other runs with their decoders, and what of it the card says."""

import dataclasses
import hashlib
import shutil

import numpy as np
import published_transformers
import pytest
from networks import CLASSES, small
from torch_names import state_dict

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import S2
from lcjax.configs import dfc2020
from lcjax.engine import experiment as experiments
from lcjax.engine import initial, restore
from lcjax.runs import model_card
from lcjax.training.run import train
from lcjax.weights import arrival, layout, layouts


def config_of(data_dir, model, init="random", **fields):
    config = dfc2020.get_config(f"model={model},data=sample,tiny=true,fusion=s2")
    config.data_dir, config.total, config.init = str(data_dir), "2 steps", str(init)
    config.crop, config.batch_size, config.parallel.data = 32, 2, 1
    config.update_from_flattened_dict(fields)
    return config


@pytest.fixture(scope="module")
def resnet(data_dir):
    return experiments.build(config_of(data_dir, "resnet18_unet"))


@pytest.fixture(scope="module")
def file(resnet, tmp_path_factory):
    """A tiny ResNet-18 for thirteen bands by torchvision's names, in an .npz."""
    path = tmp_path_factory.mktemp("weights") / "resnet.npz"
    np.savez(path, **{f"state_dict.{name}": value for name, value in state_dict(resnet.template).items()})
    return path


def test_a_run_begins_with_a_file_and_its_card_says_so_also_when_the_file_is_gone(data_dir, file, tmp_path, capsys):
    here = shutil.copy(file, tmp_path / "weights.npz")
    config = config_of(data_dir, "resnet18_unet", here)
    train(config, tmp_path / "run")
    said = capsys.readouterr().out
    assert "encoders/s2  60 taken" in said and "'state_dict.' peeled off its names" in said
    origin = model_card.read(tmp_path / "run").weights
    assert origin["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert origin["source"] == str(here) and origin["origin"] == "ResNet of torchgeo for Sentinel-2 or Sentinel-1"
    assert (origin["bands"], origin["arrays"]["taken"]) == ("name", 60)
    here.unlink()
    config.total = "3 steps"
    train(config, tmp_path / "run", allow_other_config=True)
    assert model_card.read(tmp_path / "run").weights == origin == restore.card_of(tmp_path / "run", "last").weights


def test_a_scaling_that_the_weights_did_not_learn_with_is_refused(data_dir, tmp_path):
    rgb = {"bands": "rgb"}
    template = experiments.build(config_of(data_dir, "resnet18_unet", **rgb)).template
    np.savez(tmp_path / "rgb.npz", **state_dict(template))
    for fields, refused in [
        ({}, True),
        ({"scaling": "imagenet"}, False),
        ({"weights.scaling": "any"}, False),
        ({"scaling": "whitened"}, True),
    ]:
        experiment = experiments.build(config_of(data_dir, "resnet18_unet", tmp_path / "rgb.npz", **rgb, **fields))
        if refused:
            with pytest.raises(InputError, match=r"learned with config\.scaling=imagenet, and .*scaling=any to leave"):
                experiment.start()
        else:
            counts = experiment.start().arrival.counts()
            assert (counts["taken"], counts["adapted"]) == (60, 0)


def test_a_decoder_begins_as_the_mirror_of_an_encoder_of_more_blocks(data_dir, tmp_path):
    names = published_transformers.kept_names()["small timm swin"]
    more = {name.replace("blocks.1", "blocks.2"): of for name, of in names.items() if "layers.1.blocks.1." in name}
    path = tmp_path / "swin.npz"
    np.savez(path, **published_transformers.fill(names | more))
    rgb = {"bands": "rgb", "scaling": "imagenet"}
    with pytest.raises(InputError, match=r"for which encoders/s2 has no place \(13 such\)"):
        experiments.build(config_of(data_dir, "swin_unet", path, **rgb)).start()
    mirrored = config_of(data_dir, "swin_unet", path, **rgb, **{"weights.decoder": "mirrored"})
    found = experiments.build(mirrored).start()
    parts = {}
    for row in found.arrival.rows:
        parts.setdefault("/".join(row.path.split("/")[:3]), set()).add(row.how)
    assert parts["encoders/s2/stages"] == parts["decoders/s2/stages"] == {"taken"}
    assert parts["decoders/s2/expands"] == parts["decoders/s2/joins"] == {"missing"}
    values = found.parameters
    for ours, theirs in (("stages/0/1", "stages/1/1"), ("stages/1/0", "stages/0/0")):
        kernel = values[f"decoders/s2/{ours}/mlp_in/kernel"]
        np.testing.assert_array_equal(kernel, values[f"encoders/s2/{theirs}/mlp_in/kernel"])
    unused = [
        name for name, why in found.arrival.unused.items() if why == "of a block that the mirrored network has not"
    ]
    assert len(unused) == 13


def test_the_network_of_another_run_is_taken_whole_where_it_is_the_same(trained, data_dir):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir)
    config.init = str(trained)
    start = experiments.build(config).start()
    before = restore.restore(trained, "best")
    for path, value in (before.parameters | before.statistics).items():
        np.testing.assert_array_equal((start.parameters | start.statistics)[path], value)
    assert start.arrival.counts()["taken"] == len(before.parameters | before.statistics)
    assert start.origin["origin"].startswith("unet of lcjax, trained on sample")


def test_a_head_for_other_classes_begins_anew(trained, data_dir):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir)
    config.init = str(trained)
    experiment = experiments.build(config)
    first, *others = experiment.card.legend.classes
    legend = dataclasses.replace(
        experiment.card.legend, name="mine", classes=(dataclasses.replace(first, name="mine"), *others)
    )
    start = initial.start(config, dataclasses.replace(experiment.card, legend=legend), experiment.template)
    parts = {row.path.split("/")[0]: row.how for row in start.arrival.rows}
    assert parts == {"encoders": "taken", "decoders": "taken", "head": "replaced"}
    assert f"of the classes of {experiment.card.legend.name} there" in start.arrival.text()
    drawn, _ = experiment.random_values()
    np.testing.assert_array_equal(start.parameters["head/classify/kernel"], drawn["head/classify/kernel"])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("page.pth", b"<!DOCTYPE html><html>404</html>", "page.pth: "),
        ("empty.pth", b"", "empty.pth: "),
        ("half.safetensors", b"\x40\0\0\0\0\0\0\0{", "half.safetensors: "),
    ],
)
def test_what_is_no_file_of_weights_is_one_line(data_dir, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    experiment = experiments.build(config_of(data_dir, "resnet18_unet", tmp_path / name))
    with pytest.raises(InputError, match=says) as raised:
        experiment.start()
    assert "\n" not in str(raised.value)


def test_a_word_that_is_no_path_is_one_line(data_dir):
    experiment = experiments.build(config_of(data_dir, "resnet18_unet", "imagenet"))
    with pytest.raises(InputError, match=r"config\.init='imagenet': no package brings ImageNet weights of resnet18_un"):
        experiment.start()


@pytest.mark.parametrize(("field", "value"), [("layout", "nonsense"), ("decoder", "mirrored"), ("bands", "mean")])
def test_what_is_asked_of_weights_that_nothing_begins_with_is_refused(trained, data_dir, field, value):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir)
    config.weights[field] = value
    for init in ("random", str(trained)):
        config.init = init
        with pytest.raises(
            InputError, match=rf"config\.weights\.{field}='{value}': is for files of other libraries, and"
        ):
            experiments.build(config).start()


def test_a_word_that_names_nothing_is_told_with_what_there_is(data_dir):
    experiment = experiments.build(config_of(data_dir, "resnet18_unet", "runs/pretrian"))
    with pytest.raises(InputError, match=r"^config\.init=runs/pretrian: no such file or folder; expected random, hf:"):
        experiment.start()


def test_a_run_without_a_best_checkpoint_gives_its_last(trained, data_dir, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(run / "checkpoints" / "best")
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir)
    config.init = str(run)
    start, last = experiments.build(config).start(), restore.restore(run, "last")
    for path, value in last.parameters.items():
        np.testing.assert_array_equal(start.parameters[path], value)


def test_the_unit_of_own_imagery_is_not_taken_for_that_of_a_sensor():
    """Its "sensor" and "range" are stretched to what its images hold."""
    config = dfc2020.get_config("model=resnet18_unet,tiny=true,fusion=s2")
    config.update(dataset="rasters/town", fusion="image")
    sensor = dataclasses.replace(S2, name="image", bands=S2.bands)
    card = experiments.card_without_data(config, [sensor], CLASSES, 64, "rasters/town")
    experiment = experiments.build_from_card(config, card)
    entries = state_dict(experiment.template)
    foreign = layout.converted(entries, *layout.recognised(entries, layouts.ALL, "FILE"), "FILE")
    assert foreign.layout.name == "torchgeo_resnet"
    for scaling, says in [("sensor", "learned with config.scaling=standardised"), ("standardised", "")]:
        config.scaling = scaling
        plan = arrival.Plan(experiment.template.groups, {"image": sensor.bands}, {"image": "image"})
        if says:
            with pytest.raises(InputError, match=says):
                initial.check_scaling(foreign, plan, config, card, "FILE")
        else:
            initial.check_scaling(foreign, plan, config, card, "FILE")
