"""Every config against its golden text: each value, and how many parameters its network trains and keeps frozen.

`WRITE_GOLDEN=1 python -m pytest tests/test_configs.py` writes the texts anew; look at the difference, then commit it.
"""

import functools
import json
import math
import os
import pathlib

import ml_collections
import pytest
from networks import CLASSES, RGB, card_of

from data_pipelines.schema.errors import InputError
from lcjax import tasks
from lcjax.configs import arguments, base, classification, dfc2020, flair1, pretrain, rasters
from lcjax.configs.report2024 import cells, recipes
from lcjax.engine import experiment as experiments
from lcjax.engine import optimizer as optimizers
from lcjax.models import params
from lcjax.models.interfaces import ParameterGroups

ROOT = pathlib.Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
FILES = {
    "dfc2020": dfc2020,
    "flair1": flair1,
    "pretrain": pretrain,
    "rasters": rasters,
    "classification": classification,
}
CASES = [
    ("dfc2020", ""),
    ("dfc2020", "model=unet,fusion=s1"),
    ("dfc2020", "model=unet,fusion=s2"),
    ("dfc2020", "model=unet,fusion=late"),
    ("dfc2020", "model=unet,tiny=true"),
    ("dfc2020", "model=unet,size=transposed"),
    ("dfc2020", "model=resnet18_unet"),
    ("dfc2020", "model=resnet34_unet"),
    ("dfc2020", "model=resnet50_unet"),
    ("dfc2020", "model=resnet50_unet,tiny=true"),
    ("dfc2020", "model=resnet101_unet"),
    ("dfc2020", "model=efficientnet_lite0_unet"),
    ("dfc2020", "model=swin_upernet"),
    ("dfc2020", "model=vit_pyramid"),
    ("dfc2020", "model=vit_pyramid,size=s"),
    ("dfc2020", "model=swin_unet"),
    ("dfc2020", "model=swin_unet,fusion=s2"),
    ("dfc2020", "model=swin_unet,size=b"),
    ("dfc2020", "model=swin_unet,tiny=true"),
    ("dfc2020", "model=two_stream_swin"),
    ("dfc2020", "model=two_stream_swin,init=runs/pretrain,freeze=encoder"),
    ("dfc2020", "model=two_stream_swin,init=runs/pretrain"),
    ("dfc2020", "model=two_stream_swin,tiny=true"),
    ("dfc2020", "model=two_stream_swin,init=runs/pretrain,freeze=encoder,tiny=true"),
    ("dfc2020", "data=sample"),
    ("dfc2020", "data=sample,model=two_stream_swin,tiny=true"),
    ("flair1", ""),
    ("flair1", "model=swin_unet,legend=flair1_13,split=report_by_zone"),
    ("flair1", "bands=rgb,split=report_64_16_20,legend=flair1_13"),
    ("flair1", "model=resnet34_unet,legend=flair1"),
    ("flair1", "model=swin_upernet,size=b"),
    ("flair1", "model=resnet34_unet,metadata=true"),
    ("flair1", "tiny=true"),
    ("pretrain", ""),
    ("pretrain", "data=dfc2020"),
    ("pretrain", "model=unet"),
    ("pretrain", "model=resnet50_unet"),
    ("pretrain", "model=swin_unet,tiny=true"),
    ("pretrain", "tiny=true"),
    ("pretrain", "data=sample"),
    ("pretrain", "data=sample,tiny=true"),
    ("pretrain", "objective=vicreg"),
    ("pretrain", "objective=masked"),
    ("pretrain", "model=unet,views=augmentations"),
    ("pretrain", "data=rasters,sensors=before+after,train=train"),
    ("rasters", ""),
    ("rasters", "model=swin_unet"),
    ("rasters", "validation=none"),
    ("rasters", "validation=none,laptop=true"),
    ("rasters", "model=efficientnet_lite0_unet,init=imagenet,laptop=true"),
    ("rasters", "model=two_stream_swin"),
    ("rasters", "fusion=early_plus_late:after+before"),
    ("rasters", "tiny=true"),
    ("rasters", "model=swin_unet,tiny=true"),
    ("classification", ""),
    ("classification", "fusion=s1"),
    ("classification", "fusion=early,labels=multi"),
    ("classification", "init=runs/pretrain,freeze=encoder"),
    ("classification", "labels=multi,init=runs/pretrain"),
    ("classification", "model=resnet50_unet,fusion=late,labels=multi,init=runs/pretrain_resnet50_unet,freeze=encoder"),
    ("classification", "data=flair1"),
    ("classification", "data=rasters"),
    ("classification", "data=sample,tiny=true"),
]


