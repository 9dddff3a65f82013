"""`lcjax train`: one loop for every task."""

import contextlib
import dataclasses
import json
import math
import pathlib
import time

import jax
import numpy as np

from data_pipelines.reading import loader
from data_pipelines.reading.dataset import Dataset, open_dataset
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.normalization import SCALINGS
from data_pipelines.schema.sensors import Sensor
from lcjax import tasks
from lcjax.engine import durations, restore, steps
from lcjax.engine import optimizer as optimizers
from lcjax.export import exporter
from lcjax.models import params
from lcjax.ops import augment
from lcjax.parallel import launcher, multihost
from lcjax.parallel import mesh as meshes
from lcjax.runs import checkpoints, goodput, workdir
from lcjax.runs import model_card as cards
from lcjax.runs.timer import Timer, duration
from lcjax.tasks import fusion as fusions
from lcjax.training import probes, profiler

_DONE = "all steps done"


class _Diverged(FloatingPointError):
    pass


@dataclasses.dataclass
class Progress:
    """What a checkpoint keeps beside the arrays, as JSON: all that the run must know to go on.

    Attributes:
      position: examples drawn from the training stream.
      window: sums of the metrics since they were last logged, and how many "steps" they are of.
      evaluated: step of the last evaluation; -1 before the first.
      best: highest score of the task's `monitor` so far.
      since_best: evaluations since then.
      lr_multiplier: what the scheduled learning rate is multiplied by.
      ended: why the run is over; empty while it is not.
      devices: that shared each batch.
      card: the card of the run, as JSON.
    """

    position: int = 0
    window: dict[str, float] = dataclasses.field(default_factory=dict)
    evaluated: int = -1
    best: float | None = None
    since_best: int = 0
    lr_multiplier: float = 1.0
    ended: str = ""
    devices: int = 0
    card: str = ""

    @classmethod
    def of(cls, kept: dict) -> "Progress":
        """From what a checkpoint keeps; older ones kept more, and less."""
        return cls(**{field.name: kept[field.name] for field in dataclasses.fields(cls) if field.name in kept})


def train(
    config,
    folder: pathlib.Path,
    *,
    allow_other_config: bool = False,
    profile: str = "",
    started: float | None = None,
) -> None:
    """Trains to the end, or to early stopping.

    The order of the loop is a contract: (1) evaluate the state, keep the best; (2) save if due; (3) next batch;
    (4) dispatch the step; (5) fetch and write the metrics of the step before, and stop on NaN. Nothing is saved
    before the metrics of its last step were seen to be finite. Without a validation split (1) is left out, and the
    best is the last. An evaluation sets the factor by which the schedule "plateau" lowers the learning rate, before
    anything is saved: the steps after it take the lower rate, also those of a run that goes on from there.

    Args:
      config: of one of the files in configs/.
      folder: the workdir.
      allow_other_config: go on with a run that was started with another config.
      profile: "FIRST:LAST", steps that are traced.
      started: when this process began, unix seconds; None for now.

    Raises:
      InputError: config, data or workdir are not what they should be.
      FloatingPointError: loss or gradient are not finite; says the step, the norms and the record ids.
      launcher.Stopped: the run was asked to stop by SIGTERM, and has saved.
    """
    with multihost.stop_requests() as stop:  # from here on: it is taken at the first step, whatever comes before
        _train(config, folder, stop, allow_other_config, profile, started or time.time())


