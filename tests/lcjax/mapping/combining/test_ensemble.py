"""Several networks as one: the mean of what they say, how far they disagree, and who may stand together."""

import dataclasses
import json
import math

import jax.numpy as jnp
import numpy as np
import pystac
import pytest
import rasterio
import worlds
from printed import printed
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.schema.errors import InputError
from lcjax.engine import restore
from lcjax.mapping import scene as scenes
from lcjax.mapping import scene_list
from lcjax.mapping.acquisition import parse_date
from lcjax.mapping.combining import ensemble
from lcjax.mapping.mapper import Mapper
from lcjax.mapping.options import Options
from lcjax.ops import reliability
from lcjax.runs.model_card import Card


@pytest.fixture
def world(tmp_path):
    return worlds.make(tmp_path)


def soft(number):
    """A network that is not sure, each number in its own way; it looks at its tile alone, pixel by pixel."""

    def answer(inputs):
        band = inputs["s2"][..., number].astype(np.float32)[..., None]
        logits = 3 * np.sin(band / 400 + np.arange(8, dtype=np.float32) * (1 + number))
        shares = np.exp(logits)
        return (shares / shares.sum(-1, keepdims=True)).astype(np.float32)

    return answer


def member(number, card=None):
    tags = {"LCJAX_MODEL": "fake", "LCJAX_CHECKPOINT": f"best, step {number}"}
    return Mapper(card or worlds.card(), soft(number), f"network {number}", tags)


def draw(world, output, mapper, **options):
    with (
        printed() as said,
        scenes.open_scene(mapper.card, scene_list.parse_scene(world.text, mapper.card.sensors)) as s,
    ):
        mapper.map(s, output, Options(**options), date=parse_date("2020-08-23"))
    return said.text


def read(path):
    with rasterio.open(path) as raster:
        return raster.read()


def test_the_mutual_information_is_that_of_float64():
    shares = np.random.default_rng(0).dirichlet(np.full(5, 0.3), (3, 40)).astype(np.float32)
    shares[:, 0], shares[:, 1] = shares[0, 0], np.eye(5)[:3]
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = shares.astype(np.float64)

        def entropy(p):
            return -np.where(p > 0, p * np.log(p), 0).sum(-1)

        expected = (entropy(exact.mean(0)) - entropy(exact).mean(0)) / math.log(3)
    found = np.asarray(reliability.mutual_information(jnp.asarray(shares)))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert found[0] == 0 and found[1] == pytest.approx(1, abs=1e-6)


def test_the_map_is_of_the_mean_of_the_members(world):
    output = world.folder / "map.tif"
    members = [member(number) for number in (1, 3, 4)]
    draw(world, output, ensemble.of_members(members), probabilities=True, confidence=True, mutual_information=True)
    with rasterio.open(world.folder / "s2.tif") as raster:
        inputs = {"s2": np.moveaxis(raster.read(), 0, -1)[None]}
    exact = np.stack([soft(number)(inputs)[0] for number in (1, 3, 4)]).astype(np.float64)
    mean, valid = exact.mean(0), world.truth != 255
    levels = np.moveaxis(read(world.folder / "map_probabilities.tif"), 0, -1)
    assert abs(levels[valid] - 250 * mean[valid]).max() < 0.51
    two = np.sort(mean, -1)[..., -2:]
    clear = valid & (two[..., 1] - two[..., 0] > 1e-5)
    np.testing.assert_array_equal(read(output)[0][clear], DFC2020.id_of_index()[mean.argmax(-1)][clear])
    np.testing.assert_array_equal(read(output)[0] == 255, ~valid)

    def entropy(p):
        return -(p * np.log(p)).sum(-1)

    spread = (entropy(mean) - entropy(exact).mean(0)) / math.log(3)
    (found,) = read(world.folder / "map_mutual_information.tif")
    assert abs(found[valid] - 250 * spread[valid]).max() < 0.6 and set(found[~valid]) == {255}
    assert spread[valid].std() > 0.02 and 0 < spread[valid].min() < spread[valid].max() < 1


def test_what_lies_beside_it_says_whose_mean_it_is(world):
    output = world.folder / "map.tif"
    draw(world, output, ensemble.of_members([member(1), member(3)]), mutual_information=True)
    assert (world.folder / "map_mutual_information.qml").is_file()
    item = json.loads(output.with_suffix(".json").read_text())
    JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, item["stac_version"])
    asset = item["assets"]["mutual_information"]
    assert asset["href"] == "map_mutual_information.tif" and asset["raster:scale"] == 1 / 250
    with rasterio.open(output) as result:
        tags = result.tags()
    assert tags["LCJAX_ENSEMBLE"] == item["properties"]["lcjax:ensemble"] == "mean of the probabilities of 2 networks"
    assert tags["LCJAX_CHECKPOINT"] == "best, step 1; best, step 3" and tags["LCJAX_MODEL"] == "fake"
    with rasterio.open(world.folder / "map_mutual_information.tif") as result:
        assert result.scales == (1 / 250,) and result.tags()["LCJAX_CALIBRATION"] == "none"
    assert "already mapped" in draw(world, output, ensemble.of_members([member(1), member(3)]), mutual_information=True)
    said = draw(world, output, ensemble.of_members([member(1), member(4)]), mutual_information=True)
    assert "already mapped" not in said


