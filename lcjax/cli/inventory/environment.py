"""This machine and this installation: versions, devices, memory, and what is missing for which extra."""

import glob
import os
import sys
import time
from collections.abc import Iterator
from importlib import metadata

import jax
import jax.numpy as jnp
from packaging.requirements import Requirement

import lcjax
from lcjax.parallel import cpu

_GIB = 1 << 30
# Devices that are there -> the extra with which JAX sees them.
_HARDWARE = {"cuda": ("/dev/nvidia[0-9]*",), "tpu": ("/dev/accel[0-9]*", "/dev/vfio/[0-9]*")}
_PLATFORMS = {"cuda": "gpu", "tpu": "tpu"}


def text() -> str:
    """Versions, devices, memory and missing extras, as lines."""
    folder = os.path.dirname(os.path.abspath(lcjax.__file__))
    lines = [f"lcjax {lcjax.__version__}, in {folder}", f"Python {sys.version.partition(' ')[0]}, {sys.executable}"]
    told = [f"  {name} {version or 'missing'}" for name, version in _packages().items()]
    lines += [
        "",
        "packages:",
        *(told or ["  what is needed is unknown: lcjax is not installed, only found (pip install .)"]),
    ]
    lines += ["", "devices:", *_devices()]
    lines += ["", f"host: {len(os.sched_getaffinity(0))} cores, {_memory()}"]
    lines += [f"  {cpu.told(os.environ)}"]
    missing = {extra: _missing(extra) for extra in _extras()}
    lines += ["", "extras:"]
    lines += [f"  {extra:<8} {'missing ' + ', '.join(lacks) if lacks else 'there'}" for extra, lacks in missing.items()]
    return "\n".join(lines)


def advice() -> list[str]:
    """What to install for what is not there and need not be."""
    return [
        f"for {extra}: pip install 'lcjax[{extra}]' ({', '.join(lacks)})"
        for extra in _extras()
        if (lacks := _missing(extra))
    ]


def problems() -> list[str]:
    """What does not work on this machine, each with what to do; empty where all does."""
    found = [f"{lack}: is needed; pip install '{lack}'" for lack in _missing("")]
    for extra, patterns in _HARDWARE.items():
        there = [path for pattern in patterns for path in glob.glob(pattern)]
        if there and jax.default_backend() != _PLATFORMS[extra]:
            chosen = os.environ.get("JAX_PLATFORMS")
            how = f"unset JAX_PLATFORMS={chosen}" if chosen else f"pip install 'lcjax[{extra}]'"
            found.append(f"{there[0]}: is there, and JAX computes on {jax.default_backend()}; {how}")
    started = time.monotonic()
    answer = float(jnp.ones((64, 64)).sum())
    if answer != 64 * 64:
        found.append(f"{jax.devices()[0]}: counts 64 x 64 ones as {answer} ({time.monotonic() - started:.1f} s)")
    return found


def _packages() -> dict[str, str]:
    """Version of each package that lcjax needs; empty where it is missing."""
    return {requirement.name: _version(requirement.name) for requirement in _requirements("lcjax", "")}


def _devices() -> list[str]:
    kinds: dict[tuple[str, str, int], int] = {}
    for device in jax.local_devices():
        limit = (device.memory_stats() or {}).get("bytes_limit", 0)
        key = (device.platform, device.device_kind, limit)
        kinds[key] = kinds.get(key, 0) + 1
    return [
        f"  {count} x {kind} ({platform}){f', {limit / _GIB:.1f} GiB each' if limit else ''}"
        for (platform, kind, limit), count in kinds.items()
    ]


def _memory() -> str:
    page = os.sysconf("SC_PAGE_SIZE")
    whole, free = (page * os.sysconf(name) / _GIB for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    return f"{whole:.1f} GiB of memory ({free:.1f} free)"


def _extras() -> list[str]:
    return metadata.metadata("lcjax").get_all("Provides-Extra") or [] if _version("lcjax") else []


def _missing(extra: str) -> list[str]:
    """Requirements of lcjax that are not met: of an extra, or with "" its own."""
    return [str(lack) for requirement in _requirements("lcjax", extra) for lack in _unmet(requirement)]


def _unmet(requirement: Requirement) -> Iterator[str]:
    version = _version(requirement.name)
    if not version or not requirement.specifier.contains(version, prereleases=True):
        yield f"{requirement.name}{requirement.specifier}"
        return
    for extra in requirement.extras:
        for further in _requirements(requirement.name, extra):
            yield from _unmet(further)


def _requirements(package: str, extra: str) -> list[Requirement]:
    """What a package needs on this machine: for an extra alone, or with "" by itself."""
    found = [Requirement(line) for line in metadata.requires(package) or ()] if _version(package) else []
    if not extra:
        return [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]
    of_extra = [one for one in found if one.marker and one.marker.evaluate({"extra": extra})]
    return [one for one in of_extra if one.marker and not one.marker.evaluate({"extra": ""})]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
