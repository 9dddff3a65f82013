"""Real processes of `launch.py`, one or several as one run, on this machine's CPU."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[1]


def free_port() -> int:
    """A port that nobody listened at a moment ago."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def start(
    arguments: list[str], processes: int = 1, devices: int = 1, each: tuple[list[str], ...] = ()
) -> list[subprocess.Popen]:
    """Starts the processes of one run, with so many CPU devices each.

    `each` are further arguments of the first, the second, ...
    """
    address = f"localhost:{free_port()}"
    together = [f"--coordinator_address={address}", f"--num_processes={processes}"]
    together += ["--join_timeout=30", "--loss_timeout=10"]
    return [
        subprocess.Popen(
            [
                sys.executable,
                str(ROOT / "launch.py"),
                *arguments,
                *(each[number] if each else []),
                *([*together, f"--process_id={number}"] if processes > 1 else []),
            ],
            env=os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]


def finish(processes: list[subprocess.Popen], timeout: float = 300) -> list[tuple[int, str, str]]:
    """(exit code, stdout, stderr) of each, when all have ended; kills them where they do not in time."""
    end = time.monotonic() + timeout
    ended = []
    try:
        for process in processes:
            said, cried = process.communicate(timeout=max(1.0, end - time.monotonic()))
            ended.append((process.returncode, said, cried))
    finally:
        for process in processes:
            process.kill()
    return ended


def run(arguments: list[str], processes: int = 1, devices: int = 1, **how) -> list[tuple[int, str, str]]:
    """Starts, and waits."""
    return finish(start(arguments, processes, devices, **how))


def succeed(arguments: list[str], processes: int = 1, devices: int = 1) -> str:
    """Starts, waits, and gives what process 0 said; the others must have said nothing, and all have ended well."""
    ended = run(arguments, processes, devices)
    assert [code for code, *_ in ended] == [0] * processes, ended
    others = "\n".join(said for _, said, _ in ended[1:])
    # Threads of C++ write over each other in the middle of words; what we say has other letters and signs, too.
    assert not set(others) - set("[Gloo] Rank 0 is connected to peer ranks. Expected number of : 123456789\n"), others
    return ended[0][1]


def interrupted(arguments: list[str], step: int, number: signal.Signals, processes: int = 1, devices: int = 1) -> list:
    """Starts a training, signals its last process when a checkpoint of that step is there, and waits, as `finish`."""
    (workdir,) = [word.partition("=")[2] for word in arguments if word.startswith("--workdir=")]
    started = start(arguments, processes, devices)
    wait_until_saved(pathlib.Path(workdir), step, started)
    started[-1].send_signal(number)
    return finish(started)


def training(workdir: pathlib.Path, data_dir: pathlib.Path, model: str = "swin_unet", **overrides) -> list[str]:
    """Arguments that train a network for twelve steps, with a checkpoint after every second."""
    fields = {
        "data_dir": data_dir,
        "total": "12 steps",
        "log_every": "3 steps",
        "evaluate_every": "4 steps",
        "save_every": "2 steps",
        "crop": 32,
        "batch_size": 8,
        "model.embed": 8,
        "model.depths": "(1,1)",
        "model.heads": "(1,2)",
        "model.decoder_depths": "(1,)",
    } | overrides
    return [
        "train",
        f"--config={ROOT}/configs/dfc2020.py:model={model},data=sample,tiny=true",
        f"--workdir={workdir}",
        *(f"--config.{key}={value}" for key, value in fields.items()),
    ]


def saved(workdir: pathlib.Path) -> int:
    """The step of the last whole checkpoint; 0 before the first."""
    return max((int(p.name) for p in (workdir / "checkpoints" / "last").glob("*") if p.name.isdigit()), default=0)


def wait_until_saved(workdir: pathlib.Path, step: int, processes: list[subprocess.Popen], timeout: float = 240) -> None:
    """Returns when a checkpoint of that step is there, or a process has ended."""
    end = time.monotonic() + timeout
    while saved(workdir) < step and all(process.poll() is None for process in processes):
        assert time.monotonic() < end, "no checkpoint in time"
        time.sleep(0.01)
