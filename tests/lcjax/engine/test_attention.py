"""config.attention: what a training step is made of, and what a chip has to prove before it runs kernels."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from networks import card_of, smallest

from data_pipelines.schema.errors import InputError
from lcjax.engine import attention
from lcjax.engine import experiment as experiments
from lcjax.export import exporter
from lcjax.models.kernels import check, halves
from lcjax.models.kernels.check import Agreement
from lcjax.models.kernels.plans import Attention, Head, Mlp, Windows


def experiment_of(asked, *, mode="jit", **fields):
    config = smallest("swin_unet", drop_path=0.5)
    config.update({"attention": asked, "batch_size": 16, **fields})
    config.parallel.mode = mode
    return experiments.build_from_card(config, card_of(config))


def text_of(experiment):
    if experiment.config.parallel.mode == "pmap":
        shown = experiment.synthetic_batch(experiment.config.batch_size)
        state = experiment.initial_state(*experiment.random_values())
        return experiment.lower(state, experiment.global_batch(shown)).as_text()
    return experiment.lower(*experiment.shapes()).as_text()


def test_without_a_tpu_auto_is_the_program_of_xla():
    auto, plain = (experiment_of(asked) for asked in ("auto", "xla"))
    assert auto.implementation == halves.XLA and attention.settled(auto) is auto
    assert text_of(auto) == text_of(plain)
    assert not auto.kernels()


@pytest.mark.parametrize(
    ("asked", "platform", "implementation"),
    [
        ("auto", "tpu", halves.PALLAS),
        ("auto", "gpu", halves.XLA),
        ("auto", "cpu", halves.XLA),
        ("pallas", "tpu", halves.PALLAS),
        ("pallas", "cpu", halves.INTERPRET),
        ("xla", "tpu", halves.XLA),
    ],
)
def test_what_is_asked_for(asked, platform, implementation):
    assert halves.implementation(asked, platform) == implementation


def test_kernels_that_are_not_there_cannot_be_asked_for():
    config = smallest("unet")
    config.attention = "pallas"
    experiment = experiments.build_from_card(config, card_of(config))
    with pytest.raises(InputError, match=r"config\.attention='pallas': no block of unet has a kernel"):
        attention.settled(experiment)


@pytest.fixture(scope="module")
def with_kernels():
    return experiment_of("pallas", accumulate=2, remat=True)


def test_the_kernels_of_a_step_are_known_before_it_is_compiled(with_kernels):
    """Two stages of blocks at 8 and 4 tokens, with shifted windows and without; one example of each part a device."""
    assert set(with_kernels.kernels()) == {
        Attention(Windows(8, 8, 4, 0), 1, 8, 1, "float32", interpret=True),
        Attention(Windows(8, 8, 4, 2), 1, 8, 1, "float32", interpret=True),
        Attention(Windows(4, 4, 4, 0), 1, 16, 2, "float32", interpret=True),
        Mlp(1, 8, 8, 8, "float32", interpret=True),
        Mlp(1, 4, 4, 16, "float32", interpret=True),
        Head(1, 8, 8, 8, 8, 4, 8, "float32", interpret=True),
    }
    assert with_kernels.kernels() == experiment_of("pallas", accumulate=2, mode="pmap").kernels()


def test_parameters_flops_and_export_know_nothing_of_it(with_kernels):
    plain = experiment_of("xla", accumulate=2, remat=True)
    assert with_kernels.template.parameters == plain.template.parameters
    assert with_kernels.needed_flops() == plain.needed_flops()
    programs = [
        exporter.trace(one.task, one.config, one.card, one.template).mlir_module() for one in (with_kernels, plain)
    ]
    assert programs[0] == programs[1]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_a_step_of_kernels_is_the_step(mode):
    """On eight devices, with fsdp, parts and remat."""
    found = {}
    for asked in ("xla", "pallas"):
        experiment = experiment_of(asked, mode=mode, accumulate=2, remat=True)
        state = experiment.initial_state(*experiment.random_values())
        batch = experiment.global_batch(experiment.synthetic_batch(16))
        after, metrics = experiment.compile(state, batch)(state, batch)
        found[asked] = jax.device_get((after.opt_state, metrics))
    for plain, kernel in zip(*map(jax.tree.leaves, found.values()), strict=True):
        np.testing.assert_allclose(kernel, plain, rtol=1e-3, atol=1e-5 * (1e-6 + np.max(np.abs(plain))))


KERNELS = [Attention(Windows(4, 4, 4, 0), 1, 8, 1, "float32"), Mlp(1, 4, 4, 8, "float32")]


@pytest.fixture
def hopeful(monkeypatch):
    """An experiment that would run kernels, as one on TPUs."""
    monkeypatch.setattr(experiments.Experiment, "kernels", lambda self: KERNELS)
    return dataclasses.replace(experiment_of("auto"), implementation=halves.PALLAS)


def agreeing(by: float, asked: list):
    def agreement(half, implementation, device):
        asked.append(half)
        return Agreement(by / 2, by)

    return agreement


def test_kernels_that_agree_are_taken_and_kept(hopeful, tmp_path, monkeypatch):
    asked: list = []
    monkeypatch.setattr(check, "agreement", agreeing(0.01, asked))
    chosen = attention.settled(hopeful, tmp_path)
    assert chosen.implementation == halves.PALLAS and asked == KERNELS
    kept = json.loads((tmp_path / attention.FILE).read_text())
    assert kept["implementation"] == "pallas" and "gradients to 1.0e-02" in kept["why"]
    # The run goes on with what it has begun with, though kernels would fail now.
    monkeypatch.setattr(check, "agreement", agreeing(float("nan"), asked))
    count = len(asked)
    assert attention.settled(hopeful, tmp_path).implementation == halves.PALLAS
    assert len(asked) == count


@pytest.mark.parametrize("by", [0.2, float("nan")])
def test_kernels_that_differ_are_not_taken(hopeful, tmp_path, monkeypatch, by):
    monkeypatch.setattr(check, "agreement", agreeing(by, []))
    assert attention.settled(hopeful, tmp_path).implementation == halves.XLA
    assert "differs from the plain block" in json.loads((tmp_path / attention.FILE).read_text())["why"]
    # Nor when the run goes on.
    monkeypatch.setattr(check, "agreement", agreeing(0.0, []))
    assert attention.settled(hopeful, tmp_path).implementation == halves.XLA


def test_kernels_that_the_compiler_refuses_are_not_taken(hopeful):
    """This machine has no TPU, so that its compiler refuses them."""
    assert attention.settled(hopeful).implementation == halves.XLA


def test_another_kind_of_device_is_asked_anew(hopeful, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "agreement", agreeing(0.01, []))
    attention.settled(hopeful, tmp_path)
    fields = json.loads((tmp_path / attention.FILE).read_text())
    (tmp_path / attention.FILE).write_text(json.dumps(fields | {"device": "TPU v4", "implementation": "xla"}))
    assert attention.settled(hopeful, tmp_path).implementation == halves.PALLAS


@pytest.mark.parametrize(
    "text", ["{", json.dumps({"schema_version": 2, "implementation": "cuda", "device": "cpu", "why": ""})]
)
def test_a_damaged_choice_is_refused(hopeful, tmp_path, text):
    (tmp_path / attention.FILE).write_text(text)
    with pytest.raises(InputError, match=r"attention\.json"):
        attention.settled(hopeful, tmp_path)


def test_the_interpreter_is_warned_of(capsys):
    attention.settled(experiment_of("pallas"))
    assert "take auto or xla" in "".join(capsys.readouterr())


def test_a_kernel_is_compared_value_and_gradients():
    halves_of = (
        Attention(Windows(5, 8, 4, 2), 1, 8, 2, "float32", interpret=True),
        Mlp(1, 3, 5, 8, "float32", interpret=True),
    )
    for half in halves_of:
        agreement = check.agreement(half, halves.INTERPRET, jax.devices()[0])
        assert 0 < agreement.worst < check.TOLERANCE[halves.INTERPRET]
