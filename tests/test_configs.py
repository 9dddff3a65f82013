"""Every config against its golden text: each value, and how many parameters its network trains and keeps frozen.

`WRITE_GOLDEN=1 python -m pytest tests/test_configs.py` writes the texts anew; look at the difference, then commit it.
"""

import functools
import math
import os
import pathlib

import pytest
from networks import card_of

from configs import arguments, dfc2020, flair1, pretrain, rasters
from data_pipelines.errors import InputError
from lcjax import optim, parameters, tasks

ROOT = pathlib.Path(__file__).parent.parent
GOLDEN = ROOT / "configs" / "golden"
FILES = {"dfc2020": dfc2020, "flair1": flair1, "pretrain": pretrain, "rasters": rasters}
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
    ("rasters", ""),
    ("rasters", "model=swin_unet"),
    ("rasters", "validation=none"),
    ("rasters", "validation=none,laptop=true"),
    ("rasters", "tiny=true"),
    ("rasters", "model=swin_unet,tiny=true"),
]


def name_of(file: str, argument: str) -> str:
    words = argument.replace("runs/pretrain", "pretrain").split(",")
    return "_".join([file, *filter(None, words)])


def lines_of(config, prefix: str = "") -> list[str]:
    """Sorted lines "key: value" of a config, dots for what is nested."""
    lines = []
    for key, value in config.items():
        nested = hasattr(value, "items")
        lines += lines_of(value, f"{prefix}{key}.") if nested else [f"{prefix}{key}: {value!r}"]
    return sorted(lines)


@functools.cache
def sizes_of(file: str, argument: str) -> tuple[int, int]:
    """(trained, frozen) parameters of the network that a config builds, from shapes alone."""
    config = FILES[file].get_config(argument)
    task = tasks.make(config, card_of(config))
    template = parameters.Template(task.build, config.freeze)
    optim.transformation(config.optimizer)
    sizes = {path: math.prod(leaf.shape) for path, leaf in template.parameters.items()}
    frozen = sum(size for path, size in sizes.items() if template.is_frozen(path))
    return sum(sizes.values()) - frozen, frozen


def text_of(file: str, argument: str) -> str:
    trained, frozen = sizes_of(file, without_what_changes_no_network(argument))
    counts = [f"# {trained:,} parameters trained, {frozen:,} frozen"]
    return "\n".join(counts + lines_of(FILES[file].get_config(argument))) + "\n"


def without_what_changes_no_network(argument: str) -> str:
    """The argument without what leaves a network as it is: networks take seconds to build."""
    return ",".join(part for part in argument.split(",") if not part.startswith(("data=", "init=", "validation=")))


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
    files = {path.stem for path in (ROOT / "configs").glob("*.py")} - {"__init__", "arguments"}
    assert files == FILES.keys() == {file for file, _ in CASES}


@pytest.mark.parametrize("file", FILES)
def test_the_docstring_names_every_argument(file):
    with pytest.raises(InputError) as raised:
        FILES[file].get_config("x=1")
    known = [part.partition("=")[0] for part in str(raised.value).partition("(defaults): ")[2].split(", ")]
    assert len(known) >= 3
    assert all(f"\n  {key} " in FILES[file].__doc__ for key in known)


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
    assert arguments.parse(None, **defaults) == arguments.parse("", **defaults) == defaults
    assert arguments.parse("tiny=True,model=a/b=c", **defaults) == {"model": "a/b=c", "tiny": True}


@pytest.mark.parametrize("text", ["modle=unet", "model", "tiny=1", "tiny=", "=unet"])
def test_arguments_that_are_refused(text):
    with pytest.raises(InputError, match="config argument"):
        arguments.parse(text, model="unet", tiny=False)


@pytest.mark.parametrize("file", FILES)
def test_tiny_is_a_size_of_its_own(file):
    with pytest.raises(InputError, match="size=s,tiny=true"):
        FILES[file].get_config("model=vit_pyramid,size=s,tiny=true")


@pytest.mark.parametrize("file", ["flair1", "rasters"])
def test_two_streams_need_two_sensors(file):
    with pytest.raises(InputError, match="there is one sensor here"):
        FILES[file].get_config("model=two_stream_swin")
