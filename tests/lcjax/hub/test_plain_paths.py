"""Paths of this machine are cut to their last part, and nothing else is touched."""

import dataclasses

import pytest

from lcjax.hub import plain_paths
from lcjax.runs import model_card


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/me/data", "data"),
        ("/home/me/data/", "data"),
        ("/weights.pth", "weights.pth"),
        ("~/data/town", "town"),
        (r"C:\Users\Joe Smith\x.npz", "x.npz"),
        (r"\\server\Joe Smith\x.npz", "x.npz"),
        ("/home/joe smith/client X/weights (1).pth", "weights (1).pth"),
        ("file:///home/joe/x", "x"),
        ("hf:org/name/file@abc", "hf:org/name/file@abc"),
        ("imagenet", "imagenet"),
        ("runs/pretrain", "runs/pretrain"),
    ],
)
def test_fields_that_hold_paths(text, left):
    assert plain_paths.of_path(text) == left
    assert plain_paths.of_config({"init": text})["init"] == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("file /home/me/list.csv, line 3", "file list.csv, line 3"),
        ("a=/a/b/c.tif and (/d/e)", "a=c.tif and (e)"),
        ("from /home/joe/proj(1)/c", "from c"),
        ("see file:///home/joe/x: old", "see x: old"),
        ("of list:/home/joe/clientX/train.txt", "of train.txt"),
        (r"in C:\Users\me\data", "in data"),
        ("https://host/a/b", "https://host/a/b"),
        ("train[:80%]+by_scene/test", "train[:80%]+by_scene/test"),
        ("W / m2 / sr, stored / 10000", "W / m2 / sr, stored / 10000"),
        ("road/track/path", "road/track/path"),
        ("~ 10 m", "~ 10 m"),
    ],
)
def test_prose(text, left):
    assert plain_paths.of_prose(text) == left


@pytest.mark.parametrize(
    ("spec", "left"),
    [
        ("list:/home/joe/clientX/train.txt[:80%]", "list:train.txt[:80%]"),
        ("list:/home/joe smith/client X/my train.csv", "list:my train.csv"),
        (r"list:C:\Users\Joe Smith\train.txt[10:]", "list:train.txt[10:]"),
        ("list:lists/train.txt", "list:train.txt"),
        ("train[:80%]+by_scene/test", "train[:80%]+by_scene/test"),
    ],
)
def test_splits(spec, left):
    assert plain_paths.of_split({"spec": spec, "warnings": ["of /a/b"]}) == {"spec": left, "warnings": ["of b"]}
    assert plain_paths.of_config({"split": {"test": spec}}) == {"split": {"test": left}}
    assert plain_paths.of_evaluation({"split": {"spec": spec}, "note": "as /a/b"}) == {
        "split": {"spec": left},
        "note": "as b",
    }


def test_a_config_is_touched_where_it_holds_paths_alone():
    fields = {
        "data_dir": "/home/joe",
        "legend": "Bare /rock/sand",
        "optimizer": {"no_decay": "/scale/x", "clip": 1.0},
        "model": {"name": "own:Net", "table": "/home/joe smith/table.npy", "files": ["/a/b", 3, None]},
    }
    assert plain_paths.of_config(fields) == fields | {
        "data_dir": "data",
        "model": {"name": "own:Net", "table": "table.npy", "files": ["b", 3, None]},
    }


def test_names_of_classes_bands_and_data_sets_stay(trained):
    card = model_card.read(trained)
    legend = card.legend
    classes = tuple(dataclasses.replace(one, name=f"Bare /rock/sand {one.name}") for one in legend.classes)
    sensors = tuple(dataclasses.replace(one, title="by /a/b", meaning="(/c/d)") for one in card.sensors)
    begun = model_card.Origin(source="/home/joe/run", sha256="", origin="unet on /a/b", bands="name", arrays={})
    odd = dataclasses.replace(
        card,
        legend=dataclasses.replace(legend, classes=classes),
        sensors=sensors,
        dataset="rasters//a/b 1.0.0",
        weights=begun,
        splits={"test": card.splits["test"] | {"spec": "list:/home/joe/x.txt"}},
    )
    plain = plain_paths.of_card(odd)
    assert (plain.legend, plain.sensors, plain.dataset) == (odd.legend, odd.sensors, odd.dataset)
    assert plain.weights["source"] == "run" and plain.splits["test"]["spec"] == "list:x.txt"
