"""The training loop: one for every task, on any number of devices and processes."""

import contextlib
import dataclasses
import math
import pathlib
import time

import jax

from data_pipelines.reading import loader
from data_pipelines.schema.errors import InputError
from lcjax.engine import attention
from lcjax.engine.experiment import Experiment
from lcjax.engine.state import State
from lcjax.export import exporter
from lcjax.models import params, registry
from lcjax.parallel import devices, launcher, multihost
from lcjax.runs import goodput, storage, workdir
from lcjax.runs.progress import DONE, Progress
from lcjax.runs.timer import Timer, duration
from lcjax.training import pictures, probes
from lcjax.training.batches import Batches
from lcjax.training.evaluator import Evaluator
from lcjax.training.metrics_writer import MetricsWriter, NotFinite
from lcjax.training.profiler import Trace
from lcjax.training.record import Record, tell_missed
from lcjax.training.saver import Saver
from lcjax.training.trackers import registry as trackers

_log = multihost.shared_logger(__name__)


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a run has come to.

    Attributes:
      workdir: its folder.
      step: updates that it had.
      ended: why it is over.
      scores: of the validation split, by the best checkpoint; empty without a validation split.
      history: the lines of metrics.jsonl, in order: "step", "split" and the metrics by name.
    """

    workdir: pathlib.Path
    step: int
    ended: str
    scores: dict[str, float]
    history: list[dict]


def train(
    experiment: Experiment,
    folder: pathlib.Path,
    *,
    allow_other_config: bool = False,
    profile: str = "",
    started: float | None = None,
) -> TrainResult:
    """Trains to the end, or to early stopping; goes on where an earlier start of the run was stopped.

    The order of the loop is a contract: (1) evaluate the state, keep the best; (2) save if due; (3) next batch;
    (4) dispatch the step; (5) fetch and write the metrics of the step before, and stop on NaN. Nothing is saved
    before the metrics of its last step were seen to be finite. Without a validation split (1) is left out, and the
    best is the last. An evaluation sets the factor by which the schedule "plateau" lowers the learning rate, before
    anything is saved: the steps after it take the lower rate, also those of a run that goes on from there.

    Args:
      experiment: what is trained.
      folder: the workdir.
      allow_other_config: go on with a run that was started with another config.
      profile: "FIRST:LAST", steps that are traced.
      started: when this process began, unix seconds; None for now.

    Raises:
      InputError: the experiment and what the workdir holds do not go together, another process is training in it, or
        the network could not be exported.
      FloatingPointError: loss or gradient are not finite; says the step, the norms and the record ids.
      launcher.Stopped: the run was asked to stop by SIGTERM, and has saved.
    """
    # From here on a request to stop is taken at the first step, whatever comes before.
    with multihost.stop_requests() as stop, contextlib.ExitStack() as held:
        started = started or time.time()
        _check_export(experiment)
        with multihost.raise_on_all():
            followed_by = trackers.named(experiment.config)
        probe, trace = probes.make(experiment), Trace(profile, folder)
        held.enter_context(workdir.alone(folder, doing="training in"))
        workdir.start(folder, experiment.config, experiment.card, allow_other_config=allow_other_config)
        experiment = attention.settled(experiment, folder)
        saver = held.enter_context(Saver(folder, experiment))
        state = saver.init_or_restore(allow_other_config=allow_other_config)
        progress = saver.progress
        if progress.ended:
            _log.info(f"{folder}: already ended at step {saver.first}: {progress.ended}")
            saver.mend_best(state)
            tell_missed(folder, experiment, saver.first, followed_by)
            return _result(experiment, folder, saver.first, progress)
        storage.try_out(folder, experiment.mesh)
        workdir.write(folder, experiment.config, saver.card)
        saver.forget_later()
        attempt, timer = goodput.begin(folder, started, saver.first), Timer()
        timer.seconds["start"] = max(0.0, time.time() - started)  # somebody may have set the clock
        _log.info(_beginning(experiment, folder, state, saver.first))
        if experiment.order:
            config = experiment.config
            _log.info(f"{folder}: {experiment.order.text(config.batch_size, config.seed)}")
        _log.info(f"{folder}: {devices.where()}")
        batches = Batches(experiment, progress.position, timer)
        # Closed last: trackers are waited for when everything else is safe.
        record = held.enter_context(Record(folder, experiment, saver.first, progress, followed_by))
        with contextlib.closing(batches), trace:
            writer = MetricsWriter(experiment, progress, record, timer, attempt)
            evaluator = Evaluator(experiment, progress, saver, record, probe, pictures.make(experiment))
            parts = _Parts(experiment, saver, timer, attempt, batches, trace, writer, evaluator)
            step, stopping = _run(parts, state, stop)
        with timer.measure("checkpoint"):
            saver.wait()
        attempt.seen(step, timer.spent())
        if multihost.is_main_process():
            _log.info(goodput.line(goodput.summary(folder / goodput.FILE)))
        _log.info(_ending(experiment, folder, step, progress, stopping=stopping))
    if stopping:
        raise launcher.Stopped
    return _result(experiment, folder, step, progress)


@dataclasses.dataclass(frozen=True)
class _Parts:
    """What the loop calls."""

    experiment: Experiment
    saver: Saver
    timer: Timer
    attempt: goodput.Attempt
    batches: Batches
    trace: Trace
    writer: MetricsWriter
    evaluator: Evaluator


def _run(parts: _Parts, state: State, stop: multihost.StopRequests) -> tuple[int, bool]:
    """Runs the loop; returns the last step, and whether the run was asked to stop."""
    saver, timer, batches, writer, evaluator = parts.saver, parts.timer, parts.batches, parts.writer, parts.evaluator
    step, total, progress = saver.first, parts.experiment.length.total, saver.progress
    train_step = _compiled(parts, state)
    try:
        with jax.transfer_guard("disallow"):
            while True:
                with jax.transfer_guard("allow"):  # of several processes, they tell each other
                    stopping = stop.asked(step) and step < total
                if evaluator.is_due(step) and not stopping:
                    writer.flush()
                    with timer.measure("evaluate"):
                        state = evaluator.evaluate(step, state)
                if step == total:
                    progress.ended = DONE
                ending = bool(progress.ended)
                if ending or ((stopping or saver.is_due(step)) and step not in (0, saver.first)):
                    writer.flush()
                    with timer.measure("checkpoint"):
                        saver.save_last(state, step)
                    parts.attempt.seen(step, timer.spent())
                if ending or stopping:
                    return step, stopping
                batches.peek()
                parts.trace.before(step + 1)
                with jax.profiler.StepTraceAnnotation("train", step_num=step):
                    state, metrics = train_step(state, batches.take())
                step += 1
                parts.trace.after(step, metrics)
                writer.push(step, metrics)
    except NotFinite as error:
        saver.wait()
        raise FloatingPointError(_divergence(error, parts.experiment, state, saver)) from error


def _compiled(parts: _Parts, state: State) -> jax.stages.Compiled:
    """Compiles the step before the loop, and says what it costs."""
    batch = parts.batches.peek()
    with parts.timer.measure("compile"):
        compiled = parts.experiment.compile(state, batch)
        multihost.barrier("step compiled")  # who waits in the step itself is not waited for long
    seconds = duration(parts.timer.seconds["compile"])
    _log.info(f"{parts.saver.workdir}: step compiled in {seconds}{_cost(compiled, parts.experiment.config.accumulate)}")
    return compiled


def _check_export(experiment: Experiment) -> None:
    """Refuses to train a network of ours that could not be used in the end; of others it only warns."""
    try:
        exporter.check(experiment.task, experiment.config, experiment.card, experiment.template)
    except InputError as error:
        if registry.is_built_in(experiment.config.model.name):
            raise
        _log.warning(f"{error}; it is trained all the same, and `lcjax export` will refuse it")


def _result(experiment: Experiment, folder: pathlib.Path, step: int, progress: Progress) -> TrainResult:
    history = workdir.read_metrics(folder)
    scored = [row for row in history if row["split"] == "validation"]
    # Of several highest the first is the one whose state is kept.
    best = experiment.monitor.best(scored)
    scores = {key: value for key, value in best.items() if key not in ("step", "split")}
    return TrainResult(folder, step, progress.ended, scores, history)


def _beginning(experiment: Experiment, folder: pathlib.Path, state: State, step: int) -> str:
    config, total = experiment.config, experiment.length.total
    sizes = [sum(math.prod(leaf.shape) for leaf in flat.values()) for flat in (state.trainable, state.frozen)]
    goes_on = f"{folder}: goes on from step {step} of {total}\n" if step else ""
    return (
        f"{goes_on}{folder}: {config.task} with {config.model.name}, {sizes[0]:,} trained and {sizes[1]:,} "
        f"frozen parameters, {len(experiment.train_source)} records, batch {config.batch_size}, {total} steps, "
        f"{experiment.mesh.size} device(s) of {jax.process_count()} process(es)"
    )


def _cost(compiled: jax.stages.Compiled, accumulate: int) -> str:
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    counted = "step" if accumulate == 1 else "part of a step"  # the compiler sees the loop over parts as one of them
    parts = []
    if cost and cost.get("flops", 0) > 0:
        parts.append(f"{cost['flops'] / 1e9:.1f} GFLOP a {counted} and device by the compiler's count")
    if memory:
        parts.append(f"{(memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 1e6:.0f} MB")
    return ", " + ", ".join(parts) if parts else ""


def _divergence(error: NotFinite, experiment: Experiment, state: State, saver: Saver) -> str:
    """What is said of a step that is not finite: its metrics, its records, and what is kept."""
    config, saved = experiment.config, saver.saved()
    first = (error.step - 1) * config.batch_size
    positions = range(first, first + config.batch_size)
    ids = loader.record_ids(experiment.train_source, positions, config.seed, experiment.order)
    with jax.transfer_guard("allow"):  # there is no hurry any more
        metrics = error.metrics | {"parameter_norm": float(params.norm(state.trainable))}
    shown = ", ".join(f"{key} {value:.4g}" for key, value in metrics.items())
    kept = f"the checkpoint of step {saved} in {saver.workdir} is kept" if saved else "no checkpoint had been saved yet"
    return (
        f"step {error.step} is not finite: {shown}; records {', '.join(ids)}; {kept}; "
        "look at these records, or lower config.optimizer.learning_rate in a new --workdir"
    )


def _ending(experiment: Experiment, folder: pathlib.Path, step: int, progress: Progress, *, stopping: bool) -> str:
    if stopping:
        kept = "which is saved; the same command goes on" if step else "nothing was lost; the same command starts it"
        return f"{folder}: stopped at step {step} of {experiment.length.total}, {kept}"
    name = experiment.monitor.name
    score = "no validation split" if progress.best is None else f"best {name} {progress.best:.4f}"
    return f"{folder}: ended at step {step} ({progress.ended}); {score}{_peak()}"


def _peak() -> str:
    """The most memory that any device of this process has used, where the device tells."""
    told = [stats for device in jax.local_devices() if (stats := device.memory_stats())]
    if not told:
        return ""
    most = max(told, key=lambda stats: stats["peak_bytes_in_use"])
    return f"; at most {most['peak_bytes_in_use'] / 1e9:.1f} of {most['bytes_limit'] / 1e9:.1f} GB on a device"
