"""Whom a process believes that it was started as one of several."""

import fnmatch
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lcjax.parallel import launcher

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NTASKS": "2",
}
KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}


def values(**given):
    nothing = {"distributed": "auto", "coordinator_address": None, "num_processes": None, "process_id": None}
    return SimpleNamespace(**(nothing | given))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ""),
        (SLURM, "Slurm"),
        (SLURM | {"SLURM_NTASKS": "1"}, ""),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2"}, ""),  # in an allocation, but not of a step
        ({"OMPI_COMM_WORLD_SIZE": "4"}, "Open MPI"),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, ""),
        (KUBERNETES, "Kubernetes"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, ""),  # a pod, but not of an indexed job
    ],
)
def test_launchers_are_told_by_their_environment(environment, expected):
    assert launcher.started_by(values(), environment) == expected
    assert launcher.started_by(values(distributed="off"), environment) == ""


@pytest.mark.parametrize(
    ("devices", "library", "environment", "expected"),
    [
        (["/dev/accel0"], True, {}, "Cloud TPU"),
        (["/dev/vfio/0"], True, {}, "Cloud TPU"),
        (["/dev/accel0"], False, {}, ""),
        ([], True, {}, ""),
        (["/dev/accel0"], True, {"TPU_SKIP_MDS_QUERY": "1"}, ""),
        (["/dev/accel0"], True, {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "a,b"}, "Cloud TPU"),
        (["/dev/accel0"], True, KUBERNETES, "Cloud TPU"),  # its pods tell of each other better than Kubernetes does
    ],
)
def test_a_tpu_machine_is_told_by_its_chips(devices, library, environment, expected, monkeypatch):
    monkeypatch.setattr("glob.glob", lambda pattern: fnmatch.filter(devices, pattern))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if library and name == "libtpu" else None)
    assert launcher.started_by(values(), environment) == expected


def test_flags_come_before_what_is_found():
    given = values(coordinator_address="node1:1234", num_processes=2, process_id=1)
    assert launcher.started_by(given, SLURM) == "flags"


def test_sigterm_before_training_has_the_code_of_what_may_be_started_again():
    child = "import os, signal; from lcjax.parallel import launcher; launcher.stop_at_once(); "
    child += "os.kill(os.getpid(), signal.SIGTERM); signal.pause()"
    assert subprocess.run([sys.executable, "-c", child], timeout=60).returncode == 75


@pytest.mark.parametrize(
    ("name", "verb", "expected", "says"),
    [
        ("SIGTERM", "train", 75, ""),
        ("SIGTERM", "evaluate", 143, "lcjax evaluate: ended by SIGTERM\n"),
        ("SIGKILL", "train", 137, "lcjax train: ended by SIGKILL\n"),
    ],
)
def test_what_a_signal_ends_while_python_starts_is_said_by_its_watcher(name, verb, expected, says):
    child = f"import os, signal; os.kill(os.getpid(), signal.{name}); signal.pause()"
    watcher = f"import sys; sys.orig_argv[1:] = ['-c', {child!r}]; from lcjax.parallel import launcher; "
    watcher += f"sys.exit(launcher.watch({verb!r}, 1))"
    ended = subprocess.run([sys.executable, "-c", watcher], timeout=60, stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (expected, says)
