"""Paths of this machine are cut to their last part, and nothing else is touched."""

import pytest

from lcjax.hub import plain_paths


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/me/data", "data"),
        ("/weights.pth", "weights.pth"),
        ("~/data/town", "town"),
        (r"C:\Users\me\data", "data"),
        ("file /home/me/list.csv, line 3", "file list.csv, line 3"),
        ("a=/a/b/c.tif and (/d/e)", "a=c.tif and (e)"),
        ("hf:org/name/file@abc", "hf:org/name/file@abc"),
        ("https://host/a/b", "https://host/a/b"),
        ("runs/pretrain", "runs/pretrain"),
        ("train[:80%]+by_scene/test", "train[:80%]+by_scene/test"),
        ("W / m2 / sr, stored / 10000", "W / m2 / sr, stored / 10000"),
        ("road/track/path", "road/track/path"),
        ("~ 10 m", "~ 10 m"),
    ],
)
def test_paths(text, left):
    assert plain_paths.without({"x": [text, 1.5, None, True]}) == {"x": [left, 1.5, None, True]}
