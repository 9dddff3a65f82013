"""Several processes as one run: how they find each other, what they agree on, and how they end together."""

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils

from data_pipelines.schema.errors import InputError
from lcjax.parallel import launcher, nested_diff

_DAY = 24 * 60 * 60
_LOSSES = ("Gloo", "NCCL", "UNAVAILABLE", "oordination")


def join(scheduler: str, values, asks: bool) -> None:
    """Makes this process one of the run's; returns when all are there.

    Args:
      scheduler: of launcher.started_by.
      values: parsed flags of launcher.define_flags.
      asks: whether the run asks of `stop_requests`; SIGTERM ends one at once that does not.

    Raises:
      InputError: the scheduler did not tell what JAX needs, or the port of the coordinator is taken.
      launcher.Lost: the coordinator cannot be reached in time. Where JAX finds that, it may end the process instead.
    """
    given = {}
    if scheduler == "flags":
        given = {name: getattr(values, name) for name in ("coordinator_address", "num_processes", "process_id")}
        if values.process_id:
            _reach(values.coordinator_address, values.join_timeout)
        else:
            _check_free(values.coordinator_address)
    jax.config.update("jax_enable_preemption_service", asks)
    with _quiet():
        try:
            jax.distributed.initialize(
                **given,
                initialization_timeout=values.join_timeout,
                heartbeat_timeout_seconds=values.loss_timeout,
                # Who is done waits for process 0, which may have much to write; one that is lost has no heartbeat.
                shutdown_timeout_seconds=_DAY,
            )
        except jax.errors.JaxRuntimeError as error:
            raise launcher.Lost(
                f"the other processes of this run were not found: {' '.join(str(error).split())}; start all of them"
            ) from error
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"found to be started by {scheduler}, but not what JAX needs to join the others: "
                f"{' '.join(str(error).split())}; give --coordinator_address, --num_processes and --process_id, or "
                "--distributed=off for a run of its own"
            ) from error


def is_peer_failure(error: BaseException | None) -> bool:
    """Whether an error, or what it comes from, says that another process is gone: JAX has several types for that."""
    while error:
        if isinstance(error, (RuntimeError, ValueError)) and any(word in str(error) for word in _LOSSES):
            return True
        error = error.__cause__
    return False


def shutdown() -> None:
    """Waits for the other processes at the end of a run, so that none is taken for lost."""
    if jax.process_count() > 1:
        with _quiet():
            jax.distributed.shutdown()


def process_index() -> int:
    """Which of the processes of the run this one is, from 0."""
    return jax.process_index()


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints."""
    return process_index() == 0


def shared_logger(name: str) -> logging.Logger:
    """A logger for what all processes of a run would say alike: process 0 says it."""
    logger = logging.getLogger(name)
    if not logger.filters:
        logger.addFilter(lambda record: is_main_process())
    return logger


def barrier(name: str) -> None:
    """Returns when all processes have come to the barrier of this name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def agree(found: dict, what: str) -> None:
    """Raises InputError, in all processes, where one of them has found something else.

    Args:
      found: nested dictionary that JSON can hold.
      what: it is, for the message.
    """
    if jax.process_count() == 1:
        return
    texts = _gathered(json.dumps(found, sort_keys=True).encode())
    for process, text in enumerate(texts):
        other = json.loads(text)
        if other != json.loads(texts[0]):
            shown = nested_diff.differences(json.loads(texts[0]), other, ("process 0", f"process {process}"))
            raise InputError(f"{what} is not the same in all processes: {shown}; start all with the same command")


def all_true(found: bool) -> bool:
    """Whether it is so in all processes."""
    return found if jax.process_count() == 1 else all(map(bool, _gathered(b"1" if found else b"")))


def from_main_process(text: str) -> str:
    """What process 0 gives, in all processes."""
    return text if jax.process_count() == 1 else _gathered(text.encode())[0].decode()


def _gathered(text: bytes) -> list[bytes]:
    """What each process has."""
    lengths = multihost_utils.process_allgather(np.int32(len(text)))
    padded = np.zeros(lengths.max(), np.uint8)
    padded[: len(text)] = np.frombuffer(text, np.uint8)
    rows = multihost_utils.process_allgather(padded)
    return [row[:length].tobytes() for row, length in zip(rows, lengths.tolist(), strict=True)]