def _train(
    config,
    folder: pathlib.Path,
    stop: multihost.StopRequests,
    allow_other_config: bool,
    profile: str,
    started: float,
) -> None:
    # ------------------------------------------------------------------ data, task
    with multihost.raise_on_all():
        dataset = open_dataset(config.data_dir, config.dataset, legend=config.legend, bands=config.bands)
        source = dataset.source(config.split.train)
        held_out = dataset.source(config.split.validation) if config.split.validation else None
        card = make_card(config, dataset)
    multihost.agree(json.loads(card.to_json()), "the data")
    meshes.check(config.parallel)
    task = tasks.make(config, card)
    for warning in dict.fromkeys(text for split in card.splits.values() for text in split["warnings"]):
        workdir.say(f"warning: {warning}")
    loader.check_readers(config.threads, config.workers)
    if config.crop > dataset.tile:
        raise InputError(f"config.crop={config.crop}: larger than the {dataset.tile} px tiles of {dataset.name}")
    task.check(source, dataset.folder)
    optimizers.check_plateau(config)
    if config.freeze and config.init == "random":
        workdir.say(
            f"warning: config.freeze={config.freeze!r} with config.init='random': what is frozen has learned nothing"
        )
    augment.check_perturbation(card.sensors, config.speckle, config.jitter)

    # ------------------------------------------------------------------ durations
    units = {"batch_size": config.batch_size, "epoch": len(source)}
    total = durations.steps(config.total, name="config.total", **units)

    def every(name: str) -> int:
        return max(1, durations.steps(config[name], name=f"config.{name}", **units, total=total))

    log_every, evaluate_every, save_every = every("log_every"), every("evaluate_every"), every("save_every")

    # ------------------------------------------------------------------ mesh, optimiser
    mesh = meshes.make_mesh(config.parallel.data, config.parallel.fsdp, config.batch_size, config.accumulate)
    batch_sharding = meshes.batch_sharding(mesh)
    by_device = config.parallel.mode == "pmap"
    template = params.Template(task.build, config.freeze, meshes.batch_norm_attributes(config.parallel, mesh))
    exporter.check(task, config, card, template)  # what could not be used in the end is not trained
    optimizer = optimizers.make_optimizer(config.optimizer)
    warmup = durations.steps(config.optimizer.warmup, name="config.optimizer.warmup", **units, total=total)
    rate = optimizers.learning_rate(config.optimizer, config.batch_size, warmup, total)
    step_function = steps.train_step(task, template, optimizer, rate, config.seed, config.accumulate)
    count = steps.evaluation_step(task, template)
    evaluation_size = steps.evaluation_batch(config, mesh.size)
    probe = probes.make(config, dataset, task, template, evaluation_size, mesh)
    trace = profiler.Trace(profile, folder)

    # ------------------------------------------------------------------ initial state, or where an earlier run stood
    workdir.start(folder, config, card, allow_other_config=allow_other_config)
    last, best = (checkpoints.Checkpoints(folder, kind) for kind in checkpoints.KINDS)
    values = params.init_params(template.parameters, config.seed)
    statistics = params.init_params(template.statistics, config.seed)
    progress = Progress()
    found, damaged = last.latest_undamaged()
    if damaged and found is None:
        raise InputError(
            f"{damaged[0]}, and so is every other in {last.folder}; put back what it was, or take another --workdir"
        )
    for damage in damaged:
        workdir.say(f"warning: {damage}; an earlier one is taken")
    if found is None and config.init != "random":
        values, statistics = restore.pretrained(pathlib.Path(config.init), card, values, statistics)
    state = steps.initial_state(template, values, statistics, optimizer, mesh)
    if found is not None:
        progress = Progress.of(last.restore_meta(found))
        if progress.ended == _DONE and found < total:
            progress.ended = ""  # with another config.total there is more to do
        if progress.ended:
            workdir.say(f"{folder}: already ended at step {found}: {progress.ended}")
            return
        if found > total:
            raise InputError(
                f"config.total={config.total}: {total} steps, and the run in {folder} has gone {found}; take more, or "
                "another --workdir"
            )
        if config.parallel.batch_norm == "replica" and progress.devices != mesh.size:
            workdir.say(
                f"warning: config.parallel.batch_norm='replica': {progress.devices} devices shared a batch before, and "
                f"{mesh.size} do now, so that each normalises by another number of examples"
            )
        state = steps.with_lr_multiplier(_restore(last, found, state), progress.lr_multiplier)
        workdir.say(f"{folder}: goes on from step {found} of {total}")
    workdir.write(folder, config, card)
    for where in (last, best):
        where.forget_after(found or 0)
    progress.card, progress.devices = card.to_json(), mesh.size
    attempt = goodput.Attempt(folder / goodput.FILE, started, found or 0) if multihost.is_main_process() else None
    clock = Timer()
    clock.seconds["start"] = time.time() - started
    names = {"trained": state.trainable, "frozen": state.frozen}
    sizes = {name: sum(math.prod(leaf.shape) for leaf in flat.values()) for name, flat in names.items()}
    workdir.say(
        f"{folder}: {config.task} with {config.model.name}, {sizes['trained']:,} trained and {sizes['frozen']:,} "
        f"frozen parameters, {len(source)} records, batch {config.batch_size}, {total} steps, {mesh.size} device(s) of "
        f"{jax.process_count()} process(es)"
    )

    # ------------------------------------------------------------------ compile before the loop
    batches = loader.train_batches(
        source,
        batch_size=config.batch_size,
        seed=config.seed,
        position=progress.position,
        keys=task.keys,
        crop=config.crop,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        threads=config.threads,
        workers=config.workers,
    )
    batch: dict[str, jax.Array] | None  # the next one, where it is there already
    with clock.measure("compile"):
        batch = meshes.global_batch(next(batches), batch_sharding, by_device=by_device)
        compiled = steps.compile_train_step(step_function, state, batch, config.parallel.mode)
        multihost.barrier("step compiled")  # who waits in the step itself is not waited for long
    workdir.say(f"{folder}: step compiled in {duration(clock.seconds['compile'])}{_cost(compiled, config.accumulate)}")

    # ------------------------------------------------------------------ what the loop calls
    pending: tuple[int, dict] | None = None

    def flush() -> None:
        """Writes the metrics of the step before; stops on NaN."""
        nonlocal pending
        if pending is None:
            return
        step, arrays = pending
        pending = None
        values = {key: float(value) for key, value in sorted(jax.device_get(arrays).items())}
        if not all(map(math.isfinite, values.values())):
            for where in (last, best):
                where.wait()
            raise _Diverged(_diverged(step, values, state, source, config, folder, last.latest()))
        window = progress.window
        for key, value in values.items():
            window[key] = window.get(key, 0.0) + value
        window["steps"] = window.get("steps", 0) + 1
        if step % log_every == 0 or step == total:
            number = window.pop("steps")
            means = {key: value / number for key, value in window.items()}
            # Not a mean: the rate that the last step took.
            means["learning_rate"] = values["learning_rate"]
            progress.window = {}
            speed = clock.tick(number * config.batch_size)
            seen(step)
            left = duration((total - step) * config.batch_size / speed)
            log.write(step, "train", means, {"examples_per_second": speed})
            shown = "  ".join(f"{key} {means[key]:.4g}" for key in ("loss", *_extra(means), "learning_rate"))
            workdir.say(f"step {step}/{total}  {shown}  {speed:.1f} examples/s  ETA {left}")
            warning = task.health_warning(means) if step > warmup else ""
            if warning:
                workdir.say(f"warning: step {step}: {warning}")

    def seen(step: int) -> None:
        """Notes what this start of the run has spent, for goodput."""
        if attempt:
            attempt.seen(step, clock.spent())

    def evaluate(step: int) -> None:
        """Scores the held-out split; keeps a copy of the best state, or lowers the rate where that is due."""
        nonlocal state
        assert held_out is not None
        held_out_batches = steps.evaluation_batches(held_out, evaluation_size, task.keys, config.threads)
        everything = state.trainable | state.frozen
        scores = task.scores(steps.evaluate(count, everything, state.statistics, held_out_batches, batch_sharding))
        if probe:
            scores |= probe(everything, state.statistics)
        log.write(step, "validation", scores)
        score = scores[task.monitor]
        better = progress.best is None or score > progress.best
        progress.evaluated = step
        progress.since_best = 0 if better else progress.since_best + 1
        factor = optimizers.plateau_factor(config.optimizer, progress.since_best)
        if factor != 1:
            progress.lr_multiplier *= factor
            state = steps.with_lr_multiplier(state, progress.lr_multiplier)
            workdir.say(
                f"step {step}/{total}  the learning rate is lowered to {progress.lr_multiplier:.4g} of its schedule"
            )
        if better:
            progress.best = score
            save(best, step)
        shown = "  ".join(f"{key} {value:.4f}" for key, value in scores.items() if "/" not in key)
        workdir.say(f"step {step}/{total}  validation: {shown}{'  (best)' if better else ''}")

    def save(where: checkpoints.Checkpoints, step: int) -> None:
        model = {"parameters": state.trainable | state.frozen, "statistics": state.statistics}
        progress.position = step * config.batch_size
        # One at a time: `last` says which state was the best, and must not be there before that state is; and of
        # several processes two savings at once would take each other's signals.
        for before in (last, best):
            before.wait()
        where.save(step, model=model, optimizer=state.opt_state, meta=dataclasses.asdict(progress))

    # ------------------------------------------------------------------ the loop
    step = found or 0
    with (
        workdir.Log(folder, step, progress.evaluated) as log,
        contextlib.closing(batches),
        trace,
        jax.transfer_guard("disallow"),
    ):
        while True:
            ending = step == total
            with jax.transfer_guard("allow"):  # of several processes, they tell each other
                stopping = stop.asked(step) and not ending
            due = not stopping and held_out is not None and ((step % evaluate_every == 0 and step > 0) or ending)
            if due and progress.evaluated != step:
                flush()
                with clock.measure("evaluate"):
                    evaluate(step)
                if config.patience and progress.since_best >= config.patience and not ending:
                    progress.ended = f"no better {task.monitor} in {config.patience} evaluations"
                    ending = True
            if ending or ((stopping or step % save_every == 0) and step > 0 and step != found):
                flush()
                if ending:
                    progress.ended = progress.ended or _DONE
                with clock.measure("checkpoint"):
                    lost = ending and held_out is not None and best.latest() is None
                    if lost:
                        # It was of steps that were computed again, and otherwise than before: on another device, say.
                        workdir.say(f"warning: {folder}: the best checkpoint was lost in a restart; the last is kept")
                    if lost or (ending and held_out is None):
                        save(best, step)
                    save(last, step)
                seen(step)
            if ending or stopping:
                break
            if batch is None:
                with clock.measure("data"):
                    batch = meshes.global_batch(next(batches), batch_sharding, by_device=by_device)
            trace.before(step + 1)
            with jax.profiler.StepTraceAnnotation("train", step_num=step):
                state, metrics = compiled(state, batch)
            batch = None
            step += 1
            trace.after(step, metrics)
            flush()
            pending = (step, metrics)

    # ------------------------------------------------------------------ after the loop
    with clock.measure("checkpoint"):
        for where in (last, best):
            where.wait()
            where.close()
    seen(step)
    if attempt:
        workdir.say(goodput.line(goodput.summary(folder / goodput.FILE)))
    if stopping:
        kept = "which is saved; the same command goes on" if step else "nothing was lost; the same command starts it"
        workdir.say(f"{folder}: stopped at step {step} of {total}, {kept}")
        raise launcher.Stopped
    score = "no validation split" if progress.best is None else f"best {task.monitor} {progress.best:.4f}"
    workdir.say(f"{folder}: ended at step {step} ({progress.ended}); {score}{_peak()}")


