"""ONNX is kept only if onnxruntime answers as the network does; with the extra, the networks themselves."""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import make, smallest

from data_pipelines.schema.errors import InputError
from lcjax.export import exporter, onnx_format
from lcjax.ops import augment

SHAPES = {"s2": jax.ShapeDtypeStruct((1, 4, 4, 2), np.uint16)}


def network(inputs):
    return inputs["s2"].astype(jnp.float32) / 1000


@pytest.fixture
def written(monkeypatch):
    """A writer and a runtime that answer what the test says."""
    said = types.SimpleNamespace(error=None, answers=None)

    class Model:
        def SerializeToString(self):
            return b"a network"

    def to_onnx(function, shapes, **_):
        if said.error:
            raise said.error
        said.function, said.shapes = function, shapes
        return Model()

    class Session:
        def __init__(self, content, **_):
            assert content == b"a network"

        def run(self, _, images):
            (image,) = images.values()
            return [np.asarray(said.function(image)) + said.error_of_answers]

    said.error_of_answers = 0.0
    monkeypatch.setitem(sys.modules, "jax2onnx", types.SimpleNamespace(to_onnx=to_onnx))
    monkeypatch.setitem(sys.modules, "onnxruntime", types.SimpleNamespace(InferenceSession=Session))
    return said


def test_a_network_that_answers_alike_is_kept(written):
    assert onnx_format.converted(network, SHAPES, "run") == b"a network"
    assert written.shapes == list(SHAPES.values())


@pytest.mark.parametrize("error", [2e-3, float("nan")])
def test_one_that_answers_otherwise_is_refused(written, error):
    written.error_of_answers = error
    with pytest.raises(InputError, match=r"^run, --onnx: onnxruntime answers otherwise than the network does"):
        onnx_format.converted(network, SHAPES, "run")


def test_one_that_cannot_be_written_is_told_in_one_line(written):
    written.error = NotImplementedError("no such operation\nand more")
    with pytest.raises(InputError) as caught:
        onnx_format.converted(network, SHAPES, "run")
    assert "(NotImplementedError: no such operation); leave --onnx out" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_the_extra(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs jax2onnx and onnxruntime, .*pip install 'lcjax\[onnx\]'"):
        exporter.write(trained, tmp_path / "exported", onnx=True)
    assert not (tmp_path / "exported").exists()


FAMILIES = (
    *("unet", "resnet18_unet", "efficientnet_lite0_unet", "swin_unet", "two_stream_swin", "swin_upernet"),
    "vit_pyramid",
)


@pytest.mark.slow
@pytest.mark.parametrize("model", FAMILIES)
def test_networks_of_every_family_answer_alike(model):
    pytest.importorskip("jax2onnx", reason="the extra onnx is not installed")
    config = smallest(model, "" if model == "two_stream_swin" else "s2")
    task, template, values, statistics = make(config)
    sensors = task.card.sensors

    def logits(inputs):
        net = template.merge(values, statistics, train=False)
        return net({s.name: augment.scale(inputs[s.name], s.scaling) for s in sensors})

    shapes = {s.name: jax.ShapeDtypeStruct((1, 64, 64, len(s.bands)), s.dtype) for s in sensors}
    assert len(onnx_format.converted(logits, shapes, model)) > 10_000
