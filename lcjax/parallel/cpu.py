"""What makes a CPU compute fast, set before JAX begins; what the user has set stands.

docs/performance.md has the measurements.
"""

import importlib.metadata
import importlib.util
from collections.abc import Mapping, MutableMapping

from data_pipelines.reading import memory

# XLA hands convolutions to YNNPACK, which takes up to three times as long as Eigen for the gradients of kernels.
_FLAG = "--xla_cpu_experimental_ynn_fusion_type"
_VALUE = "-individual_convolution"
_TRIED = ("0.10.",)  # of jaxlib; another one may not know the flag, and would end the process
_PLUGINS = ("jax_plugins", "libtpu")  # packages that bring accelerators
_IN_WHICH_THREAD = "JAX_CPU_ENABLE_ASYNC_DISPATCH"  # by which the user tells JAX where to compute


def set_flags(environment: MutableMapping[str, str]) -> None:
    """Adds to XLA_FLAGS what is fast on CPUs, where nothing but a CPU computes and the flag is known and unset."""
    given = environment.get("XLA_FLAGS", "")
    is_path = bool(given) and not given.lstrip().startswith("-")  # XLA reads flags from a file, too
    if is_path or _FLAG in given or not _computes_alone(environment) or not _jaxlib().startswith(_TRIED):
        return
    environment["XLA_FLAGS"] = f"{given} {_FLAG}={_VALUE}".strip()


def keep_memory(environment: Mapping[str, str]) -> None:
    """Keeps the memory of each training step for the next, in this process; before JAX has met its devices.

    Not where an accelerator computes, nor where the user has said how memory is kept.
    """
    if not _keeps_memory(environment):
        return
    import jax

    # In this thread and in no other of JAX's, each of which would map what is large and hand it back.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    memory.keep_all()


def _keeps_memory(environment: Mapping[str, str]) -> bool:
    told = _IN_WHICH_THREAD in environment or memory.is_told(environment)
    return _computes_alone(environment) and not told


def _computes_alone(environment: Mapping[str, str]) -> bool:
    """Whether nothing but the CPU computes."""
    return environment.get("JAX_PLATFORMS", "") == "cpu" or not any(map(importlib.util.find_spec, _PLUGINS))


def told(environment: Mapping[str, str]) -> str:
    """What is set, in words for a person."""
    flags = [one for one in environment.get("XLA_FLAGS", "").split() if one.startswith(_FLAG)]
    kept = "kept for the next" if _keeps_memory(environment) else "left to the C library"
    return f"XLA_FLAGS: {flags[0] if flags else 'nothing for CPUs'}; memory of a training step: {kept}"


def _jaxlib() -> str:
    try:
        return importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return ""
