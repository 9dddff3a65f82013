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


def as_onnx(model: str) -> bytes:
    """The smallest network of a family, as ONNX."""
    pytest.importorskip("jax2onnx", reason="the extra onnx is not installed")
    task, template, values, statistics = make(smallest(model, "" if model == "two_stream_swin" else "s2"))
    sensors = task.card.sensors

    def logits(inputs):
        net = template.merge(values, statistics, train=False)
        return net({s.name: augment.scale(inputs[s.name], s.scaling) for s in sensors})

    shapes = {s.name: jax.ShapeDtypeStruct((1, 64, 64, len(s.bands)), s.dtype) for s in sensors}
    return onnx_format.converted(logits, shapes, model)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["unet", "swin_unet", "two_stream_swin", "swin_upernet", "vit_pyramid"])
def test_these_networks_answer_alike(model):
    assert len(as_onnx(model)) > 10_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "why"), [("resnet18_unet", "Unsupported pooling size"), ("efficientnet_lite0_unet", "platform_index")]
)
def test_these_are_refused(model, why):
    """When one of them answers alike, the page of exports has to say so."""
    with pytest.raises(InputError, match=rf"^{model}, --onnx: this network cannot be written as ONNX .*{why}"):
        as_onnx(model)
