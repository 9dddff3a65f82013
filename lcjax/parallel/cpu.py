"""What makes a CPU compute fast, set before JAX begins; what the user has set stands.

docs/performance.md has the measurements.
"""

import contextlib
import importlib.metadata
import importlib.util
import itertools
import os
import pathlib
import sys
from collections.abc import Mapping, MutableMapping

# XLA hands convolutions to YNNPACK, which takes up to three times as long as Eigen for the gradients of kernels.
_FLAG = "--xla_cpu_experimental_ynn_fusion_type"
_VALUE = "-individual_convolution"
_TRIED = ("0.10.",)  # of jaxlib; another one may not know the flag, and would end the process
_PLUGINS = ("jax_plugins", "libtpu")  # packages that bring accelerators
_TUNABLES, _HUGE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
LARGE_PAGES = {_TUNABLES: _HUGE}  # environment in which the C library asks for pages of 2 MB
_SCRIPTS = ("lcjax", "launch.py")
# Which programs have pages of 2 MB: "always", those that ask ("madvise"), "never".
_POLICY = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def set_flags(environment: MutableMapping[str, str]) -> None:
    """Adds to XLA_FLAGS what is fast on CPUs, where nothing but a CPU computes and the flag is known and unset."""
    given = environment.get("XLA_FLAGS", "")
    is_path = bool(given) and not given.lstrip().startswith("-")  # XLA reads flags from a file, too
    if is_path or _FLAG in given or not _computes_alone(environment) or not _jaxlib().startswith(_TRIED):
        return
    environment["XLA_FLAGS"] = f"{given} {_FLAG}={_VALUE}".strip()


def begin_with_large_pages() -> None:
    """Starts this program again, as the same process, with memory in pages of 2 MB, where the system offers them.

    A step allocates its arrays anew each time; in pages of 4 KB it takes up to half as long again. The C library reads
    how when a program begins, and then only. Only a command of its own is started again: not what a notebook, a
    debugger or a profiler runs.
    """
    if _TUNABLES in os.environ or not (_computes_alone(os.environ) and _on_request(_POLICY) and _is_command()):
        return
    with contextlib.suppress(OSError):  # where Python cannot be started the pages stay small
        os.execve(sys.executable, sys.orig_argv, os.environ | LARGE_PAGES)


def _computes_alone(environment: Mapping[str, str]) -> bool:
    """Whether nothing but the CPU computes."""
    return environment.get("JAX_PLATFORMS", "") == "cpu" or not any(map(importlib.util.find_spec, _PLUGINS))


def _is_command() -> bool:
    """Whether Python was started for `lcjax`, `python -m lcjax` or `python launch.py`, and for nothing around it."""
    words = list(itertools.dropwhile(lambda word: word.startswith("-") and word != "-m", sys.orig_argv[1:]))
    is_script = words[:1] == sys.argv[:1] and pathlib.Path(sys.argv[0]).name in _SCRIPTS
    return bool(sys.executable) and (words[:2] == ["-m", "lcjax"] or is_script)


def told(environment: Mapping[str, str], policy: pathlib.Path = _POLICY) -> list[str]:
    """What is set, in words for a person."""
    flag = next((one for one in environment.get("XLA_FLAGS", "").split() if one.startswith(_FLAG)), "")
    if _HUGE in environment.get(_TUNABLES, ""):
        pages = "in pages of 2 MB where it is large"
    elif _on_request(policy):
        pages = f"in pages of 4 KB; {_TUNABLES}={_HUGE} makes steps on a CPU faster (the verbs set it themselves)"
    else:
        pages = "in the pages that the system chooses"
    return [f"XLA_FLAGS: {flag or 'nothing for CPUs'}", f"memory: {pages}"]


def _jaxlib() -> str:
    try:
        return importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _on_request(policy: pathlib.Path) -> bool:
    """Whether a program has large pages if it asks, and else not."""
    try:
        return "[madvise]" in policy.read_text()
    except OSError:
        return False
