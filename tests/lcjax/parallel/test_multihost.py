"""Several real processes as one run: the same numbers as one, and clear words where they cannot be one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import jax
import launched
import pytest
import test_same_steps

from lcjax.engine import restore
from lcjax.parallel import multihost


@pytest.mark.slow  # most of a minute, or more
def test_a_run_goes_on_with_other_numbers_of_processes_and_devices(data_dir, tmp_path):
    whole, moved = tmp_path / "whole", tmp_path / "moved"
    long = {"total": "40 steps", "evaluate_every": "20 steps"}
    launched.succeed(launched.training(whole, data_dir, **long, save_every="40 steps"))
    # (processes, devices of each), one after the other, in turn as jit and as pmap; the last goes to the end.
    *ways, last = [(2, 2), (1, 4), (1, 1), (2, 2)]
    modes = ("jit", "pmap", "jit")
    for way, mode in zip(ways, modes, strict=True):
        stop_at = launched.saved(moved) + 2
        arguments = launched.training(moved, data_dir, **long, **{"parallel.mode": mode})
        ended = launched.interrupted(arguments, stop_at, signal.SIGTERM, *way)
        assert [code for code, *_ in ended] == [75] * way[0], ended
        assert "which is saved; the same command goes on" in ended[0][1]
        assert stop_at <= launched.saved(moved) < 40
    stopped_at = launched.saved(moved)
    said = launched.succeed(launched.training(moved, data_dir, **long), *last)
    assert f"goes on from step {stopped_at} of 40" in said and "4 device(s) of 2 process(es)" in said
    first, second = restore.restore(whole, "last"), restore.restore(moved, "last")
    assert first.step == second.step == 40
    values, others = jax.device_get((first.parameters, second.parameters))
    assert test_same_steps.distance(values, others) < 1e-4  # rounding, which Adam makes much of


def test_scores_and_maps_of_two_processes_are_those_of_one(trained, sample, data_dir, tmp_path):
    evaluated = {}
    for processes, devices in ((1, 1), (2, 2)):
        arguments = ["evaluate", f"--workdir={trained}", "--boundary=2%", "--objects=10,100"]
        said = launched.succeed(arguments, processes, devices)
        assert said.count(" mIoU_8") == 1
        written = trained / "evaluation" / "test"
        evaluated[processes] = [(written / name).read_bytes() for name in ("metrics.json", "record_confusions.npz")]
        scene = ",".join(f"{name}={sample}/scenes/scene_{name}.tif" for name in ("s1", "s2"))
        out = tmp_path / str(processes)
        arguments = ["predict", f"--workdir={trained}", f"--scene={scene}", f"--output={out}/map.tif", "--confidence"]
        launched.succeed(arguments, processes, devices)
    assert evaluated[1] == evaluated[2]
    for name in ("map.tif", "map_confidence.tif", "map.areas.csv"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.parametrize("lost", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_where_a_process_is_lost_the_other_ends_in_time(lost, data_dir, tmp_path):
    processes = launched.start(launched.training(tmp_path / "run", data_dir, total="10000 steps"), 2, 1)
    launched.wait_until_saved(tmp_path / "run", 2, processes)
    processes[lost].send_signal(signal.SIGKILL)
    start = time.monotonic()
    ended = launched.finish(processes, timeout=90)
    lasted = time.monotonic() - start
    assert lasted < 30, lasted  # --loss_timeout is 10 in tests
    code, _, cried = ended[1 - lost]
    assert code == 4, ended
    assert "lcjax train: another process of this run ended or cannot be reached any more" in cried.splitlines()[-1]


@pytest.mark.parametrize(
    ("error", "loss"),
    [
        (ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer"), True),
        (jax.errors.JaxRuntimeError("UNAVAILABLE: The coordination service is gone"), True),
        (ValueError("shapes (2,) and (3,) differ"), False),
        (OSError("UNAVAILABLE"), False),
    ],
)
def test_what_says_that_a_process_is_lost(error, loss):
    assert multihost.is_peer_failure(error) == loss
    wrapped = RuntimeError("a checkpoint failed")
    wrapped.__cause__ = error
    assert multihost.is_peer_failure(wrapped) == loss


_ASKED = """
import os, signal, sys, time
sys.path.insert(0, {root!r})
import jax
jax.distributed.initialize({address!r}, 2, int(sys.argv[1]))
from lcjax.parallel import multihost
if jax.process_index():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(3)
multihost.barrier("told")
with multihost.stop_requests() as stop:
    print([stop.asked(step) for step in range(74, 80)].index(True))
