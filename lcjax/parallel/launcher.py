"""Runs of several processes, before JAX is there: who started them, and what is said when one of them is lost.

JAX ends a process at once (abort) when another of its run is lost or does not come, with a page of traces. A run of
several processes is therefore watched: this process starts itself once more, waits, and says in one line what happened.
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
from collections.abc import Mapping

from data_pipelines.schema.errors import InputError

LOST = 4  # exit code: another process of the run is lost, or did not come
STOPPED = 75  # exit code: EX_TEMPFAIL of sysexits.h, by which schedulers are told to try again
_NOTES = "LCJAX_NOTES"  # environment of the watched process: a file for what JAX says while it joins the others
_JOINED = "\njoined\n"
FLAGS = ("coordinator_address", "num_processes", "process_id")


class Lost(Exception):
    """Another process of the run did not come, or cannot be reached."""


class Stopped(Exception):
    """The run was asked to stop (SIGTERM), and has saved what it had."""


def define_flags(flags, values) -> None:
    """The flags of runs on several hosts, in `values` (absl.flags.FlagValues)."""
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


def started_by(values, environment: Mapping[str, str]) -> str:
    """Who started this process as one of several: "" for nobody, "flags", or the name of a launcher.

    Args:
      values: parsed flags of `define_flags`.
      environment: of this process.

    Raises InputError for flags that do not go together.
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
    """A TPU VM; whether it is one of several only its metadata tells, which JAX asks."""
    chips = glob.glob("/dev/accel[0-9]*") or glob.glob("/dev/vfio/[0-9]*")
    skipped = "TPU_SKIP_MDS_QUERY" in environment and "TPU_WORKER_HOSTNAMES" not in environment
    return bool(chips) and not skipped and importlib.util.find_spec("libtpu") is not None


# Whose environments JAX knows how to read (jax.distributed.initialize), and by what they are told.
LAUNCHERS = {"Cloud TPU": _cloud_tpu, "Slurm": _slurm, "Open MPI": _open_mpi, "Kubernetes": _kubernetes}


def is_watched() -> bool:
    """Whether this process is the one that another one watches."""
    return _NOTES in os.environ


def notes() -> int:
    """The file descriptor of what the watched process notes for the one that watches it."""
    return int(os.environ[_NOTES])


def tell_joined() -> None:
    """The watched process tells that it has found the others."""
    os.write(notes(), _JOINED.encode())


def die_with_watcher() -> None:
    """The watched process ends when the one that watches it is killed: nobody would look after it. On Linux."""
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def stop_at_once() -> None:
    """Lets SIGTERM end this process with the code of what may be started again.

    Until training takes it there is nothing to save. A process that is watched leaves it to its watcher: while it joins
    the others Python does not come to take signals.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(STOPPED))


def watch(verb: str, timeout: int) -> int:
    """Runs this command once more and waits for it; returns its exit code, and says what ended it that could not."""
    command = [sys.executable, *sys.orig_argv[1:]]
    with tempfile.TemporaryFile() as file:
        its = os.environ | {_NOTES: str(file.fileno())}
        with subprocess.Popen(command, env=its, pass_fds=(file.fileno(),)) as process:
            # A terminal sends Ctrl-C to both; all else is passed on.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGTERM))
            code = process.wait()
        file.seek(0)
        noted = file.read().decode(errors="replace")
    if code == -signal.SIGABRT:
        print(f"lcjax {verb}: {_why_aborted(noted, timeout)}", file=sys.stderr)
        return LOST
    if code == -signal.SIGTERM and verb == "train":  # before it could take it, see `stop_at_once`
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
