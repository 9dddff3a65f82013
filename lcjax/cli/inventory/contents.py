"""What a folder holds: a run, prepared data, an exported network, a study. Its files are read, and nothing is run."""

import pathlib
from collections.abc import Callable

from data_pipelines.prepare import findings
from data_pipelines.schema import on_disk
from data_pipelines.schema.errors import InputError
from lcjax import tasks
from lcjax.export import load
from lcjax.runs import calibration, evaluations, model_card, pulled, workdir
from lcjax.sweep import page, study, worker


def text(folder: pathlib.Path) -> str:
    """What a folder holds, as lines. Raises InputError where it holds nothing of ours."""
    for file, told in _KINDS.items():
        if (folder / file).is_file():
            return "\n".join(told(folder))
    data_sets = sorted(path.parent for path in folder.glob(f"**/{on_disk.DESCRIPTION}"))
    runs = sorted(path.parent for path in folder.glob(f"*/{workdir.CONFIG}"))
    if not data_sets and not runs:
        raise InputError(
            f"{folder}: holds none of {', '.join(_KINDS)}; expected a workdir, a prepared data set, a folder of them, "
            "an exported network or a study"
        )
    return "\n\n".join("\n".join(told) for told in [*map(_data_set, data_sets), *map(_run, runs)])


def _run(folder: pathlib.Path) -> list[str]:
    config = workdir.read_config(folder)
    tasks.check_names(config)
    lines = [
        f"{folder}: a training run ({config.get('task')})",
        f"  network     {config['model']['name']}, fusion {config['fusion']}, init {config['init']}"
        + (f", frozen: {config['freeze']}" if config["freeze"] else ""),
        f"  length      {config['total']} in batches of {config['batch_size']}, seed {config['seed']}",
    ]
    if (folder / model_card.FILE).exists():
        lines += _card(model_card.read(folder))
    if origin := pulled.read(folder):
        lines.append(f"  pulled      from hf:{origin['source']}")
    for kind in ("last", "best"):
        steps = sorted(int(path.name) for path in (folder / "checkpoints" / kind).glob("*") if path.name.isdigit())
        lines.append(f"  {kind:<11} {f'checkpoint of step {steps[-1]:,}' if steps else 'no checkpoint'}")
    curve = [row for row in workdir.read_metrics(folder) if row["split"] == "validation"]
    if curve:
        lines.append(f"  validation  step {curve[-1]['step']:,}: {_scores(curve[-1])}")
    lines += [f"  calibrated  {one.kind}, {one.summary}" for one in (calibration.read(folder) or {}).values()]
    for path in sorted(folder.glob("evaluation/*/metrics.json")):
        metrics = evaluations.read(path.parent)
        lines.append(f"  {path.parent.name:<11} {_scores(metrics['scores'])} (lcjax evaluate)")
    return lines


def _card(card: model_card.Card) -> list[str]:
    lines = [f"  data        {card.dataset}, tiles of {card.tile} px"]
    lines += [f"  bands       {sensor.name}: {', '.join(sensor.bands)}" for sensor in card.sensors]
    names = [one.name for one in card.legend.scored]
    lines.append(f"  classes     {len(names)} of {card.legend.name}: {', '.join(names)}")
    lines += [f"  {role:<11} {split['records']:,} records of {split['spec']}" for role, split in card.splits.items()]
    if card.sampling:
        drawn, names_of = card.sampling, {str(one.id): one.name for one in card.legend.scored}
        shares = ", ".join(f"{names_of.get(key, key)} {one['drawn']:.1%}" for key, one in drawn["classes"].items())
        lines.append(f"  drawn       by {drawn['name']} of strength {drawn['strength']:g}; of drawn pixels: {shares}")
    if card.order:
        order = card.order
        lines.append(
            f"  ordered     by {order['name']}: {order['groups']:,} groups of up to {order['largest']:,} records"
        )
    lines.append(f"  made with   {', '.join(f'{name} {version}' for name, version in card.versions.items())}")
    return lines


def _data_set(folder: pathlib.Path) -> list[str]:
    description, statistics = on_disk.read_description(folder)
    partitions = on_disk.read_partitions(folder)
    size = sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
    lines = [
        f"{folder}: the data set {description['name']} {description['version']}, prepared ({size / 1e6:,.1f} MB)",
        f"  tiles       {description['tile']} px",
    ]
    lines += [f"  bands       {sensor.name}: {', '.join(sensor.bands)}" for sensor in description["sensors"]]
    for legend in description["legends"]:
        names = [one.name for one in legend.classes]
        lines.append(f"  legend      {legend.name}, {len(names)} classes: {', '.join(names)}")
    lines += [f"  {split:<11} {of_split['records']:,} records" for split, of_split in statistics["splits"].items()]
    lines += [f"  partitions  {', '.join(partitions)}"] if partitions else []
    stored = description["legends"][0]
    return lines + [f"  worth a look: {line}" for line in findings.findings(stored, statistics["splits"])]


def _export(folder: pathlib.Path) -> list[str]:
    lines = [f"{folder}: an exported network; {folder}/README.md says how to call it"]
    lines += [f"  calibrated  {one.summary}" for one in (calibration.read(folder) or {}).values()]
    return lines + (_card(model_card.read(folder)) if (folder / model_card.FILE).is_file() else [])


def _study(folder: pathlib.Path) -> list[str]:
    best = folder / worker.BEST
    lines = [f"{folder}: a study of trials; {folder / page.FILE} shows it"]
    return lines + ([f"  best        {best}, for `lcjax train --config=`"] if best.is_file() else [])


def _scores(row: dict) -> str:
    return "  ".join(f"{key} {value:.4f}" for key, value in row.items() if isinstance(value, float) and "/" not in key)


_KINDS: dict[str, Callable[[pathlib.Path], list[str]]] = {
    workdir.CONFIG: _run,
    on_disk.DESCRIPTION: _data_set,
    load.DESCRIPTION: _export,
    study.FILE: _study,
}
