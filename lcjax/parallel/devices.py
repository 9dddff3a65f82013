"""Where JAX computes: in words for a person, and in one line where it cannot."""

import collections
import os
import pathlib

import jax

from data_pipelines.schema.errors import InputError

_NVIDIA = pathlib.Path("/proc/driver/nvidia")  # is there where the driver of a GPU is loaded
# Platform that JAX_PLATFORMS can name -> the extra of lcjax that brings it.
_EXTRAS = {"cuda": "cuda", "gpu": "cuda", "tpu": "tpu"}


def check() -> None:
    """Raises InputError where JAX has no device of the platforms that JAX_PLATFORMS asks for."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # which of them depends on what is installed
        asked = os.environ.get("JAX_PLATFORMS", "")
        extras = dict.fromkeys(_EXTRAS[name] for name in asked.split(",") if name in _EXTRAS)
        install = " or ".join(f"pip install 'lcjax[{extra}]'" for extra in extras)
        told = " ".join(str(error).split())
        raise InputError(
            f"JAX_PLATFORMS={asked}: JAX finds no such device here{f' ({told:.160})' if told else ''}; "
            f"{f'{install}, or ' if install else ''}unset JAX_PLATFORMS to compute on what there is"
        ) from error


def where() -> str:
    """Where this run computes: "on 2 x NVIDIA H200", or "on CPU" and why."""
    found = collections.Counter(device.device_kind for device in jax.devices() if device.platform != "cpu")
    if found:
        return "on " + ", ".join(f"{count} x {kind}" for kind, count in found.items())
    count = jax.device_count()
    devices = f", as {count} devices" if count > 1 else ""
    return f"on CPU{devices} ({_why_not(os.environ.get('JAX_PLATFORMS', ''), nvidia=_NVIDIA.exists())})"


def _why_not(asked: str, *, nvidia: bool) -> str:
    """Why nothing faster computes."""
    if asked == "cpu":
        return "as JAX_PLATFORMS=cpu says"
    if nvidia:
        return "an NVIDIA driver is there, and JAX sees no GPU: pip install 'lcjax[cuda]'"
    return "no GPU or TPU found"