def broadcast_batch(batch: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray] | None:
    """What process 0 gives, in all processes: arrays by name, or None where there is no more; the others give None."""
    kinds = None if batch is None else {name: (value.shape, value.dtype.str) for name, value in batch.items()}
    kinds = json.loads(from_main_process(json.dumps(kinds)))
    if kinds is None:
        return None
    mine = batch or {name: np.zeros(shape, dtype) for name, (shape, dtype) in kinds.items()}
    return multihost_utils.broadcast_one_to_all(dict(mine))


@contextlib.contextmanager
def raise_on_all():
    """For what each process does for itself, or process 0 alone: where it fails in one, it fails in all.

    Gives whether this is process 0. Nothing in the context may wait for other processes. Raises InputError in all
    processes where one raised InputError or OSError.
    """
    cause, told = None, ""
    try:
        yield is_main_process()
    except (InputError, OSError) as error:
        cause, told = error, str(error)
    several = jax.process_count() > 1
    texts = [text.decode() for text in _gathered(told.encode())] if several else [told]
    for process, text in enumerate(texts):
        if text:
            raise InputError(told or (f"process {process}: {text}" if process else text)) from cause


@contextlib.contextmanager
def leader_section(make: Callable[[], Callable]):
    """For what process 0 does while the others take part in what it computes; fails in all, as `together`.

    Args:
      make: makes the function that all call alike: the first with what it chooses, the others with None, for which the
        function asks `announced`. It is called by all before anything else, as what is restored is by all.
    """
    several = jax.process_count() > 1
    with raise_on_all() as mine:
        if several:
            compute = make()
            while not mine and compute(None) is not None:
                pass
        try:
            yield mine
        finally:
            if mine and several:
                broadcast_batch(None)


class StopRequests:
    """Whether somebody asked the run to stop: SIGTERM, to this process or to any other of the run."""

    def __init__(self):
        self._asked = False
        self._next = 0

    def asked(self, step: int) -> bool:
        """Asked of each step by all processes; all are answered alike, some steps after the signal."""
        if jax.process_count() > 1:
            # JAX chooses the first number that no process has come to, and answers at that one alone: all are asked
            # for, also those before the first step of a run that goes on. Orbax asks as well, for steps that it saves.
            numbers = range(self._next, step + 1)
            self._next = step + 1
            self._asked |= any(multihost_utils.reached_preemption_sync_point(number) for number in numbers)
        return self._asked

    def _note(self, *_) -> None:
        self._asked = True


@contextlib.contextmanager
def stop_requests():
    """Takes SIGTERM as the wish that the run should stop, for as long as the context lasts.

    Of several processes JAX takes it, and tells all of them (jax.distributed). A context inside another one hears what
    that one was asked. Signals go to the main thread, so that elsewhere nothing is heard.
    """
    outer = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    requests = outer if isinstance(outer, StopRequests) else StopRequests()
    if jax.process_count() > 1 or threading.current_thread() is not threading.main_thread():
        yield requests
        return
    before = signal.signal(signal.SIGTERM, requests._note)
    try:
        yield requests
    finally:
        signal.signal(signal.SIGTERM, before)


def _reach(address: str, timeout: float) -> None:
    """Returns when somebody listens at HOST:PORT; launcher.Lost after so many seconds."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise launcher.Lost(
                    f"--coordinator_address={address}: cannot be reached within {timeout} s ({error}); is process 0 "
                    "started there, and the port open?"
                ) from error
            time.sleep(0.5)


def _check_free(address: str) -> None:
    """Raises InputError where another program listens at the port of HOST:PORT: JAX ends in several ways there."""
    port = int(address.rpartition(":")[2])
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise InputError(
            f"--coordinator_address={address}: process 0 cannot listen at port {port} of this machine "
            f"({error.strerror}); name another port, in all processes"
        ) from error


@contextlib.contextmanager
def _quiet():
    """Keeps off the terminal what C++ writes there: the traces of a join that fails, of which launcher.watch tells."""
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(launcher.notes(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
