"""A network as ONNX, for runtimes without JAX: written by jax2onnx, and kept only if onnxruntime answers alike."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import jaxpr_as_fun

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import Sensor
from data_pipelines.schema.spec import Vector
from lcjax.models.kernels import forms
from lcjax.runs import loggers

FILE = "network.onnx"
CLOSE = 1e-4  # of the largest logit, or of 1
_PACKAGES = ("jax2onnx", "onnxruntime")

Network = Callable[[dict[str, Any]], jax.Array]
Inputs = Mapping[str, np.ndarray]


def check() -> None:
    """Raises InputError where the extra is missing."""
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise InputError(
            f"--onnx: needs {' and '.join(missing)}, which is not installed: pip install 'lcjax[onnx]', in an "
            "environment of its own (docs/export.md)"
        )


def converted(network: Network, examples: Sequence[Inputs], where: str, output: str = "logits") -> bytes:
    """The bytes of network.onnx.

    Args:
      network: {input name: array} -> logits or embeddings; its parameters are part of it.
      examples: inputs that onnxruntime must answer alike, one or more, all of the same shapes (`drawn`).
      where: begins messages.
      output: its name in the file, "logits" or "embeddings".

    Raises:
      InputError: jax2onnx cannot write the network, or onnxruntime answers otherwise than the network does.
    """
    import jax2onnx

    shapes = {name: jax.ShapeDtypeStruct(one.shape, one.dtype) for name, one in examples[0].items()}

    def of_images(*images: Any) -> jax.Array:
        return network(dict(zip(shapes, images, strict=True)))

    # Traced before jax2onnx replaces functions of Flax by its own, some of which take fewer arguments.
    with forms.plain():  # there is no platform to ask for
        traced = jaxpr_as_fun(jax.make_jaxpr(of_images)(*shapes.values()))
    try:
        # The writer warns of shapes that it does not know; onnxruntime infers them.
        with loggers.quiet("onnx_ir"):
            model = jax2onnx.to_onnx(
                lambda *images: traced(*images)[0],
                list(shapes.values()),
                input_names=list(shapes),
                output_names=[output],
            )
            content: bytes = model.SerializeToString()
            answers = _answers(content, examples)
    # Whatever it raises for an operation that it does not know, or onnxruntime for one that it cannot compute.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise InputError(
            f"{where}, --onnx: this network cannot be written as ONNX ({type(error).__name__}: {reason}); leave --onnx "
            "out: the program for JAX is not touched by it"
        ) from error
    run = jax.jit(of_images)
    for answer, images in zip(answers, examples, strict=True):
        wanted = np.asarray(run(*images.values()))
        difference, most = float(np.abs(answer - wanted).max()), max(1.0, float(np.abs(wanted).max()))
        if not difference <= CLOSE * most:
            raise InputError(
                f"{where}, --onnx: onnxruntime answers otherwise than the network does, by up to {difference:.2g} of "
                f"{most:.2g}, expected at most {CLOSE * most:.2g}; nothing was written as ONNX; leave --onnx out"
            )
    return content


def drawn(sensors: Sequence[Sensor], vectors: Sequence[Vector], edge: int) -> list[Inputs]:
    """Inputs to compare the answers of: what the sensors can hold and more; the same with gaps; and nothing known.

    Args:
      sensors: of the images, (1, edge, edge, bands).
      vectors: of the numbers beside them.
      edge: pixels.
    """
    generator = np.random.default_rng(0)
    full = {s.name: _image(s, generator, edge) for s in sensors}
    full |= {v.name: generator.uniform(0, 3000, (1, len(v.numbers))).astype(np.float32) for v in vectors}
    gaps = {name: one.copy() for name, one in full.items()}
    for sensor in sensors:
        gaps[sensor.name][:, : edge // 2, : edge // 3] = 0
    for vector in vectors:
        gaps[vector.name][:, ::2] = np.nan
    nothing = {s.name: np.zeros_like(full[s.name]) for s in sensors}
    return [full, gaps, nothing | {v.name: np.full_like(full[v.name], np.nan) for v in vectors}]


def _image(sensor: Sensor, generator: np.random.Generator, edge: int) -> np.ndarray:
    """An image of stored numbers, some of which lie beyond what the scaling cuts off."""
    scaling = sensor.scaling
    offset, scale = np.asarray(scaling.offset), np.asarray(scaling.scale)
    low, high = np.maximum(scaling.low, offset - 5 * scale), np.minimum(scaling.high, offset + 5 * scale)
    share = generator.uniform(-0.1, 1.1, (1, edge, edge, len(sensor.bands)))
    stored = (low + share * (high - low)) / scaling.unit
    if np.issubdtype(sensor.dtype, np.integer):
        held = np.iinfo(sensor.dtype)
        stored = np.clip(np.rint(stored), held.min, held.max)
    return stored.astype(sensor.dtype)


def _answers(content: bytes, examples: Sequence[Inputs]) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return [np.asarray(session.run(None, dict(images))[0]) for images in examples]
