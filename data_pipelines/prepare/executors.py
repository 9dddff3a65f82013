"""Shards written by processes of this machine, or by those of an Apache Beam pipeline."""

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator

from data_pipelines.prepare import shard_writer
from data_pipelines.prepare.shard_writer import Note, Task
from data_pipelines.remote import hosts
from data_pipelines.schema.errors import InputError


def run(tasks: list[Task], workers: int, beam: str) -> Iterator[tuple[Task, Note]]:
    """Writes shards, and yields each task with its note, in the order in which they are finished.

    `workers` is a number of processes; `beam` the options of a pipeline that is used instead, or empty. Raises
    InputError where a worker was ended from outside, and what the workers raise.
    """
    if beam:
        from data_pipelines.prepare import beam as pipeline  # here, because it is an extra

        yield from pipeline.run(tasks, beam)
        return
    if workers <= 1:
        yield from ((task, shard_writer.write(task)) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that has threads is not safe
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=hosts.allowed())
    try:
        # Workers begin with Ctrl-C held back, until they know what to do then.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            futures = {pool.submit(shard_writer.write, task): task for task in tasks}
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future.result()
    except (KeyboardInterrupt, GeneratorExit):  # or the caller wants no more
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    except concurrent.futures.process.BrokenProcessPool as error:
        raise InputError(
            "a worker was ended from outside, perhaps for want of memory; run the same command with fewer --workers: "
            "finished shards are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(*allowed: str) -> None:
    """A worker ends with its parent, which may be killed, and leaves it to its parent to answer Ctrl-C.

    It may ask the servers that its parent may.
    """
    hosts.allow(*allowed)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