def make_card(config, dataset: Dataset) -> cards.Card:
    """The card of a run of this config on this data set. Raises InputError where it lacks a sensor or a split."""
    ids = {role: dataset.source(spec).ids for role, spec in sorted(config.split.items()) if spec}
    roles = {
        role: {
            "spec": config.split[role],
            "records": len(of_role),
            "id": dataset.split_id(config.split[role]),
            "class_pixels": dataset.class_pixels(config.split[role]),
            "warnings": _warnings(config, dataset, ids, role),
        }
        for role, of_role in ids.items()
    }
    return cards.Card(
        model=config.model.name,
        fusion=config.fusion,
        sensors=fusions.sensors_of(config.fusion, _scaled(config, dataset).values()),
        legend=dataset.legend,
        tile=config.window or dataset.tile,
        dataset=f"{dataset.name} {dataset.version}",
        splits=roles,
        versions=cards.versions(),
    )


def _warnings(config, dataset: Dataset, ids: dict[str, tuple[str, ...]], role: str) -> list[str]:
    """What a reader of scores on a role of the run must know: of its records, and of those that other roles share."""
    seen = set(ids[role])
    shared = {other: len(seen & set(ids[other])) for other in ids if other != role}
    return [
        *(f"{n:,} of the {len(seen):,} records of {role} are also in {other}" for other, n in shared.items() if n),
        *dict.fromkeys(
            text for spec in (config.split.train, config.split[role]) if spec for text in dataset.warnings(spec)
        ),
    ]