def parted(config: str) -> tuple[str, str]:
    """Name and argument of a --config."""
    name, argument = config.split(":")
    return name, argument


# A golden text for every cell of the report's tables, by recipe, and for what the report recommends.
CELLS = {
    (recipe, name): parted(config)
    for recipe in recipes.NAMES
    for name, config in cells.commands("runs/pretrain", recipe=recipe).items()
}
CASES += [case for case in CELLS.values() if case not in CASES]


def name_of(file: str, argument: str) -> str:
    words = argument.replace("runs/", "").split(",")
    return "_".join([file, *filter(None, words)])


def lines_of(config, prefix: str = "") -> list[str]:
    """Sorted lines "key: value" of a config, dots for what is nested."""
    lines = []
    for key, value in config.items():
        nested = hasattr(value, "items")
        lines += lines_of(value, f"{prefix}{key}.") if nested else [f"{prefix}{key}: {value!r}"]
    return sorted(lines)


# What decides on a network: networks take seconds to build.
_NETWORK = (
    "task",
    "dataset",
    "model",
    "fusion",
    "bands",
    "legend",
    "metadata",
    "views",
    "vicreg",
    "masked",
    "projection",
    "freeze",
    "labels",
    "least_share",
)


def sizes_of(config) -> tuple[int, int]:
    """(trained, frozen) parameters of the network that a config builds, from shapes alone."""
    optimizers.make_optimizer(config.optimizer, {"encoders/any": ParameterGroups()})
    return _sizes_of(json.dumps({key: config[key] for key in _NETWORK if key in config}, default=lambda v: v.to_dict()))


@functools.cache
def _sizes_of(network: str) -> tuple[int, int]:
    config = ml_collections.ConfigDict(json.loads(dfc2020.get_config().to_json()) | json.loads(network))
    task = tasks.make(config, card_of(config))
    template = params.Template(task.build, config.freeze)
    sizes = {path: math.prod(leaf.shape) for path, leaf in template.parameters.items()}
    frozen = sum(size for path, size in sizes.items() if template.is_frozen(path))
    return sum(sizes.values()) - frozen, frozen


def text_of(file: str, argument: str) -> str:
    config = FILES[file].get_config(argument)
    trained, frozen = sizes_of(config)
    return "\n".join([f"# {trained:,} parameters trained, {frozen:,} frozen", *lines_of(config)]) + "\n"


@pytest.mark.parametrize(("file", "argument"), CASES, ids=[name_of(*case) for case in CASES])
def test_config_equals_its_golden_text(file, argument):
    path = GOLDEN / f"{name_of(file, argument)}.txt"
    again = "if the change is meant: WRITE_GOLDEN=1 python -m pytest tests/test_configs.py"
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(text_of(file, argument))
    assert path.is_file(), f"{path} is missing; {again}"
    assert text_of(file, argument) == path.read_text(), again


def test_no_golden_text_is_left_over():
    assert {path.stem for path in GOLDEN.iterdir()} == {name_of(*case) for case in CASES}


def test_every_config_file_has_cases():
    files = {path.stem for path in (ROOT / "configs").glob("*.py")} - {"__init__", "arguments", "base", "registry"}
    assert files == FILES.keys() == {file for file, _ in CASES}


@pytest.mark.parametrize("file", FILES)
def test_the_docstring_names_every_argument(file):
    with pytest.raises(InputError) as raised:
        FILES[file].get_config("x=1")
    known = [part.partition("=")[0] for part in str(raised.value).partition("(defaults): ")[2].split(", ")]
    assert len(known) >= 3
    assert known == list(FILES[file].ARGUMENTS)
    assert all(f"\n  {key} " in FILES[file].__doc__ for key in known)


