"""What a config asks for: taken from its fields, refused where it cannot be, one batch on any way of training it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import RGB, batch, card_of, logged, smallest, trained

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import SENSORS, Scaling
from lcjax import tasks
from lcjax.configs import base
from lcjax.ops import augment, augmentation, geometric, mixing, photometric
from lcjax.parallel import mesh as meshes
from lcjax.tasks import Contrastive, Segmentation

ON = {
    "group_jitter": 0.2,
    "brightness": 0.1,
    "contrast": 0.3,
    "gamma": 0.3,
    "blur": 1.0,
    "noise": 0.05,
    "drop_bands": 0.2,
    "scale": (0.5, 2.0),
    "aspect": 1.33,
    "cutmix": 0.5,
}


def config_with(task="segmentation", **fields):
    config = smallest("two_stream_swin" if task == "contrastive" else "swin_unet", task=task)
    base.assign(config, {f"augmentation.{name}": value for name, value in fields.items() if name in ON})
    base.assign(config, {name: value for name, value in fields.items() if name not in ON})
    return config


def test_every_field_is_taken_and_all_are_off():
    group = {name.partition(".")[2]: field for name, field in base.FIELDS.items() if name.startswith("augmentation.")}
    assert set(group) == set(ON) == set(Segmentation.augmentations) == {*Contrastive.augmentations, "cutmix"}
    config = smallest("unet")
    assert augmentation.photometric_of(config) == photometric.Photometric()
    assert augmentation.geometric_of(config) == geometric.Geometric()
    assert config.augmentation.cutmix == 0
    for kind in (photometric.Photometric, geometric.Geometric):
        assert {field.name: field.default for field in dataclasses.fields(kind)}.items() <= {
            name: field.default for name, field in group.items()
        }.items()
    assert augmentation.geometric_of(config_with(scale=(0.5, 2), aspect=1.5)) == geometric.Geometric((0.5, 2), 1.5)


def test_no_two_draws_share_a_number():
    numbers = [*photometric.DRAWS.values(), geometric.SCALE, mixing.CUTMIX]
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) > 2 + 256  # speckle and jitter count from 2 by sensor, of which a card has so many at most


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"cutmix": 0.5, "accumulate": 2}, "config.augmentation.cutmix=0.5: takes .* config.accumulate=2; expected 1,"),
        ({"cutmix": 0.5, "batch_size": 1}, "config.batch_size=1; expected 2 or more, or cutmix=0"),
        (
            {"cutmix": 0.5, "task": "contrastive"},
            "cutmix=0.5: the contrastive task takes .*aspect alone; set it to 0.0",
        ),
        (
            {"scale": (0.3, 0.5), "crop": 200},
            r"config.augmentation.scale=\(0.3, 0.5\): the tiles of 256 px hold no crop of 200 px .* 0.782 or more, or",
        ),
        ({"scale": (0.5, 0.9), "crop": 0}, "largest scale of 1 or more"),
        ({"speckle": -1}, "config.speckle=-1: expected 0"),
    ],
)
def test_what_does_not_go_together_is_refused(fields, says):
    task = fields.pop("task", "segmentation")
    config = config_with(task, **fields)
    with pytest.raises(InputError, match=says):
        augmentation.check(config, card_of(config).sensors, 256, tasks.named(task).augmentations)


@pytest.mark.parametrize(
    ("fields", "bands", "says"),
    [
        ({"gamma": 0.2}, ("s1", 2), r"config.augmentation.gamma=0.2: the network sees no light but s1 \(VV, VH\)"),
        ({"drop_bands": 0.2}, ("s2", 1), r"drop_bands=0.2: the network sees one band of each sensor, s2 \(B1\), and"),
    ],
)
def test_what_acts_on_no_band_is_refused(fields, bands, says):
    sensor, count = bands
    sensors = (SENSORS[sensor].with_bands(SENSORS[sensor].bands[:count]),)
    with pytest.raises(InputError, match=says):
        augmentation.check(config_with(**fields), sensors, 256, Segmentation.augmentations)


@pytest.mark.parametrize("name", ["group_jitter", "brightness", "contrast", "blur", "noise"])
def test_heights_alone_are_none_of_what_acts_on_light_and_radar(name):
    heights = (SENSORS["aerial"].with_bands(("elevation",)),)
    with pytest.raises(InputError, match=rf"augmentation.{name}=0.2: the network sees no light and no radar but "):
        augmentation.check(config_with(**{name: 0.2}), heights, 256, Segmentation.augmentations)


def test_the_scale_that_a_message_asks_for_is_enough():
    fields = {"scale": (0.5, 0.7), "crop": 210}
    with pytest.raises(InputError, match=r"a largest scale of 0\.821 or more"):
        augmentation.check(config_with(**fields), (RGB,), 256, Segmentation.augmentations)
    assert augmentation.check(config_with(scale=(0.5, 0.821), crop=210), (RGB,), 256, Segmentation.augmentations)


def test_a_task_that_knows_none_refuses_all():
    for name, value in ON.items():
        with pytest.raises(InputError, match=rf"augmentation.{name}=.* task takes no field of config.augmentation"):
            augmentation.check(config_with(**{name: value}), (RGB,), 256, tasks.Task.augmentations)


def test_tiles_without_room_are_told_of_beforehand():
    def said(**fields):
        return augmentation.check(config_with(**fields), (RGB,), 256, Segmentation.augmentations)

    assert said(scale=(0.5, 2.0), crop=128) == said(crop=0) == said(scale=(1.0, 2.0), crop=256) == ""
    assert said(scale=(0.5, 2.0), crop=224) == (
        "config.augmentation: scale=(0.5, 2.0) and aspect=1 need 448 px of a tile for a crop of 224 px, and the tiles "
        "have 256: scale is drawn from 0.875 to 2, and the aspect is less where it does not fit; a smaller config.crop "
        "leaves more room"
    )
    assert "need 171 px" in augmentation.check(
        config_with(scale=(0.9, 1.0), aspect=1.44, crop=128), (RGB,), 160, Segmentation.augmentations
    )


def test_windows_are_flipped_and_turned_by_the_same_draws():
    config = config_with(scale=(0.5, 2.0), aspect=1.33, crop=16)
    rows, columns = np.broadcast_arrays(*np.ogrid[:48, :48])
    image = np.broadcast_to(np.stack([rows, columns, rows], -1).astype(np.uint8), (32, 48, 48, 3))
    label = np.broadcast_to((5 * (rows // 8) + columns // 8).astype(np.uint8), (32, 48, 48))
    keys = augment.example_keys(0, 0, np.arange(32, dtype=np.uint32))
    sensors = (dataclasses.replace(RGB, scaling=dataclasses.replace(RGB.scaling, offset=0.0, scale=1.0)),)
    stored, corner = {"image": image, "label": label}, np.zeros((32, 2), np.int32)

    def shown(flip):
        config.dihedral = flip
        return jax.device_get(augmentation.augmented(stored, corner, keys, sensors, config))

    (images, labels), (turned, turned_labels) = shown(False), shown(True)
    expected = augment.crop_and_dihedral({"a": images["image"], "b": labels}, corner, keys, crop=0, flip=True)
    np.testing.assert_allclose(turned["image"], expected["a"], atol=1e-4)
    np.testing.assert_array_equal(turned_labels, expected["b"])
    # The label of a place is still that of its row and column, but on the borders between two.
    places = images["image"][..., :2]
    near = (np.abs((places + 0.5) % 8 - 4) > 3.9).any(-1)
    np.testing.assert_array_equal(
        labels[~near], (5 * ((places[..., 0] + 0.5) // 8) + (places[..., 1] + 0.5) // 8)[~near].astype(np.uint8)
    )


@pytest.mark.parametrize("task", ["segmentation", pytest.param("contrastive", marks=pytest.mark.slow)])
def test_all_of_it_trains_alike_under_jit_and_pmap(task):
    config = config_with(task, **{name: ON[name] for name in tasks.named(task).augmentations})
    config.parallel.mode = "pmap"
    replicas = logged(trained(config, 8, 16, 1)[3])
    config.parallel.mode = "jit"
    whole = logged(trained(config, 8, 16, 1)[3])
    for key, value in whole.items():
        np.testing.assert_allclose(replicas[key], value, rtol=2e-4, atol=1e-6, err_msg=key)


def test_one_device_and_eight_draw_alike():
    config = config_with(**ON)
    data = batch(config, 16, edge=64)
    sensors, images = card_of(config).sensors, {name: data[name] for name in ("s1", "s2", "label")}

    def run(images, corner, example):
        keys = augment.example_keys(0, jnp.int32(2), example)
        return augmentation.augmented(images, corner, keys, sensors, config)

    found = []
    for devices in (1, 8):
        mesh = meshes.make_mesh(devices, 1, 16)
        arrays = jax.device_put((images, data["corner"], data["example"]), meshes.batch_sharding(mesh))
        with jax.set_mesh(mesh):
            found.append(jax.device_get(jax.jit(run)(*arrays)))
    assert found[0][0]["s2"].shape == (16, 32, 32, 13)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-5), *found)


@pytest.mark.slow
def test_parts_of_a_batch_are_augmented_as_the_whole():
    on = {name: value for name, value in ON.items() if name != "cutmix"}
    whole = logged(trained(config_with(**on), 2, 8, 1)[3])
    parts = logged(trained(config_with(**on, accumulate=2), 2, 8, 1)[3])
    assert parts["OA"] == pytest.approx(whole["OA"], abs=1e-4)


def test_images_are_float32_for_networks_in_bf16():
    config = config_with(**ON, precision="bf16")
    data = batch(config, 4)
    keys = augment.example_keys(0, 0, data["example"])
    images = {name: data[name] for name in ("s1", "s2", "label")}
    floats, labels = jax.eval_shape(
        lambda images, corner, keys: augmentation.augmented(images, corner, keys, card_of(config).sensors, config),
        images,
        data["corner"],
        keys,
    )
    assert {str(image.dtype) for image in floats.values()} == {"float32"} and str(labels.dtype) == "uint8"


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("fields", [{}, {"scale": (0.5, 2.0), "aspect": 1.33}], ids=["crop", "rescaled"])
def test_all_sensors_and_the_label_take_every_augmentation_together(fields, axis):
    """Pixels say where they come from, in each of three sensors in its own way; labels say their row or column."""
    side, size = 32, 3
    place = np.stack(np.meshgrid(np.arange(size), np.arange(side), np.arange(side), indexing="ij"), -1)
    plain = dataclasses.replace(RGB, dtype="float32", scaling=Scaling(1.0, -np.inf, np.inf, 0.0, 1.0))
    factors = {"radar": 1.0, "s2_before": -2.0, "s2_after": 0.5}
    sensors = [dataclasses.replace(plain, name=name) for name in factors]
    images = {name: (factor * place).astype(np.float32) for name, factor in factors.items()}
    images["label"] = (side * place[..., 0] + place[..., 1 + axis]).astype(np.uint8)
    config = config_with(crop=8, cutmix=0.5, dihedral=True, **fields)
    window = augmentation.window(side, config)
    corner = np.random.default_rng(0).integers(0, side - window + 1, (size, 2)).astype(np.int32)
    draw = jax.jit(lambda keys: augmentation.augmented(images, corner, keys, sensors, config))
    seen = set()
    for seed in range(6):
        floats, label = jax.device_get(draw(jax.random.split(jax.random.key(seed), size)))
        for name, factor in factors.items():
            np.testing.assert_allclose(floats[name], factor * floats["radar"], atol=1e-4)
        example, at = np.rint(floats["radar"][..., 0]), floats["radar"][..., 1 + axis]
        np.testing.assert_array_equal(label // side, example)
        assert np.abs(label % side - at).max() <= 0.5 + 1e-3
        seen.add(label.tobytes())
    assert len(seen) == 6