def _scaled(config, dataset: Dataset) -> dict[str, Sensor]:
    """The sensors by name, with the scaling that the config names."""
    if config.scaling not in SCALINGS:
        raise InputError(f"config.scaling={config.scaling!r}: expected one of {', '.join(SCALINGS)}")
    # Of parts of splits they are summed up when they are asked for, and not before.
    needed = config.scaling in ("standardised", "whitened")
    statistics = dataset.moments(config.split.train) if needed else {}
    return {s.name: SCALINGS[config.scaling](s, statistics.get(s.name, {})) for s in dataset.sensors}


def _restore(last: checkpoints.Checkpoints, step: int, state: steps.State) -> steps.State:
    like = {"parameters": state.trainable | state.frozen, "statistics": state.statistics}
    model = last.restore_model(step, like)
    return steps.State(
        step=meshes.place(np.int32(step), state.step.sharding),
        trainable={path: model["parameters"][path] for path in state.trainable},
        frozen={path: model["parameters"][path] for path in state.frozen},
        statistics=model["statistics"],
        opt_state=last.restore_optimizer(step, state.opt_state),
        lr_multiplier=state.lr_multiplier,
    )


def _extra(means: dict) -> list[str]:
    fixed = ("loss", "learning_rate", "gradient_norm", "steps")
    return [key for key in means if key not in fixed]


