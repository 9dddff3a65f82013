"""`lcjax benchmark --topology`: the training step compiled for a TPU pod on a machine that has none, and its bound."""

import dataclasses
import re
import time

import jax

from lcjax import steps, trial
from lcjax.parallel import mesh as meshes


@dataclasses.dataclass(frozen=True)
class Program:
    """What the compiler says of a step, for one chip; loops' bodies are counted once.

    Attributes:
      seconds: what compiling took.
      flops, bytes: computed; read and written.
      memory: the parts of what has to be held at once, bytes.
      text: the compiled program; empty where it does not fit.
      refusal: why the compiler gave up, one line; empty where it did not.
    """

    seconds: float
    flops: float = 0.0
    bytes: float = 0.0
    memory: dict[str, int] = dataclasses.field(default_factory=dict)
    text: str = ""
    refusal: str = ""


def compiled(experiment: trial.Trial, mesh) -> Program:
    """The training step of a config, compiled for the mesh as `train` does."""
    start = time.perf_counter()
    try:
        program = steps.compile_train_step(experiment.step(), *experiment.shapes(mesh))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return Program(time.perf_counter() - start, refusal=" ".join(str(error).split())[:1000])
    seconds = time.perf_counter() - start
    cost, memory = program.cost_analysis(), program.memory_analysis()
    parts = {
        "arguments": memory.argument_size_in_bytes,
        "outputs": memory.output_size_in_bytes,
        "aliased": memory.alias_size_in_bytes,
        "temporary": memory.temp_size_in_bytes,
        "code": memory.generated_code_size_in_bytes,
    }
    return Program(seconds, cost["flops"], cost["bytes accessed"], parts, program.as_text())