"""


def test_sigterm_before_the_first_step_is_not_forgotten():
    child = _ASKED.format(root=str(launched.ROOT), address=f"localhost:{launched.free_port()}")
    command = [sys.executable, "-c", child]
    processes = [subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True) for number in (0, 1)]
    said = {process.communicate(timeout=120)[0].splitlines()[-1] for process in processes}
    assert len(said) == 1 and said.pop().isdigit()


def test_two_hosts_with_other_configs_say_so(data_dir, tmp_path):
    processes = launched.start(
        launched.training(tmp_path / "run", data_dir), 2, 1, each=([], ["--config.optimizer.learning_rate=0.5"])
    )
    for code, _, cried in launched.finish(processes):
        assert code == 2
        (line,) = [line for line in cried.splitlines() if "[Gloo]" not in line]
        assert "the run is not the same in all processes: config.optimizer.learning_rate (process 0 0.004" in line
        assert "process 1 0.5)" in line
    assert not (tmp_path / "run").exists()


def _lines(ended) -> list[str]:
    """What each has cried, in one line; all have ended with 2."""
    cried = [[line for line in cried.splitlines() if "[Gloo]" not in line] for _, _, cried in ended]
    assert [code for code, *_ in ended] == [2] * len(ended) and {len(lines) for lines in cried} == {1}, ended
    return [line for (line,) in cried]


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        (
            "--split=validation",
            "the run is not the same in all processes: split (process 0 'test', process 1 'validation')",
        ),
        ("--splits=validation", "Unknown command line flag 'splits'"),
    ],
)
def test_two_hosts_with_other_commands_say_so(trained, flag, says):
    started = launched.start(["evaluate", f"--workdir={trained}"], 2, 1, each=([], [flag]))
    for line in _lines(launched.finish(started)):
        assert says in line


def test_what_process_0_alone_finds_wrong_ends_all_alike(trained, data_dir, tmp_path):
    (tmp_path / "file").touch()
    run = tmp_path / "file" / "run"
    for line in _lines(launched.run(launched.training(run, data_dir), 2)):
        assert line == f"lcjax train: {run}: cannot be written (Not a directory); choose another --workdir"
    scene = f"s1={tmp_path}/file,s2={tmp_path}/file"
    arguments = ["predict", f"--workdir={trained}", f"--scene={scene}", f"--output={tmp_path}/map.tif"]
    one, other = _lines(launched.run(arguments, 2))
    assert one == other and one.startswith(f"lcjax predict: {tmp_path}/file")


def test_what_one_process_lacks_ends_all_alike(data_dir, tmp_path):
    """Each without its data in turn."""
    nothing = f"--config.data_dir={tmp_path}/nothing"
    for lacking in (0, 1):
        each = ([nothing], []) if lacking == 0 else ([], [nothing])
        started = launched.start(launched.training(tmp_path / "run", data_dir), 2, 1, each=each)
        lines = _lines(launched.finish(started))
        assert lines[lacking].startswith(f"lcjax train: {tmp_path}/nothing")
        named = "process 1: " if lacking else ""
        assert lines[1 - lacking].startswith(f"lcjax train: {named}{tmp_path}/nothing")


@pytest.mark.parametrize("everywhere", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_two_processes_are_measured_as_one(everywhere, data_dir, tmp_path):
    config = f"--config={launched.ROOT}/configs/dfc2020.py:model=unet,data=sample,tiny=true"
    arguments = ["benchmark", config, f"--config.data_dir={data_dir}", "--config.batch_size=4", "--steps=2"]
    arguments += [f"--json={tmp_path / 'figures.json'}"]
    started = launched.start(arguments, 2, 1, each=([], [] if everywhere else [f"--config.data_dir={tmp_path}"]))
    (code, said, _), (other, nothing, _) = launched.finish(started)
    assert (code, other) == (0, 0) and "images/s" in said and "images/s" not in nothing
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["device"] == "2 x cpu" and found["batch_size"] == 4
    assert ("data_wait_share" in found) == everywhere


def test_a_port_that_is_taken_is_said(data_dir, tmp_path):
    with socket.create_server(("", 0)) as taken:
        address = f"localhost:{taken.getsockname()[1]}"
        flags = [f"--coordinator_address={address}", "--num_processes=2", "--process_id=0"]
        ended = launched.run([*launched.training(tmp_path / "run", data_dir), *flags])
    (line,) = _lines(ended)
    assert f"--coordinator_address={address}: process 0 cannot listen at port {address[10:]} of this machine" in line


def _wait_until_listening(port: int, process: subprocess.Popen, timeout: float = 60) -> None:
    end = time.monotonic() + timeout
    while process.poll() is None:
        with socket.socket() as asking:
            if not asking.connect_ex(("localhost", port)):
                return
        assert time.monotonic() < end, "it does not listen"
        time.sleep(0.1)


def test_sigterm_ends_at_once_who_waits_for_others(data_dir, tmp_path):
    port = launched.free_port()
    alone = [f"--coordinator_address=localhost:{port}", "--num_processes=2", "--process_id=0", "--join_timeout=100"]
    (process,) = launched.start([*launched.training(tmp_path / "run", data_dir), *alone])
    _wait_until_listening(port, process)
    time.sleep(1)  # it waits at the barrier by then
    start = time.monotonic()
    process.terminate()
    ((code, *_),) = launched.finish([process])
    assert code == 75 and time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("process", "says"),
    [
        (1, "cannot be reached within 3 s"),
        (0, "the other processes of this run did not come within 3 s (--join_timeout); start all of them"),
    ],
)
def test_nobody_is_waited_for_for_ever(process, says, data_dir, tmp_path):
    address = f"--coordinator_address=localhost:{launched.free_port()}"
    alone = [address, "--num_processes=2", f"--process_id={process}", "--join_timeout=3"]
    start = time.monotonic()
    ((found, _, cried),) = launched.finish(launched.start([*launched.training(tmp_path / "run", data_dir), *alone]), 60)
    assert time.monotonic() - start < 30
    assert found == 4
    (line,) = cried.splitlines()
    assert line.startswith("lcjax train: ") and says in line


def test_a_number_that_is_there_twice_is_said(data_dir, tmp_path):
    address = f"--coordinator_address=localhost:{launched.free_port()}"
    together = [*launched.training(tmp_path / "run", data_dir), address, "--num_processes=3", "--join_timeout=60"]
    processes = [launched.start([*together, f"--process_id={number}"])[0] for number in (0, 1, 1)]
    start = time.monotonic()
    while all(process.poll() is None for process in processes[1:]):
        assert time.monotonic() - start < 50
        time.sleep(0.1)
    (ended,) = [process for process in processes[1:] if process.poll() is not None]
    for process in processes:
        process.terminate()
    assert ended.returncode == 4
    (line,) = ended.communicate()[1].splitlines()
    assert "lcjax train: the processes of this run could not join: ALREADY_EXISTS" in line
    assert "is each --process_id given once?" in line
    launched.finish(processes)


_LATE = """
import sys, time, types
sys.path.insert(0, {root!r})
import jax
from lcjax.parallel import multihost
values = types.SimpleNamespace(coordinator_address={address!r}, num_processes=2, process_id=int(sys.argv[1]))
values.join_timeout, values.loss_timeout = 30, 5
multihost.join("flags", values, asks=False)
time.sleep(0 if jax.process_index() else 45)
multihost.shutdown()
"""


@pytest.mark.slow
def test_who_is_done_waits_for_process_0():
    child = _LATE.format(root=str(launched.ROOT), address=f"localhost:{launched.free_port()}")
    processes = [
        subprocess.Popen([sys.executable, "-c", child, str(number)], env=os.environ | {"LCJAX_NOTES": "2"})
        for number in (0, 1)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--num_processes=2"], "--coordinator_address, --process_id: not given"),
        (["--coordinator_address=a:1", "--num_processes=2", "--process_id=2"], "--process_id=2: expected 0 to 1"),
        (["--coordinator_address=a", "--num_processes=2", "--process_id=0"], "expected HOST:PORT, e.g. node1:1234"),
        (["--distributed=maybe"], "distributed"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags, says, tmp_path):
    ((code, _, cried),) = launched.run(["train", f"--workdir={tmp_path}/run", *flags])
    (line,) = cried.splitlines()
    assert code == 2 and says in line
