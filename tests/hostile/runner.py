"""Runs verbs in forked processes of one that has everything imported: a tenth of a second each, and watched.

Watched are: time, memory, the exit code, what is printed, connections (of Python by its audit hook, of all else by a
server on this machine), and what is written to other folders than the target.
"""

import contextlib
import dataclasses
import http.server
import json
import multiprocessing
import os
import pathlib
import re
import resource
import shutil
import signal
import sys
import time

import corpus
import numpy as np

SECONDS = 30
MEMORY = 4 * 2**30  # bytes
# What the verbs bring with them, so that it is imported once. None of it starts threads.
PRELOADED = (
    "lcjax.cli.prepare", "lcjax.cli.predict", "lcjax.cli.report", "lcjax.cli.evaluate", "lcjax.cli.export",
    "lcjax.cli.info", "lcjax.cli.train", "lcjax.mapping.predict", "lcjax.evaluation.evaluate", "lcjax.training.run",
    "lcjax.reporting.report", "lcjax.export.exporter", "data_pipelines.prepare.prepare", "lcjax.cli.config_flag",
    "data_pipelines.datasets.rasters.family", "grain", "lcjax.cli.inventory.contents", "lcjax.cli.assess",
    "pyogrio.raw", "lcjax.assessment.sampling", "lcjax.assessment.assess", "lcjax.reporting.assessment_page",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a verb did; `code` is None where it had to be stopped."""

    code: int | None
    out: str
    err: str
    seconds: float
    memory: int
    connections: list[str]


def start(words: list[str], root: pathlib.Path, compiled: pathlib.Path) -> int:
    """Forks a process that runs a verb; returns its id. It writes into `root`: out, err, connections."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        os.environ |= {
            "HOME": str(root / "home"), "TMPDIR": str(root / "home"), "JAX_COMPILATION_CACHE_DIR": str(compiled),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }  # fmt: skip
        os.chdir(root / "home")
        # Of address space JAX and its threads reserve more than they use: memory is looked at when the process ended.
        resource.setrlimit(resource.RLIMIT_AS, (24 * 2**30, 24 * 2**30))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 2**30, 2 * 2**30))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(root / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        guard = os.open(root / "connections", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def watch(event: str, arguments: tuple) -> None:
            if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto") and "AF_UNIX" not in repr(arguments):
                os.write(guard, f"{event} {arguments!r}\n".encode())

        sys.addaudithook(watch)
        import jax

        from lcjax.cli import main

        jax.config.update("jax_compilation_cache_dir", str(compiled))
        sys.argv = ["lcjax", *words]
        code = main.main(words)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 70
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def finish(pid: int, root: pathlib.Path, begun: float, seconds: float = SECONDS) -> Outcome | None:
    """The outcome where the process has ended or is out of time, else None."""
    ended, status, usage = os.wait4(pid, os.WNOHANG)
    code: int | None
    if not ended:
        if time.monotonic() - begun < seconds:
            return None
        os.killpg(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        code = None
    else:
        code = os.waitstatus_to_exitcode(status)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)  # what it left behind
    texts = [(root / name).read_text(errors="replace") if (root / name).exists() else "" for name in ("out", "err")]
    hits = (root / "connections").read_text().splitlines() if (root / "connections").exists() else []
    return Outcome(code, *texts, time.monotonic() - begun, usage.ru_maxrss * 1024, hits)


def state(folder: pathlib.Path) -> dict[str, tuple]:
    """Everything below a folder: kind, size and time."""
    found = {}
    for here, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(here, name)
            about = os.lstat(path)
            is_folder = os.path.isdir(path) and not os.path.islink(path)
            found[path] = (about.st_mode,) if is_folder else (about.st_mode, about.st_size, about.st_mtime_ns)
    return found


def judge(asked: corpus.Asked, outcome: Outcome, written: list[str], hits: int) -> list[str]:
    """What is wrong with an outcome, in words; nothing where all is well."""
    faults = []
    said = [line for line in outcome.err.splitlines() if line.startswith("lcjax ")]
    if outcome.code is None:
        faults.append(f"hangs: {outcome.seconds:.0f} s")
    elif outcome.code not in (0, 2, 3):
        last = (outcome.err.strip().splitlines() or [""])[-1]
        faults.append(f"exit {outcome.code}: {last[:300]}")
    if "Traceback (most recent call last)" in outcome.err and outcome.code in (0, 2, 3):
        faults.append("a traceback is printed: " + outcome.err[outcome.err.index("Traceback") :][-300:])
    if outcome.code == 2:
        if len(said) != 1:
            faults.append(f"{len(said)} lines say why, expected one: {outcome.err[-300:]!r}")
        elif not any(name in said[0] for name in asked.names):
            faults.append(f"the line names none of {asked.names}: {said[0][:400]}")
        if asked.must == "accept":
            faults.append(f"refused: {' '.join(said)[:400]}")
    if outcome.code == 0 and asked.must == "refuse":
        faults.append("silent: taken without a word")
    if outcome.code == 0 and asked.must != "refuse" and asked.said and asked.said not in outcome.out + outcome.err:
        faults.append(f"silent: does not say {asked.said!r}")
    if outcome.code == 0 and asked.same:
        faults += [f"silent: {name} is not as it should be" for name in _unlike(*asked.same)]
    if outcome.memory > MEMORY:
        faults.append(f"memory: {outcome.memory / 1e9:.1f} GB")
    if outcome.connections or hits:
        faults.append(f"connects: {hits} requests, {outcome.connections[:2]}")
    if written:
        faults.append(f"writes elsewhere: {written[:3]}")
    return faults


def _unlike(made: pathlib.Path, expected: pathlib.Path) -> list[str]:
    """The files in which two data sets differ, but for what they tell of where they were made from."""
    one, other = ({str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
                  for folder in (made, expected))  # fmt: skip
    return [name for name in sorted({*one, *other}) if _content(one.get(name)) != _content(other.get(name))]


def _content(path: pathlib.Path | None) -> bytes | dict:
    if path is None:
        return b"not there"
    if path.name != "statistics.json":
        return path.read_bytes()
    origin = ("source", "fingerprint")
    return {name: value for name, value in json.loads(path.read_text()).items() if name not in origin}


class _Counting(http.server.BaseHTTPRequestHandler):
    log: pathlib.Path

    def _count(self):
        with self.log.open("a") as file:
            file.write(self.path + "\n")
        self.send_error(404)

    do_GET = do_HEAD = do_POST = do_PUT = _count

    def log_message(self, *_):
        pass


def _serve(log: pathlib.Path, pipe) -> None:
    handler = type("Handler", (_Counting,), {"log": log})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    pipe.send(server.server_address[1])
    server.serve_forever()


@contextlib.contextmanager
def server(log: pathlib.Path):
    """A server on this machine, in a process of its own; gives its port. It writes who asked into `log`."""
    log.touch()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(log, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()


@dataclasses.dataclass
class _Running:
    case: corpus.Case
    asked: corpus.Asked
    place: corpus.Place
    pid: int
    begun: float
    before: dict


def run(cases: list[corpus.Case], world: corpus.World, root: pathlib.Path, log: pathlib.Path, beside: int):
    """Runs all cases, some side by side, and yields (case, asked, outcome, faults) as they end."""
    todo, running = list(reversed(list(enumerate(cases)))), []
    while todo or running:
        while todo and len(running) < beside:
            running.append(_begin(*todo.pop(), world, root))
        for one in list(running):
            outcome = finish(one.pid, one.place.root, one.begun)
            if outcome is None:
                continue
            running.remove(one)
            hits = log.read_text().count(f"/{one.place.root.name}")
            faults = judge(one.asked, outcome, _changed(one), hits)
            yield one.case, one.asked, outcome, faults
            _remove(one.place.root, keep=bool(faults))
        time.sleep(0.01)


def _begin(number: int, case: corpus.Case, world: corpus.World, root: pathlib.Path) -> _Running:
    folder = root / f"{number:04d}_{re.sub(r'[^A-Za-z0-9]+', '_', case.name)}"
    # Each case asks for an address of its own.
    own = dataclasses.replace(world, name=folder.name)
    place = corpus.Place(folder, own, np.random.default_rng([case.seed, sum(case.kind.encode())]))
    asked = case.make(place)
    before = state(place.given) | state(place.other)
    return _Running(
        case, asked, place, start(asked.command, folder, world.folder / "compiled"), time.monotonic(), before
    )


def _changed(one: _Running) -> list[str]:
    after = state(one.place.given) | state(one.place.other)
    return [path for path in sorted({*one.before, *after}) if one.before.get(path) != after.get(path)]


def _remove(folder: pathlib.Path, *, keep: bool) -> None:
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