def shifted(card, by):
    """The same card, of a network that was trained on darker images: what it takes for no data is another number."""
    s1, s2 = card.sensors
    scaling = dataclasses.replace(s2.scaling, offset=s2.scaling.offset + by)
    return dataclasses.replace(card, sensors=(s1, dataclasses.replace(s2, scaling=scaling)))


def test_each_member_is_shown_no_data_as_its_own_scaling_has_it(world):
    seen = {}

    def spy(name):
        def answer(inputs):
            assert set(inputs) == {"s1", "s2"}
            seen.setdefault(name, []).append(inputs["s2"])
            return worlds.probabilities(inputs)

        return answer

    card = worlds.card(tile=99)
    other = shifted(card, 5000 * card.sensors[1].scaling.unit)
    members = [Mapper(each, spy(name), name, {}) for name, each in (("a", card), ("b", other))]
    draw(world, world.folder / "map.tif", ensemble.of_members(members), mutual_information=True)
    hole, first, second = world.truth[60:, 70:] == 255, seen["a"][0][0], seen["b"][0][0]
    assert hole.all()
    np.testing.assert_array_equal(first[60:, 70:], np.broadcast_to(card.sensors[1].empty, first[60:, 70:].shape))
    np.testing.assert_array_equal(second[60:, 70:], np.broadcast_to(other.sensors[1].empty, first[60:, 70:].shape))
    np.testing.assert_array_equal(first[:60], second[:60])
    assert (card.sensors[1].empty != other.sensors[1].empty).all()


def test_who_cannot_stand_together_is_said_before_any_is_restored(monkeypatch, tmp_path):
    card = worlds.card()
    s1, s2 = card.sensors
    fewer = dataclasses.replace(DFC2020, classes=DFC2020.classes[1:])
    cards = {
        "a": card,
        "same": shifted(card, 1.0),
        "fewer": dataclasses.replace(card, legend=fewer),
        "optical": dataclasses.replace(card, sensors=(s2,)),
        "bands": dataclasses.replace(card, sensors=(s1, s2.with_bands(s2.bands[:4]))),
        "fine": dataclasses.replace(card, sensors=(s1, dataclasses.replace(s2, ground_sampling=5.0))),
        "nowhere": dataclasses.replace(card, sensors=(s1, dataclasses.replace(s2, ground_sampling=None))),
        "tile": dataclasses.replace(card, tile=64),
    }
    monkeypatch.setattr(restore, "card_of", lambda folder, kind: cards[folder.name])
    assert ensemble.check([tmp_path / "a", tmp_path / "same"], "best") is card
    for name, words in (
        ("fewer", r"fewer: knows the classes no other; expected 1 Forest, as \S+a has"),
        ("optical", r"optical: takes s2; expected s1, s2, as"),
        ("bands", r"bands: its bands of s2 is B1, B2, B3, B4; expected B1,"),
        ("fine", r"fine: knows s2 with pixels of 5 m; expected 10 m, as"),
        ("nowhere", r"nowhere: knows s2 with pixels of any size; expected 10 m, as"),
        ("tile", r"tile: sees tiles of 64 pixels; expected 32, as"),
        ("a", r"a: stands there twice"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            ensemble.check([tmp_path / "a", tmp_path / name], "best")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"--workdir: 65 of them; expected at most 64"):
        ensemble.check([tmp_path / str(number) for number in range(65)], "best")


def test_one_network_under_two_names_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(Mapper, "of_workdir", lambda *_, **__: member(1))
    with pytest.raises(InputError, match=r"b: the same network as \S*a, which would count twice"):
        ensemble.of_workdirs([tmp_path / "a", tmp_path / "b"], "best")


def test_where_processes_wait_for_the_first_none_ends_them():
    """As multihost.leader_section calls it: None in, and None out when the first process is done."""
    answers = iter([np.full((1, 2, 2, 8), 1 / 8, np.float32)] * 2 + [None])
    members = [Mapper(worlds.card(), lambda batch: next(answers), str(number), {}) for number in range(2)]
    mapper = ensemble.of_members(members)
    assert mapper.probabilities(None).shape == (1, 2, 2, 9)
    assert mapper.probabilities(None) is None
    assert isinstance(mapper.card, Card)
