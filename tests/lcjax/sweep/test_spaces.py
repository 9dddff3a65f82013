"""The grammar of search spaces, and what is refused before a first trial."""

import pytest

import lcjax
from data_pipelines.schema.errors import InputError
from lcjax.sweep import spaces

CONFIGS = {
    name: lcjax.config(name, tiny=True, data="sample", **more)
    for name, more in (("dfc2020", {"model": "swin_unet"}), ("pretrain", {}), ("classification", {}))
}
CONFIG = CONFIGS["dfc2020"]


def parsed(field: str, line: str):
    return spaces.parse({field: line}, CONFIG)[field]


def test_numbers_words_and_steps():
    assert parsed("optimizer.learning_rate", "log 1e-5 1e-2") == spaces.Span(1e-5, 1e-2, log=True)
    assert parsed("batch_size", "uniform 8 32 step 8") == spaces.Span(8, 32, step=8, whole=True)
    assert parsed("dihedral", "choice true | False").values == {"true": True, "False": False}
    assert parsed("freeze", "choice '' | encoder").values == {"''": "", "encoder": "encoder"}
    assert parsed("augmentation.scale", "choice 1,1 | 0.5, 2").values == {"1,1": (1, 1), "0.5, 2": (0.5, 2)}
    assert parsed("optimizer.warmup", "choice 0 steps | 5 percent").value("5 percent") == "5 percent"


def test_what_would_have_to_be_drawn_for_a_value():
    step = parsed("batch_size", "uniform 8 32 step 8")
    assert [step.drawn(value) for value in (8, 24, 25, 40)] == [8, 24, None, None]
    fine = spaces.Span(0.0, 0.3, step=0.1)
    assert fine.drawn(0.1 + 0.2 - 0.1) is not None  # 0.20000000000000004
    assert parsed("augmentation.scale", "choice 1,1 | 0.5,2").drawn((1.0, 1.0)) == "1,1"
    drawn, outside = spaces.drawn_for({"batch_size": step, "crop": spaces.Span(100, 200, whole=True)}, CONFIG)
    assert (drawn, outside) == ({"batch_size": 8, "crop": None}, ["crop"])


@pytest.mark.parametrize(
    ("field", "line", "said"),
    [
        ("optimizer.lr", "log 1e-5 1e-2", "did you mean 'optimizer.learning_rate'"),
        ("optimizer.learning_rate", "log 1e-2 1e-5", "LOW 0.01 is not below HIGH 1e-05"),
        ("optimizer.learning_rate", "uniform 1 1", "LOW 1 is not below HIGH 1"),
        ("optimizer.learning_rate", "log 0 1", "LOW 0 has no logarithm"),
        ("optimizer.learning_rate", "log 1e-5 inf", "expected a finite number"),
        ("optimizer.learning_rate", "log 1e-5", 'expected "log LOW HIGH"'),
        ("optimizer.learning_rate", "1e-5 1e-2", 'expected "log LOW HIGH"'),
        ("optimizer.learning_rate", "uniform -1 1", "expected 0 or more"),
        ("optimizer.momentum", "uniform 0 1", "expected 0 to below 1"),
        ("optimizer.learning_rate", "log 0.1 1 step 0.1", "log takes no step"),
        ("batch_size", "uniform 8 32 step 5", "no whole number of steps from LOW; expected such as 28"),
        ("batch_size", "uniform 8 32 step 0", "STEP 0; expected one above 0"),
        ("batch_size", "uniform 8.5 32", "found '8.5', expected a whole number"),
        ("batch_size", "uniform 0 32", "expected 1 to"),
        ("dihedral", "uniform 0 1", "the field is no number"),
        ("dihedral", "choice yes | no", "found 'yes', expected true or false"),
        (
            "optimizer.name",
            "choice adamw | lamp",
            "config.optimizer.name='lamp': expected adamw, adam, sgd, lars or lamb",
        ),
        ("optimizer.name", "choice adamw", "expected two values or more"),
        ("optimizer.name", "choice adamw | adamw", "stands there twice"),
        ("augmentation.scale", "choice 1,1 | wide", "expected numbers with commas"),
        ("seed", "uniform 0 9", "is luck"),
        ("split.validation", "choice train | test", "other records"),
        ("total", "choice 10 steps | 20 steps", "--config.total=VALUE"),
        ("model.name", "choice unet | swin_unet", "make a study of each"),
    ],
)
def test_a_line_says_what_is_wrong_with_it(field, line, said):
    with pytest.raises(InputError) as error:
        parsed(field, line)
    assert said in str(error.value) and field in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "field", "line", "said"),
    [
        ("classification", "labels", "choice single | multi", "other records or labels"),
        ("classification", "least_share", "log 0.001 0.5", "other records or labels"),
        ("pretrain", "crop", "choice 32 | 64", "their middle of this size"),
        ("pretrain", "evaluation_batch_size", "choice 4 | 8", "the places of one such batch"),
        ("pretrain", "probe.test", "choice train | test", "it changes no score"),
    ],
)
def test_what_trials_are_scored_on_is_not_searched(name, field, line, said):
    with pytest.raises(InputError, match=rf"space {field}: is not searched: .*{said}"):
        spaces.parse({field: line}, CONFIGS[name])


@pytest.mark.parametrize(
    ("name", "monitor", "field", "line"),
    [
        ("pretrain", "loss", "temperature", "log 0.05 1"),
        ("pretrain", "alignment", "temperature", "log 0.05 1"),
        ("pretrain", "uniformity", "temperature", "log 0.05 1"),
        ("dfc2020", "loss", "loss", "choice cross_entropy | focal"),
        ("dfc2020", "loss/dice", "class_weights", "uniform 0 1"),
    ],
)
def test_what_makes_the_monitored_score_another_measure_is_not_searched(name, monitor, field, line):
    config = CONFIGS[name].copy_and_resolve_references()
    assert field in spaces.default(config) and spaces.parse({field: line}, config)
    config.monitor = monitor
    assert field not in spaces.default(config) and "optimizer.learning_rate" in spaces.default(config)
    with pytest.raises(InputError, match=rf"space {field}: is not searched: config.monitor='{monitor}' is no longer"):
        spaces.parse({field: line}, config)


def test_flags_name_each_field_once():
    assert spaces.from_flags(["config.crop=uniform 32 64", "loss=choice a | b=c"]) == {
        "crop": "uniform 32 64",
        "loss": "choice a | b=c",
    }
    with pytest.raises(InputError, match="expected FIELD=TEXT"):
        spaces.from_flags(["crop"])
    with pytest.raises(InputError, match="was given before"):
        spaces.from_flags(["crop=uniform 32 64", "crop=uniform 32 128"])
    with pytest.raises(InputError, match="the space is empty"):
        spaces.parse({}, CONFIG)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_has_a_space_that_holds_it(name):
    """So that trial 0 is the config as it is."""
    space = spaces.parse(spaces.default(CONFIGS[name]), CONFIGS[name])
    drawn, outside = spaces.drawn_for(space, CONFIGS[name])
    assert "optimizer.learning_rate" in space and not outside
    assert ("temperature" in space) == (name == "pretrain") and ("class_weights" in space) == (name != "pretrain")
    assert spaces.values(space, drawn)["optimizer.learning_rate"] == CONFIGS[name].optimizer.learning_rate
