"""Launching runs of several processes, before JAX is imported: who started them, and how a lost one is reported.

When a process is lost or does not show up, JAX aborts the others at once with a page of traces. A run of several
processes is therefore watched: this process starts itself once more, waits, and reports in one line what happened.
"""

import ctypes
import glob
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING

from data_pipelines.schema.errors import InputError

if TYPE_CHECKING:
    from absl import flags as absl_flags

LOST = 4  # exit code: another process of the run is lost, or never came
STOPPED = 75  # exit code: EX_TEMPFAIL of sysexits.h; schedulers start such a job again
_NOTES = "LCJAX_NOTES"  # environment variable of the watched process: file descriptor for what JAX prints as it joins
_JOINED = "\njoined\n"
_PARENT = "LCJAX_PARENT"  # environment variable of a process that ends with the one that started it: that one's id
_waits = threading.Event()
_waits.set()
FLAGS = ("coordinator_address", "num_processes", "process_id")


class Lost(Exception):
    """Another process of the run never came, or cannot be reached."""


class Stopped(Exception):
    """The run was asked to stop by SIGTERM, and has saved its state."""


def define_flags(flags: ModuleType, values: "absl_flags.FlagValues") -> None:
    """Defines the flags of runs on several hosts.

    Args:
      flags: the module absl.flags, which is slow to import and so is handed in.
      values: where the flags are defined.
    """
    flags.DEFINE_enum(
        "distributed",
        "auto",
        ["auto", "off"],
        "auto joins the other processes where Slurm, Open MPI, Cloud TPU or Kubernetes started several; off does not.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "coordinator_address",
        None,
        "HOST:PORT of process 0, where nothing is there to be found; with --num_processes and --process_id.",
        flag_values=values,
    )
    flags.DEFINE_integer("num_processes", None, "Processes of the run, all together.", flag_values=values)
    flags.DEFINE_integer("process_id", None, "Which of them this one is, from 0.", flag_values=values)
    flags.DEFINE_integer(
        "join_timeout", 300, "Seconds to wait for the others at the start.", lower_bound=1, flag_values=values
    )
    flags.DEFINE_integer(
        "loss_timeout",
        30,
        "Seconds without a sign of life after which a process counts as lost.",
        lower_bound=5,
        flag_values=values,
    )


def started_by(values: "absl_flags.FlagValues", environment: Mapping[str, str]) -> str:
    """Returns who started this process as one of several: "flags", a name of `LAUNCHERS`, or "" for nobody.

    Args:
      values: the parsed flags of `define_flags`.
      environment: environment variables of this process.

    Raises:
      InputError: flags do not go together.
    """
    given = [name for name in FLAGS if getattr(values, name) is not None]
    if given and len(given) < len(FLAGS):
        missing = ", ".join(f"--{name}" for name in FLAGS if name not in given)
        raise InputError(f"{missing}: not given; a run of several processes is told all of --{', --'.join(FLAGS)}")
    if given:
        if not 0 <= values.process_id < values.num_processes:
            raise InputError(f"--process_id={values.process_id}: expected 0 to {values.num_processes - 1}")
        host, _, port = values.coordinator_address.rpartition(":")
        if not host or not port.isdigit():
            raise InputError(f"--coordinator_address={values.coordinator_address}: expected HOST:PORT, e.g. node1:1234")
        return "flags"
    if values.distributed == "off":
        return ""
    return next((name for name, is_there in LAUNCHERS.items() if is_there(environment)), "")


def _slurm(environment: Mapping[str, str]) -> bool:
    needed = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID")
    return all(name in environment for name in needed) and int(environment.get("SLURM_NTASKS", "1")) > 1


def _open_mpi(environment: Mapping[str, str]) -> bool:
    return int(environment.get("OMPI_COMM_WORLD_SIZE", "1")) > 1


def _kubernetes(environment: Mapping[str, str]) -> bool:
    return "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment


def _cloud_tpu(environment: Mapping[str, str]) -> bool:
    """Whether this is a TPU VM; only its metadata server, which JAX asks, knows if it is one of several."""
    chips = glob.glob("/dev/accel[0-9]*") or glob.glob("/dev/vfio/[0-9]*")
    skipped = "TPU_SKIP_MDS_QUERY" in environment and "TPU_WORKER_HOSTNAMES" not in environment
    return bool(chips) and not skipped and importlib.util.find_spec("libtpu") is not None


# The launchers whose environment jax.distributed.initialize can read, and how to recognise each.
LAUNCHERS = {"Cloud TPU": _cloud_tpu, "Slurm": _slurm, "Open MPI": _open_mpi, "Kubernetes": _kubernetes}


def is_watched() -> bool:
    """Whether another process watches this one."""
    return _NOTES in os.environ


def notes() -> int:
    """Returns the file descriptor in which a watched process leaves notes for its watcher."""
    return int(os.environ[_NOTES])


def tell_joined() -> None:
    """Notes for the watcher that this process has joined the others."""
    os.write(notes(), _JOINED.encode())


def die_with_watcher() -> None:
    """Makes the kernel kill this watched process when its watcher is killed; does nothing outside Linux."""
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def with_parent() -> dict[str, str]:
    """Returns the environment variables of a process that is to end with this one, by `end_with_parent`."""
    return {_PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """Makes the kernel kill this process when the one that asked for it in its environment is gone."""
    parent = os.environ.pop(_PARENT, "")
    if parent:
        die_with_watcher()
        if os.getppid() != int(parent):  # it went before the kernel was told
            os._exit(STOPPED)


def wait_for_nobody() -> None:
    """Lets this program end without the hooks that libraries have left for its end: one of them may wait for ever."""
    _waits.clear()


def waits() -> bool:
    """Whether this program waits for such hooks."""
    return _waits.is_set()


def stop_at_once() -> None:
    """Makes SIGTERM end this process at once with the exit code STOPPED.

    Until training takes over the signal there is nothing to save. A watched process leaves this to its watcher, because
    Python handles no signals while JAX joins the other processes.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(STOPPED))


def watch(verb: str, timeout: int) -> int:
    """Runs this command once more and waits for it.

    Prints why it ended to stderr where a signal ended it, for then it could not say so itself.

    Args:
      verb: of the command, for messages.
      timeout: seconds of --join_timeout, for messages.

    Returns:
      The exit code of this process: that of the command; LOST or STOPPED where JAX or SIGTERM ended it.
    """
    command = [sys.executable, *sys.orig_argv[1:]]
    with tempfile.TemporaryFile() as file:
        environment = os.environ | {_NOTES: str(file.fileno())}
        with subprocess.Popen(command, env=environment, pass_fds=(file.fileno(),)) as process:
            # A terminal sends Ctrl-C to both processes; SIGTERM is passed on.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGTERM))
            code = process.wait()
        file.seek(0)
        noted = file.read().decode(errors="replace")
    if code == -signal.SIGABRT:
        print(f"lcjax {verb}: {_why_aborted(noted, timeout)}", file=sys.stderr)
        return LOST
    if code == -signal.SIGTERM and verb == "train":  # before training took over, see `stop_at_once`
        return STOPPED
    if code < 0:
        print(f"lcjax {verb}: ended by {signal.Signals(-code).name}", file=sys.stderr)
    return code if code >= 0 else 128 - code


def _why_aborted(noted: str, timeout: int) -> str:
    if _JOINED in noted:
        return (
            "another process of this run ended or cannot be reached any more, and its own log says why; or what stands "
            "above ended this one. The same command on all hosts goes on where the run was"
        )
    status = re.search(r"absl::Status: ((\w+): [^\n\[]*)", noted)
    if status and status[2] != "DEADLINE_EXCEEDED":
        return f"the processes of this run could not join: {status[1].strip()}; is each --process_id given once?"
    return (
        f"the other processes of this run did not come within {timeout} s (--join_timeout); start all of them, with "
        "the same --coordinator_address and --num_processes, on hosts that can reach each other"
    )