def test_every_field_has_a_meaning_and_every_meaning_a_field():
    fields = {name for file, argument in CASES for name in base.flat(FILES[file].get_config(argument))}
    assert not {name for name in fields if not base.meaning(name)}
    meanings = {*base.ALL_FIELDS, *(f"model.{name}" for name in base.MODEL)}
    assert meanings == fields


def test_a_meaning_is_one_line_that_says_more_than_the_name():
    for name in (*base.ALL_FIELDS, *(f"model.{name}" for name in base.MODEL)):
        assert len(base.meaning(name).split()) > 2 or name == "optimizer.name", name
        assert len(base.meaning(name)) <= 100 and "\n" not in base.meaning(name), name
    assert base.meaning("something.else") == ""


def test_nested_and_flat_are_opposite():
    values = {"a.b.c": 1, "a.d": (1, 2), "e": "f"}
    assert base.nested(values) == {"a": {"b": {"c": 1}, "d": (1, 2)}, "e": "f"}
    assert base.flat(ml_collections.ConfigDict(base.nested(values))) == base.flat(base.nested(values)) == values


@pytest.mark.parametrize("file", FILES)
def test_calls_share_nothing(file):
    first = FILES[file].get_config()
    first.model.name = "changed"
    first.split.train = "changed"
    assert FILES[file].get_config().to_json() != first.to_json()
    assert FILES[file].get_config(None).to_json() == FILES[file].get_config("").to_json()


def test_pretrained_encoders_fit_the_segmentation_run():
    for tiny in ("true", "false"):
        one = pretrain.get_config(f"tiny={tiny}")
        two = dfc2020.get_config(f"model=two_stream_swin,tiny={tiny}")
        assert one.model.to_dict() == two.model.to_dict()
        assert one.fusion == two.fusion == "late"


def test_arguments():
    defaults = {"model": "unet", "tiny": False}
    assert arguments.parse(None, defaults) == arguments.parse("", defaults) == defaults
    assert arguments.parse("tiny=True,model=a/b=c", defaults) == {"model": "a/b=c", "tiny": True}


@pytest.mark.parametrize("text", ["modle=unet", "model", "tiny=1", "tiny=", "=unet"])
def test_arguments_that_are_refused(text):
    with pytest.raises(InputError, match="config argument"):
        arguments.parse(text, {"model": "unet", "tiny": False})


@pytest.mark.parametrize("file", FILES)
def test_tiny_is_a_size_of_its_own(file):
    with pytest.raises(InputError, match="size=s,tiny=true"):
        FILES[file].get_config("model=vit_pyramid,size=s,tiny=true")


def test_two_streams_need_two_sensors():
    """How many there are the data tell: of one it is refused before anything is trained, or a single stream by name."""
    config = rasters.get_config("model=two_stream_swin")
    assert config.fusion == "late"
    with pytest.raises(
        InputError, match=r"config\.fusion='late': joins two sensors or more, .* expected one of image$"
    ):
        experiments.card_without_data(config, [RGB], CLASSES, 256, "rasters")
    assert rasters.get_config("model=two_stream_swin,fusion=image").fusion == "image"


@pytest.mark.parametrize("recipe", recipes.NAMES)
def test_runs_know_their_cell(recipe):
    """Every printed cell, under every recipe, and nothing else."""
    config_of = {name: FILES[file].get_config(text) for (of, name), (file, text) in CELLS.items() if of == recipe}
    assert {config.recipe for config in config_of.values()} == {recipe}
    printed = {name.replace("/", "_"): name for name in cells.PRINTED}
    assert {name: config.cell for name, config in config_of.items()} == {
        name: printed.get(name, "") for name in config_of
    }
    assert printed.keys() <= config_of.keys()


def test_what_is_no_cell_has_no_name():
    """Other fusions and sizes, and random encoders that are frozen: they have learned nothing."""
    for name, (file, argument) in (("s2/unet", ("dfc2020", "model=unet,fusion=s2")), ("flair/unet", ("flair1", ""))):
        assert FILES[file].get_config(argument).cell == name
        assert FILES[file].get_config(f"{argument},freeze=encoder").cell == ""
        assert FILES[file].get_config(f"{argument},size=transposed").cell == ""
    assert dfc2020.get_config("model=unet,fusion=late").cell == ""


