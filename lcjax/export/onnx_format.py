"""A network as ONNX, for runtimes without JAX: written by jax2onnx, and kept only if onnxruntime answers alike."""

import contextlib
import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.extend.core import jaxpr_as_fun

from data_pipelines.schema.errors import InputError

FILE = "network.onnx"
CLOSE = 1e-4  # of the largest logit, or of 1
_PACKAGES = ("jax2onnx", "onnxruntime")

Network = Callable[[dict[str, Any]], jax.Array]


def check() -> None:
    """Raises InputError where the extra is missing."""
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise InputError(
            f"--onnx: needs {' and '.join(missing)}, which is not installed: pip install 'lcjax[onnx]', in an "
            "environment of its own (docs/export.md)"
        )


def converted(network: Network, shapes: Mapping[str, jax.ShapeDtypeStruct], where: str) -> bytes:
    """The bytes of network.onnx.

    Args:
      network: {input name: array} -> logits; its parameters are part of it.
      shapes: of its inputs, all sizes fixed.
      where: begins messages.

    Raises:
      InputError: jax2onnx cannot write the network, or onnxruntime answers otherwise than the network does.
    """
    import jax2onnx

    def of_images(*images: Any) -> jax.Array:
        return network(dict(zip(shapes, images, strict=True)))

    # Traced before jax2onnx replaces functions of Flax by its own, some of which take fewer arguments.
    traced = jaxpr_as_fun(jax.make_jaxpr(of_images)(*shapes.values()))
    try:
        with _quiet():
            model = jax2onnx.to_onnx(
                lambda *images: traced(*images)[0],
                list(shapes.values()),
                input_names=list(shapes),
                output_names=["logits"],
            )
            content: bytes = model.SerializeToString()
            answers = _answers(content, images := _drawn(shapes))
    # Whatever it raises for an operation that it does not know, or onnxruntime for one that it cannot compute.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise InputError(
            f"{where}, --onnx: this network cannot be written as ONNX ({type(error).__name__}: {reason}); leave --onnx "
            "out: the program for JAX is not touched by it"
        ) from error
    wanted = np.asarray(jax.jit(of_images)(*images.values()))
    difference, most = float(np.abs(answers - wanted).max()), max(1.0, float(np.abs(wanted).max()))
    if not difference <= CLOSE * most:
        raise InputError(
            f"{where}, --onnx: onnxruntime answers otherwise than the network does, by up to {difference:.2g} of "
            f"{most:.2g}, expected at most {CLOSE * most:.2g}; nothing was written as ONNX; leave --onnx out"
        )
    return content


def _drawn(shapes: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, np.ndarray]:
    """Inputs to compare the answers of."""
    generator = np.random.default_rng(0)
    return {
        name: generator.uniform(0, 255 if shape.dtype == np.uint8 else 3000, shape.shape).astype(shape.dtype)
        for name, shape in shapes.items()
    }


def _answers(content: bytes, images: Mapping[str, np.ndarray]) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(images))[0])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of the writer about shapes that it does not know; onnxruntime infers them."""
    logger = logging.getLogger("onnx_ir")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
