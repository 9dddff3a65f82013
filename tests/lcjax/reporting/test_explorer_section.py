"""What the pictures of a page are made of are the samples of its runs."""

import base64
import json
import re
import zlib

import numpy as np
import pytest
from finished import make_run, seal

from data_pipelines.schema.errors import InputError
from lcjax.reporting import explorer_section, run_reader, tables


def table_of(*runs) -> tables.Table:
    (table,) = tables.tables(run_reader.read(list(runs)))
    return table


def unpacked(text: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)


def change(run, **arrays) -> dict[str, np.ndarray]:
    file = run / "evaluation" / "test" / "samples.npz"
    with np.load(file) as kept:
        made = dict(kept) | arrays
    np.savez(file, **made)
    seal(file.parent)
    return made


def embedded(table: tables.Table) -> dict:
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', explorer_section.section(table), re.DOTALL)
    return json.loads(text)


def test_pixels_are_those_that_the_runs_kept(tmp_path):
    first, second = make_run(tmp_path / "a", 0), make_run(tmp_path / "b", 1)
    levels = np.random.default_rng(0).integers(0, 251, (2, 16, 16)).astype(np.uint8)
    kept = change(first, confidence=levels)
    other = change(second, ids=np.array(["p1", "p7"]))  # the first run's p1 is the second run's first
    found = embedded(table_of(first, second))
    assert found["records"] == ["p1"] and (found["height"], found["width"]) == (16, 16)
    image = kept["image"][1] if found["runs"][0]["name"] == "a" else other["image"][0]
    assert abs(unpacked(found["image"][0]).astype(int) - image.ravel()).max() <= 2
    runs = {run["name"]: run for run in found["runs"]}
    np.testing.assert_array_equal(unpacked(runs["a"]["prediction"][0]), kept["prediction"][1].ravel())
    shown = unpacked(runs["a"]["confidence"][0]).astype(int)
    assert abs(shown - levels[1].ravel()).max() <= 2 and set(shown.tolist()) <= set(range(0, 251, 5))
    np.testing.assert_array_equal(unpacked(runs["b"]["prediction"][0]), other["prediction"][0].ravel())
    assert "confidence" not in runs["b"]
    assert {"id": 3, "name": "Savanna (not scored)", "colour": "#fbff13"} in found["classes"]
    assert found["scored"] == [1, 2, 4, 5, 6, 7, 9, 10] and found["scale"] == 250


def test_runs_without_pictures_have_no_such_part(tmp_path):
    assert explorer_section.section(table_of(make_run(tmp_path / "a", 0, samples=False))) == ""


def test_a_confidence_of_another_size_is_refused(tmp_path):
    run = make_run(tmp_path / "a", 0)
    change(run, confidence=np.zeros((2, 16, 15), np.uint8))
    with pytest.raises(InputError, match=r"confidence: found the shape \(2, 16, 15\), expected \(2, 16, 16\)"):
        run_reader.read([run])