def test_a_cell_that_began_with_weights_of_others_may_do_so():
    """It is the same cell; those that pre-train by themselves are no transfer of it."""
    for model in ("resnet50_unet", "resnet34_unet"):
        for init, cell in (
            ("resnet50-0676ba61.pth", "flair/resnet_unet"),
            ("weights/encoder.safetensors", "flair/resnet_unet"),
            ("hf:timm/resnet50.a1_in1k/model.safetensors", "flair/resnet_unet"),
            ("random", "flair/resnet_unet"),
            ("runs/pretrain_resnet50_unet", ""),
        ):
            assert flair1.get_config(f"model={model},fusion=aerial,init={init}").cell == cell, (model, init)
        assert flair1.get_config(f"model={model},fusion=aerial,init=a.pth,freeze=encoder").cell == ""
    assert cells.named("flair1", "resnet50_unet", "", "aerial", "imagenet", "") == "flair/resnet_unet"
    assert flair1.get_config("model=unet,fusion=aerial,init=a.pth").cell == ""
    published = "model=two_stream_swin,fusion=late,init=swin_t.pth"
    assert dfc2020.get_config(published).cell == "sentinel/ssl_finetuned"
    code = flair1.get_config("model=resnet34_unet,fusion=aerial,recipe=code,init=resnet34.pth")
    assert (code.optimizer.name, code.batch_size, code.init) == ("sgd", 5, "resnet34.pth")


@pytest.mark.parametrize(("recipe", "name"), CELLS)
def test_recipe_code_begins_and_decays_as_the_reference_did(recipe, name):
    file, argument = CELLS[recipe, name]
    config = FILES[file].get_config(argument)
    begins = {"unet": "pytorch", "two_stream_swin": "pytorch", "swin_unet": "swin_unet"}
    code = recipe == "code"
    assert config.initializer == (begins.get(config.model.name, "ours") if code else "ours")
    assert config.optimizer.decay_all == (code and config.optimizer.name != "sgd")
    if config.model.name == "unet":
        assert config.model.upsampling == ("align_corners" if code else "bilinear")


def test_the_lists_of_cells_are_of_recipes_that_there_are(capsys):
    cells.main(["--recipe=report"])
    assert {line.partition(" ")[2] for line in capsys.readouterr().out.splitlines()} == set(
        cells.commands("runs/pretrain", recipe="report").values()
    )
    with pytest.raises(SystemExit):
        cells.main(["--recipe=theirs"])
    assert "invalid choice: 'theirs'" in capsys.readouterr().err


def test_table_5_as_printed():
    """The report's Table 5: image size, batch size, optimiser, rate; its Tables 3 and 4: epochs."""
    printed = {
        "flair_unet": (224, 32, "adam", 0.001, "5 epochs"),
        "flair_swin_unet": (224, 32, "adam", 0.001, "45 epochs"),
        "flair_ssl_frozen": (224, 32, "adam", 0.00001, "45 epochs"),
        "flair_ssl_finetuned": (224, 32, "adam", 0.00001, "60 epochs"),
        "flair_resnet_unet": (224, 32, "sgd", 0.02, "60 epochs"),
    }
    for name, expected in printed.items():
        config = flair1.get_config(CELLS["report", name][1])
        optimizer = config.optimizer
        found = (config.resize, config.batch_size, optimizer.name, optimizer.learning_rate, config.total)
        assert found == expected, name


def test_what_was_called_frozen_was_trained():
    for name in ("sentinel_ssl_frozen", "s2_ssl_frozen", "flair_ssl_frozen"):
        freeze = {
            recipe: FILES[CELLS[recipe, name][0]].get_config(CELLS[recipe, name][1]).freeze for recipe in recipes.NAMES
        }
        assert freeze == {"ours": "encoder", "report": "encoder", "code": ""}


def test_recipes_are_of_the_cells_alone():
    with pytest.raises(InputError, match="recipe=report: the reference has no such run"):
        dfc2020.get_config("model=vit_pyramid,recipe=report")
    with pytest.raises(InputError, match="recipe=theirs: expected one of ours, report, code"):
        flair1.get_config("recipe=theirs")
