"""The page of a study, and its pictures."""

import pathlib
import types

import pytest

import lcjax
from lcjax.plotting import studies
from lcjax.sweep import page, spaces
from lcjax.sweep.study import Declaration, Trial

CONFIG = lcjax.config("dfc2020", model="unet", data="sample", tiny=True)
LINES = {
    "optimizer.learning_rate": "log 1e-5 1",
    "scaling": "choice sensor | standardised",
    "crop": "uniform 32 64 step 32",
}
NAME = "<b>a study & more</b>"


def trial(number, state="done", score: float | None = 0.4, rate=1e-3, reason=""):
    drawn = {"optimizer.learning_rate": rate, "scaling": "sensor", "crop": 32}
    scores = () if score is None else (score / 2, score)
    folder = pathlib.Path("studies/x/trials") / f"{number:04d}"
    return Trial(number, drawn, state, score, scores, reason, 3.0, folder, True)


@pytest.fixture
def study():
    declaration = Declaration(CONFIG.to_dict(), LINES, "tpe", "median", "mIoU_8", 2)
    space = spaces.parse(LINES, CONFIG)
    return types.SimpleNamespace(folder=pathlib.Path("studies/x"), name=NAME, declaration=declaration, space=space)


def test_the_page_says_what_was_found_and_escapes_what_it_shows(study):
    trials = [
        trial(0),
        trial(1, score=0.61, rate=0.9),
        trial(2, "pruned", 0.1),
        trial(3, "failed", None, reason="diverged: <x> is not finite"),
        trial(4, "running", None),
    ]
    files = page.render(study, trials, trials[1])
    text = files[page.FILE]
    assert "<b>a study" not in text and "&lt;b&gt;a study &amp; more&lt;/b&gt;" in text
    assert "5 trials (2 done, 1 pruned, 1 failed, 1 running)" in text
    assert "the config as it was, trial 0: 0.4000" not in text  # 1e-3 is not what the config has
    assert "optimizer.learning_rate 0.9 is at the upper end of its range" in text
    assert "diverged: &lt;x&gt; is not finite" in text and "trials/0003/output.log" in text
    assert text.count("data:image/webp") == 4 and "<script" not in text
    assert page.render(study, trials, trials[1]) == files
    table = files[page.TABLE].splitlines()
    assert table[0] == "trial,state,mIoU_8,evaluations,optimizer.learning_rate,scaling,crop,seconds,reason"
    assert table[2] == "1,done,0.61,2,0.9,sensor,32,3,"


def test_the_page_compares_with_the_config_as_it_was(study):
    as_it_is = CONFIG.optimizer.learning_rate
    study.declaration.config["crop"] = 32
    trials = [trial(0, rate=as_it_is), trial(1, score=0.5)]
    assert "the config as it was, trial 0: 0.4000" in page.render(study, trials, trials[1])[page.FILE]


@pytest.mark.parametrize("trials", [[], [trial(0, "failed", None, reason="x")], [trial(0, "running", 0.2)]])
def test_a_page_without_a_best_trial(study, trials):
    assert "No trial is done yet" in page.render(study, trials, None)[page.FILE]


def test_places_on_the_axes():
    rate = studies.Axis("rate", 1e-4, 1e-2, log=True)
    assert rate.share(1e-3) == pytest.approx(0.5) and rate.share(1e-4) == 0
    words = studies.Axis("word", 0, 2, words=("a", "b", "c"))
    assert [words.share(word) for word in "abc"] == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1e-5, 1, [1e-5, 1e-3, 0.1]),
        (1e-5, 1e-2, [1e-5, 1e-4, 1e-3, 1e-2]),
        (1e-4, 1e-2, [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]),
        (0.003, 0.05, [0.005, 0.01, 0.02, 0.05]),
        (0.9, 1.2, [0.9, 1.0, 1.1, 1.2]),
        (0.02, 0.03, [0.02, 0.025, 0.03]),
    ],
)
def test_numbers_along_an_axis_of_logarithms(low, high, ticks):
    assert studies.Axis("rate", low, high, log=True).ticks() == pytest.approx(ticks)


@pytest.mark.parametrize("ratio", [1.001, 1.5, 3, 7, 20, 99, 1e3, 1e5, 1e9, 1e14])
@pytest.mark.parametrize("low", [1e-8, 3.3e-4, 0.7, 6.0])
def test_every_axis_of_logarithms_has_numbers(low, ratio):
    ticks = studies.Axis("rate", low, low * ratio, log=True).ticks()
    assert 2 <= len(ticks) <= 5 and ticks == sorted(set(ticks))
    assert all(low * (1 - 1e-6) <= tick <= low * ratio * (1 + 1e-6) for tick in ticks)
