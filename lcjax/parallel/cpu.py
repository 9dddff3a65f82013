"""What makes a CPU compute fast, set before JAX begins; what the user has set stands.

docs/performance.md has the measurements.
"""

import importlib.metadata
import importlib.util
from collections.abc import Mapping, MutableMapping

# XLA hands convolutions to YNNPACK, which takes up to three times as long as Eigen for the gradients of kernels.
_FLAG = "--xla_cpu_experimental_ynn_fusion_type"
_VALUE = "-individual_convolution"
_TRIED = ("0.10.",)  # of jaxlib; another one may not know the flag, and would end the process
_PLUGINS = ("jax_plugins", "libtpu")  # packages that bring accelerators


def set_flags(environment: MutableMapping[str, str]) -> None:
    """Adds to XLA_FLAGS what is fast on CPUs, where nothing but a CPU computes and the flag is known and unset."""
    given = environment.get("XLA_FLAGS", "")
    is_path = bool(given) and not given.lstrip().startswith("-")  # XLA reads flags from a file, too
    if is_path or _FLAG in given or not _computes_alone(environment) or not _jaxlib().startswith(_TRIED):
        return
    environment["XLA_FLAGS"] = f"{given} {_FLAG}={_VALUE}".strip()


def _computes_alone(environment: Mapping[str, str]) -> bool:
    """Whether nothing but the CPU computes."""
    return environment.get("JAX_PLATFORMS", "") == "cpu" or not any(map(importlib.util.find_spec, _PLUGINS))


def told(environment: Mapping[str, str]) -> str:
    """What is set, in words for a person."""
    flags = [one for one in environment.get("XLA_FLAGS", "").split() if one.startswith(_FLAG)]
    return f"XLA_FLAGS: {flags[0] if flags else 'nothing for CPUs'}"


def _jaxlib() -> str:
    try:
        return importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return ""
