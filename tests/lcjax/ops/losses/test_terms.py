"""What `config.loss` can say, and how it is told what it cannot."""

import pathlib
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import plain_losses
import pytest

from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE
from lcjax.ops import losses

OWN = """
def own(logits, labels, weights=None, /, *, power=2.0, quiet: "bool" = False):
    return (logits ** power).mean()

class Scaled:
    def __call__(self, logits, labels, weights=None):
        return logits.mean()

scaled = Scaled()
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_terms.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_terms", raising=False)
    monkeypatch.setattr(plugins, "_allowed", set())


def said(text):
    """(weight, name, parameters) of each term."""
    return [(t.weight, t.name, getattr(t.loss, "keywords", {})) for t in losses.pixel_loss(text).terms]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("cross_entropy", [(1.0, "cross_entropy", {})]),
        (
            "cross_entropy + 0.5 * tversky(alpha=0.3, beta=0.7)",
            [(1.0, "cross_entropy", {}), (0.5, "tversky", {"alpha": 0.3, "beta": 0.7})],
        ),
        (" 1e-1*dice( over = batch )+2e+1 * focal()", [(0.1, "dice", {"over": "batch"}), (20.0, "focal", {})]),
        ("boundary_cross_entropy(width=3)", [(1.0, "boundary_cross_entropy", {"width": 3})]),
    ],
)
def test_a_loss_is_read_as_it_is_said(text, terms):
    assert said(text) == terms
    losses.check_names(text)


def test_a_loss_alone_is_the_function_itself():
    assert losses.pixel_loss("cross_entropy").terms[0].loss is losses.cross_entropy


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "crossentropy",
            "^config.loss='crossentropy': did you mean 'cross_entropy'[?] expected one of cross_entropy, ",
        ),
        ("cross_entropy + dise", "^config.loss='dise': did you mean 'dice'[?] expected one of cross_entropy, focal, "),
        ("", "^config.loss='': expected a loss such as"),
        ("dice +", r"^config.loss='dice \+': a loss is missing after the last \+; expected"),
        ("cross_entropy - dice", "cannot read '- dice'; expected a loss such as"),
        ("cross_entropy dice", "cannot read 'dice'; expected"),
        ("(dice)", r"cannot read '\(dice\)'; expected"),
        ("focal(gamma=1", r"cannot read '\(gamma=1'; expected"),
        ("dice + dice", r"^config.loss='dice \+ dice': names 'dice' twice; say each loss once"),
        ("0 * dice", "the weight '0': expected a number above 0 and at most 1,000,000$"),
        ("nan * dice", "the weight 'nan': expected"),
        ("-1 * dice", "the weight '-1': expected"),
        ("much * dice", "the weight 'much': expected"),
        ("tversky(alhpa=1)", "tversky has no parameter 'alhpa': did you mean 'alpha'[?] it has alpha=0.3, beta=0.7, "),
        ("lovasz(alpha=1)", "lovasz has no parameter 'alpha': it has none$"),
        ("tversky(alpha=0)", r"tversky\(alpha=0\): expected a number, above 0 and at most 100$"),
        ("tversky(alpha=nan)", r"tversky\(alpha=nan\): expected a number, above 0 and at most 100$"),
        ("cross_entropy(smoothing=1)", "expected a number, at least 0 and below 1$"),
        ("dice(over=all)", r"dice\(over=all\): expected image or batch$"),
        ("boundary_cross_entropy(width=2.5)", "expected a whole number, at least 1 and at most 64$"),
        ("dice(over)", "cannot read 'over'; expected parameter=value, each once$"),
        ("dice(smooth=1, smooth=2)", "says 'smooth' twice; expected parameter=value, each once$"),
        ("dice + os:system", "^config.loss='os:system': comes from a file, which may not choose"),
    ],
)
def test_what_is_no_loss_is_told_in_one_line(text, says):
    with pytest.raises(InputError, match=says) as told:
        losses.pixel_loss(text)
    assert "\n" not in str(told.value)


def test_losses_of_others_stand_in_sums_and_take_parameters(own):
    text = "cross_entropy + 0.5 * own_terms:own(power=3, quiet=true) + own_terms:scaled"
    with pytest.raises(InputError, match=r"^config\.loss='own_terms:own': comes from a file"):
        losses.check_names(text)
    plugins.allow_named_in({"loss": text})
    losses.check_names(text)
    assert said(text)[1] == (0.5, "own_terms:own", {"power": 3.0, "quiet": True})
    logits, labels = np.full((1, 2, 2, 3), 2.0, np.float32), np.zeros((1, 2, 2), np.uint8)
    assert float(losses.pixel_loss(text)(logits, labels)) == pytest.approx(np.log(3) + 0.5 * 8 + 2)
    with pytest.raises(InputError, match=r"own_terms:own\(power=much\): expected a number$"):
        losses.pixel_loss("own_terms:own(power=much)")
    with pytest.raises(InputError, match=r"own_terms:scaled has no parameter 'size': it has none$"):
        losses.pixel_loss("own_terms:scaled(size=1)")


def test_a_sum_is_that_of_its_terms_by_weight():
    generator = np.random.default_rng(0)
    logits = generator.standard_normal((2, 3, 4, 4)).astype(np.float32)
    labels = np.where(generator.random((2, 3, 4)) < 0.3, IGNORE, generator.integers(0, 4, (2, 3, 4))).astype(np.uint8)
    loss = losses.pixel_loss("cross_entropy + 0.5 * dice + 2 * focal(gamma=1)")
    plain = (plain_losses.cross_entropy(), plain_losses.dice(), plain_losses.focal(1.0))
    expected = [one(logits.astype(np.float64), labels.astype(int)) for one in plain]
    values = jax.jit(loss.values)(logits, labels)
    assert list(values) == ["cross_entropy", "dice", "focal"]
    np.testing.assert_allclose(list(values.values()), expected, rtol=1e-5)
    np.testing.assert_allclose(loss(logits, labels), np.dot([1, 0.5, 2], expected), rtol=1e-5)


def test_what_is_no_function_is_refused(monkeypatch):
    monkeypatch.setattr(plugins, "_allowed", set())
    plugins.allow("math")
    with pytest.raises(InputError, match=r"^config\.loss='math:pi': found float, expected a function \(logits"):
        losses.pixel_loss("math:pi")


def test_parameters_are_shown_with_their_defaults():
    assert losses.shown(losses.PIXEL_LOSSES["tversky"]) == "(alpha=0.3, beta=0.7, smooth=0.0, over=image)"
    assert losses.shown(losses.PIXEL_LOSSES["lovasz"]) == ""
    assert losses.shown(object()) == ""


def test_the_loss_that_the_docs_show_is_what_they_say():
    text = (pathlib.Path(__file__).parents[4] / "docs" / "losses.md").read_text()
    shown: dict = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], shown)
    generator = np.random.default_rng(0)
    logits = generator.standard_normal((2, 3, 4, 5)).astype(np.float32)
    labels = np.where(generator.random((2, 3, 4)) < 0.3, IGNORE, generator.integers(0, 5, (2, 3, 4))).astype(np.uint8)
    expected = plain_losses.symmetric_cross_entropy(1.0, 0.5)(logits.astype(np.float64), labels.astype(int))
    np.testing.assert_allclose(shown["poly"](jnp.asarray(logits), labels, epsilon=2.0), expected, rtol=1e-5)
