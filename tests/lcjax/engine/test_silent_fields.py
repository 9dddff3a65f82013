"""Fields that do nothing beside others are spoken of, and those that do something are not."""

import pytest

from lcjax.configs import dfc2020, flair1, pretrain, rasters
from lcjax.engine import silent_fields
from lcjax.runs import config_fields

SILENT = [
    ({"sampling.strength": 1.0}, "config.sampling.strength=1.0 does nothing with config.sampling.name='uniform'; it"),
    ({"class_weights_rule": "effective_number"}, "does nothing with config.class_weights=0.0; it needs a number above"),
    (
        {"class_weights_rule": "effective_number", "class_weights_fixed": (1.0, 2.0)},
        "config.class_weights_rule='effective_number' does nothing with config.class_weights=0.0",
    ),
    ({"optimizer.clip_by": "value", "optimizer.clip": 0.0}, "config.optimizer.clip_by='value' does nothing with"),
    ({"optimizer.no_decay": "head", "optimizer.weight_decay": 0.0}, "config.optimizer.no_decay='head' does nothing"),
    ({"optimizer.poly_power": 2.0}, "with config.optimizer.schedule='cosine'; it needs poly there"),
    ({"optimizer.plateau_patience": 3}, "it needs plateau there"),
    ({"optimizer.reference_batch": 64}, "it needs linear or sqrt there"),
]
HEARD = [
    {"sampling.strength": 1.0, "sampling.name": "rarity"},
    {"class_weights_rule": "effective_number", "class_weights": 0.99},
    {"class_weights_fixed": (1.0, 2.0)},
    {"optimizer.clip_by": "value"},
    {"optimizer.no_decay": "head"},
    {"optimizer.poly_power": 2.0, "optimizer.schedule": "poly"},
    {"optimizer.plateau_patience": 3, "optimizer.schedule": "plateau"},
    {"optimizer.reference_batch": 64, "optimizer.batch_rule": "sqrt"},
]


def config_of(fields, make=dfc2020):
    config = make.get_config("tiny=true")
    config.update_from_flattened_dict(fields)
    return config


@pytest.mark.parametrize(("fields", "words"), SILENT)
def test_what_does_nothing_is_told(fields, words):
    (line,) = silent_fields.warnings(config_of(fields), reads_labels=True)
    assert words in line


@pytest.mark.parametrize("fields", HEARD)
def test_what_does_something_is_not(fields):
    assert not silent_fields.warnings(config_of(fields), reads_labels=True)


def test_a_task_without_labels_has_no_weights_of_classes():
    fields = {"class_weights": 0.5, "class_weights_fixed": (1.0,)}
    lines = silent_fields.warnings(config_of(fields, pretrain), reads_labels=False)
    assert [line.split("=")[0] for line in lines] == ["config.class_weights", "config.class_weights_fixed"]
    assert all("a contrastive run reads no labels" in line for line in lines)


@pytest.mark.parametrize("make", [dfc2020, flair1, pretrain, rasters], ids=lambda make: make.__name__)
def test_no_config_of_ours_sets_what_does_nothing(make):
    for argument in ("", "tiny=true"):
        assert not silent_fields.warnings(make.get_config(argument), reads_labels=make is not pretrain)


def test_the_table_names_fields_that_there_are():
    named = {name for need in silent_fields._NEEDS for name in (need.field, need.other)} | {*silent_fields._OF_LABELS}
    assert named <= config_fields.FIELDS.keys()