def _cost(compiled: jax.stages.Compiled, accumulate: int) -> str:
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    counted = "step" if accumulate == 1 else "part of a step"  # the compiler sees the loop over parts as one of them
    parts = []
    if cost and cost.get("flops", 0) > 0:
        parts.append(f"{cost['flops'] / 1e9:.1f} GFLOP a {counted} and device by the compiler's count")
    if memory:
        parts.append(f"{(memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 1e6:.0f} MB")
    return ", " + ", ".join(parts) if parts else ""


def _peak() -> str:
    """The most memory that any device of this process has used, where the device tells."""
    told = [stats for device in jax.local_devices() if (stats := device.memory_stats())]
    if not told:
        return ""
    most = max(told, key=lambda stats: stats["peak_bytes_in_use"])
    return f"; at most {most['peak_bytes_in_use'] / 1e9:.1f} of {most['bytes_limit'] / 1e9:.1f} GB on a device"


def _diverged(
    step: int, values: dict, state: steps.State, source, config, folder: pathlib.Path, kept: int | None
) -> str:
    first = (step - 1) * config.batch_size
    ids = loader.record_ids(source, range(first, first + config.batch_size), config.seed)
    with jax.transfer_guard("allow"):  # there is no hurry any more
        values = values | {"parameter_norm": float(params.norm(state.trainable))}
    shown = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
    good = f"the checkpoint of step {kept} in {folder} is kept" if kept else "no checkpoint had been saved yet"
    return (
        f"step {step} is not finite: {shown}; records {', '.join(ids)}; {good}; "
        "look at these records, or lower config.optimizer.learning_rate in a new --workdir"
    )
