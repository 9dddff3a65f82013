"""ONNX is kept only if onnxruntime answers as the network does; with the extra, the networks themselves."""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import make, smallest

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import S1, S2
from data_pipelines.schema.spec import Vector
from lcjax.export import exporter, onnx_format
from lcjax.ops import augment

EXAMPLES = [{"s2": np.full((1, 4, 4, 2), value, np.uint16)} for value in (900, 0)]


def network(inputs):
    return inputs["s2"].astype(jnp.float32) / 1000


@pytest.fixture
def written(monkeypatch):
    """A writer and a runtime that answer what the test says."""
    said = types.SimpleNamespace(error=None, answers=None)

    class Model:
        def SerializeToString(self):
            return b"a network"

    def to_onnx(function, shapes, *, output_names, **_):
        if said.error:
            raise said.error
        said.function, said.shapes, said.names = function, shapes, output_names
        return Model()

    class Session:
        def __init__(self, content, **_):
            assert content == b"a network"

        def run(self, _, images):
            (image,) = images.values()
            wrong = said.error_of_answers if image.min() == said.of else 0.0
            return [np.asarray(said.function(image)) + wrong]

    said.error_of_answers, said.of = 0.0, 0
    monkeypatch.setitem(sys.modules, "jax2onnx", types.SimpleNamespace(to_onnx=to_onnx))
    monkeypatch.setitem(sys.modules, "onnxruntime", types.SimpleNamespace(InferenceSession=Session))
    return said


def test_a_network_that_answers_alike_is_kept(written):
    assert onnx_format.converted(network, EXAMPLES, "run") == b"a network"
    assert written.shapes == [jax.ShapeDtypeStruct((1, 4, 4, 2), np.uint16)] and written.names == ["logits"]
    onnx_format.converted(network, EXAMPLES, "run", "embeddings")
    assert written.names == ["embeddings"]


@pytest.mark.parametrize("error", [2e-3, float("nan")])
@pytest.mark.parametrize("of", [900, 0])
def test_one_that_answers_otherwise_to_any_example_is_refused(written, error, of):
    written.error_of_answers, written.of = error, of
    with pytest.raises(InputError, match=r"^run, --onnx: onnxruntime answers otherwise than the network does"):
        onnx_format.converted(network, EXAMPLES, "run")


def test_answers_are_compared_over_what_sensors_hold():
    """Decibels are negative; pixels hold no data; numbers are not known."""
    vector = Vector("taken", ("x", "y", "day"), "where and when")
    full, gaps, nothing = onnx_format.drawn((S1, S2), (vector,), 12)
    for sensor in (S1, S2):
        image = full[sensor.name]
        assert image.shape == (1, 12, 12, len(sensor.bands)) and image.dtype == sensor.dtype
        scaled = np.asarray(augment.scale(jnp.asarray(image), sensor.scaling))
        assert scaled.min() == 0
        assert np.ptp(scaled) > 0.9
        assert (gaps[sensor.name][0, 0, 0] == 0).all() and (gaps[sensor.name] == image).mean() > 0.5
        assert not nothing[sensor.name].any()
    assert full["s1"].min() < -2500 and full["s1"].max() > 0 and full["s2"].max() > 10_000
    assert np.isfinite(full["taken"]).all() and np.isnan(gaps["taken"]).sum() == 2 and np.isnan(nothing["taken"]).all()


def test_one_that_cannot_be_written_is_told_in_one_line(written):
    written.error = NotImplementedError("no such operation\nand more")
    with pytest.raises(InputError) as caught:
        onnx_format.converted(network, EXAMPLES, "run")
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

    return onnx_format.converted(logits, onnx_format.drawn(sensors, (), 64), model)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["unet", "swin_unet", "two_stream_swin", "swin_upernet", "vit_pyramid", "efficientnet_lite0_unet"]
)
def test_these_networks_answer_alike(model):
    assert len(as_onnx(model)) > 10_000


@pytest.mark.slow
def test_these_are_refused():
    """When one of them answers alike, the page of exports has to say so."""
    why = "Unsupported pooling size"
    with pytest.raises(InputError, match=rf"^resnet18_unet, --onnx: this network cannot be written as ONNX .*{why}"):
        as_onnx("resnet18_unet")
