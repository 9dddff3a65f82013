"""Several processes as one run: joining, agreeing, failing and stopping together."""

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from data_pipelines.schema.errors import InputError
from lcjax.parallel import launcher, nested_diff

if TYPE_CHECKING:
    from absl import flags

_DAY = 24 * 60 * 60
_SIGNS_OF_LOSS = ("Gloo", "NCCL", "UNAVAILABLE", "oordination")  # in the message of an error


def join(scheduler: str, values: "flags.FlagValues", asks: bool) -> None:
    """Joins the other processes of the run; returns when all are there.

    Args:
      scheduler: what launcher.started_by returned.
      values: the parsed flags of launcher.define_flags.
      asks: whether the run uses `stop_requests`; if not, SIGTERM ends it at once.

    Raises:
      InputError: the scheduler did not provide what JAX needs, or the coordinator's port is taken.
      launcher.Lost: the coordinator cannot be reached in time. JAX may abort the process instead.
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
                # Processes that are done wait for process 0, which may have much to write; heartbeats find a lost one.
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
    """Whether an error, or one of its causes, means that another process is gone; JAX raises several types for it."""
    while error:
        if isinstance(error, (RuntimeError, ValueError)) and any(word in str(error) for word in _SIGNS_OF_LOSS):
            return True
        error = error.__cause__
    return False


def shutdown() -> None:
    """Waits for the other processes at the end of a run, so that none of them counts as lost."""
    if jax.process_count() > 1:
        with _quiet():
            jax.distributed.shutdown()


def process_index() -> int:
    """Returns the index of this process in the run, from 0."""
    return jax.process_index()


def is_main_process() -> bool:
    """Whether this is process 0, which alone writes and prints."""
    return process_index() == 0


def shared_logger(name: str) -> logging.Logger:
    """Returns a logger for lines that all processes of a run would log alike: process 0 alone logs them.

    Args:
      name: of the logger, usually `__name__`.
    """
    logger = logging.getLogger(name)
    if not logger.filters:
        logger.addFilter(lambda record: is_main_process())
    return logger


def barrier(name: str) -> None:
    """Waits until all processes have reached the barrier of this name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def agree(values: dict[str, Any], what: str) -> None:
    """Checks that all processes hold the same values.

    Args:
      values: a nested dictionary that JSON can hold.
      what: name of the values, for the message.

    Raises:
      InputError: in all processes, where one of them differs from process 0.
    """
    if jax.process_count() == 1:
        return
    texts = _gathered(json.dumps(values, sort_keys=True).encode())
    for process, text in enumerate(texts):
        other = json.loads(text)
        if other != json.loads(texts[0]):
            shown = nested_diff.differences(json.loads(texts[0]), other, ("process 0", f"process {process}"))
            raise InputError(f"{what} is not the same in all processes: {shown}; start all with the same command")


def all_true(value: bool) -> bool:
    """Whether the value is true in all processes."""
    return value if jax.process_count() == 1 else all(map(bool, _gathered(b"1" if value else b"")))


def from_main_process(text: str) -> str:
    """Returns the text of process 0 in all processes."""
    return text if jax.process_count() == 1 else _gathered(text.encode())[0].decode()


def _gathered(text: bytes) -> list[bytes]:
    """Returns the bytes of each process, in all processes."""
    lengths = multihost_utils.process_allgather(np.int32(len(text)))
    padded = np.zeros(lengths.max(), np.uint8)
    padded[: len(text)] = np.frombuffer(text, np.uint8)
    rows = multihost_utils.process_allgather(padded)
    return [row[:length].tobytes() for row, length in zip(rows, lengths.tolist(), strict=True)]


def broadcast_batch(batch: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray] | None:
    """Returns the arrays of process 0 in all processes.

    Args:
      batch: arrays by name, or None at the end; None in the processes other than 0.
    """
    kinds = None if batch is None else {name: (value.shape, value.dtype.str) for name, value in batch.items()}
    kinds = json.loads(from_main_process(json.dumps(kinds)))
    if kinds is None:
        return None
    mine = batch or {name: np.zeros(shape, dtype) for name, (shape, dtype) in kinds.items()}
    whole: dict[str, np.ndarray] = multihost_utils.broadcast_one_to_all(dict(mine))
    return whole


@contextlib.contextmanager
def raise_on_all() -> Iterator[bool]:
    """Makes all processes fail where one of them fails in the context.

    The context is for what each process, or process 0 alone, does without waiting for the others.

    Yields:
      Whether this is process 0.

    Raises:
      InputError: in all processes, where one raised InputError or OSError.
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
def leader_section(make: Callable[[], Callable[[Any], Any]]) -> Iterator[bool]:
    """Lets process 0 lead while the others take part in what it computes; fails in all, as `raise_on_all`.

    Args:
      make: makes the function that all processes call together: process 0 with a batch, the others with None, in whose
        place the function takes what `broadcast_batch` returns. All processes call `make` first, because restoring a
        network takes all of them.

    Yields:
      Whether this is process 0.
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
    """Whether the run has been asked to stop: SIGTERM to this process or to any other of the run."""

    def __init__(self) -> None:
        """Starts without a request."""
        self._asked = False
        self._next = 0

    def asked(self, step: int) -> bool:
        """Whether to stop after `step`; all processes call it at every step and get the same answer.

        The answer turns true some steps after the signal.
        """
        if jax.process_count() > 1:
            # JAX chooses the first number that no process has reached, and says yes at that number alone. So every
            # number is asked for, also those before the first step of a resumed run. Orbax asks too, when it saves.
            numbers = range(self._next, step + 1)
            self._next = step + 1
            self._asked |= any(multihost_utils.reached_preemption_sync_point(number) for number in numbers)
        return self._asked

    def _note(self, *_: Any) -> None:
        self._asked = True


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Treats SIGTERM as a request to stop the run while the context lasts.

    With several processes JAX catches the signal and tells all of them (jax.distributed). A context inside another one
    shares its requests. Only the main thread can catch signals: elsewhere nothing stops the run.
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
    """Waits until somebody listens at HOST:PORT; raises launcher.Lost after `timeout` seconds."""
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
    """Raises InputError where the port of HOST:PORT is taken; JAX would fail in one of several ways later."""
    port = int(address.rpartition(":")[2])
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise InputError(
            f"--coordinator_address={address}: process 0 cannot listen at port {port} of this machine "
            f"({error.strerror}); name another port, in all processes"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Sends what C++ writes to stderr to the watcher's notes: launcher.watch reports a failed join in one line."""
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(launcher.notes(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
