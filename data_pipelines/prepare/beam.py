"""Writes shards on the machines of an Apache Beam runner, which share the folder of the data set with this one.

Tasks lie in the folder as files, because the description of a job is bounded to some megabytes and the tasks of
180,000 records are more. What is finished is seen by the files that the workers leave: runners tell little on the way.
A process of its own speaks to Beam; what it logs goes into a file, and it can be ended at any time.
"""

import importlib.util
import logging
import math
import multiprocessing
import os
import pathlib
import pickle
import re
import shlex
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess

from data_pipelines.prepare import shard_writer
from data_pipelines.prepare.shard_writer import Note, Task
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically

_log = logging.getLogger("lcjax.data")

LOG = "beam.log"
_EXAMPLE = "--beam='--runner=DirectRunner --direct_num_workers=4 --direct_running_mode=multi_processing'"
_FAILURE = "failure"
_LOOK = 0.5  # seconds between two looks for finished files
_LATE = 90.0  # seconds until a network file system shows what others have written (NFS caches for up to 60)
_PATIENCE = 10.0  # seconds for a job to be cancelled
# How a worker's traceback ends, in the text of the runner's own error.
_RAISED = re.compile(r"^(?:RuntimeError: )*(?:\w+\.)*(\w+): (.*)$", re.MULTILINE)
_WHERE = re.compile(r" \[while running '[^']*'\]")


def run(tasks: Sequence[Task], options: str) -> Iterator[tuple[Task, Note]]:
    """Writes shards on Beam's workers, and yields each task with its note when its files are there.

    The folder of the shards and all files that the tasks name are on a file system that this machine and all workers
    mount at the same path. Beam may write a shard more than once, even at the same time.

    Args:
      tasks: what is to be written; what an earlier run has left of them is removed.
      options: Beam's pipeline options, as on a command line.

    Raises InputError where Beam is not there, refuses the options or cannot run the job, where a worker fails (with its
    words, if they are an InputError's), and where files do not appear. What is finished stays. A caller that does not
    want the rest closes the iterator: the job is cancelled.
    """
    if not importlib.util.find_spec("apache_beam"):
        raise InputError("--beam: Apache Beam is not installed; run `pip install 'lcjax[beam]'`, on the workers too")
    if not tasks:
        return
    for path in (tasks[0].shard, shard_writer.first_file(tasks[0].items[0])):
        if not path.is_absolute():
            raise InputError(f"{path}: expected absolute --source and --data_dir with --beam: workers start elsewhere")
    folder = tasks[0].note_path.parent / "beam"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for task in tasks:
        task.shard.unlink(missing_ok=True)
        task.note_path.unlink(missing_ok=True)
        (folder / f"{task.shard.name}.task").write_bytes(pickle.dumps(task))
    _log.info(f"Beam's log: {folder / LOG}")
    job = multiprocessing.get_context("spawn").Process(target=_drive, args=(folder, options))
    job.start()
    try:
        yield from _finished(tasks, job, folder)
        job.join()
    finally:
        job.terminate()
        job.join(_PATIENCE)
        job.kill()
        job.join()


def _finished(tasks: Sequence[Task], job: BaseProcess, folder: pathlib.Path) -> Iterator[tuple[Task, Note]]:
    """Tasks in the order in which their files appear. Raises InputError where the job fails or files do not appear."""
    waiting, until = {task.shard: task for task in tasks}, math.inf
    while waiting:
        time.sleep(_LOOK)
        running = job.is_alive()  # asked before the look: what a finished job has left is seen
        for task in [task for path, task in waiting.items() if path.exists() and task.note_path.exists()]:
            yield waiting.pop(task.shard), task.note()
        if waiting and job.exitcode:
            raise InputError(_failure(folder, job.exitcode))
        if not running:
            until = min(until, time.monotonic() + _LATE)
        if waiting and time.monotonic() > until:
            raise InputError(
                f"{next(iter(waiting))}: not there, though Beam's workers have finished; expected --source and "
                "--data_dir on a file system that this machine and all workers mount at the same path"
            )


def _failure(folder: pathlib.Path, exitcode: int) -> str:
    failure = folder / _FAILURE
    if failure.exists():
        return failure.read_text(encoding="utf-8")
    return f"{folder / LOG}: Beam's process ended with {exitcode}; run the same command again: what is finished is kept"


def _drive(folder: pathlib.Path, options: str) -> None:
    """The process that speaks to Beam: runs the job to its end, or cancels it when it or its parent is ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with (folder / LOG).open("w") as log:
        for stream in (sys.stdout, sys.stderr):  # of this process, and of workers that are its children
            os.dup2(log.fileno(), stream.fileno())
    try:
        result = _pipeline(folder, options).run()
        try:
            result.wait_until_finish()
        except SystemExit:
            result.cancel()
            raise
    except Exception as error:
        traceback.print_exc()
        write_atomically(folder / _FAILURE, _in_one_line(error, folder))
        sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE)
    os._exit(1)


def _pipeline(folder: pathlib.Path, options: str):
    """The pipeline that writes every shard, not yet running. Raises InputError for options that Beam does not know."""
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    words = shlex.split(options)
    try:
        parsed = PipelineOptions(words)
        unknown = parsed.get_all_options(retain_unknown_options=True).keys() - parsed.get_all_options().keys()
    except SystemExit as error:  # of argparse
        raise InputError(f"--beam: {error.__context__}; expected for example {_EXAMPLE}") from error
    for word in words:
        if not word.startswith("--") or word[2:].partition("=")[0] in unknown:
            raise InputError(
                f"--beam: {word} is no option of Apache Beam {apache_beam.__version__}; expected for example {_EXAMPLE}"
            )
    pipeline = apache_beam.Pipeline(options=parsed)
    tasks = sorted(map(str, folder.glob("*.task")))
    # Reshuffled, or a runner could fuse the list with the writing and let one worker do all.
    pipeline | apache_beam.Create(tasks) | apache_beam.Reshuffle() | apache_beam.Map(_write)
    return pipeline


def _write(path: str) -> None:
    """What a worker does."""
    shard_writer.write(pickle.loads(pathlib.Path(path).read_bytes()))


def _in_one_line(error: Exception, folder: pathlib.Path) -> str:
    """What went wrong: an InputError's own text, also where a worker raised it; else what and where the log is."""
    text = _WHERE.sub("", str(error))
    if isinstance(error, InputError):
        return text
    raised = _RAISED.findall(text)
    name, text = raised[-1] if raised else (type(error).__name__, " ".join(text.split()))
    if name == InputError.__name__:
        return text
    return f"--beam: {name}: {text} ({folder / LOG}); once put right, run the same command again to go on"
