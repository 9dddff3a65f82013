"""The model card that people read on a hub: how to use a network, what it sees, its scores, where it comes from."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lcjax import tasks
from lcjax.reporting.tables import markdown_cell, markdown_table
from lcjax.runs import config_fields
from lcjax.runs.model_card import Card

_TAGS = ("lcjax", "land-cover", "remote-sensing", "jax")
_SHOWN = ("total", "batch_size", "crop", "precision", "loss", "optimizer.name", "optimizer.learning_rate", "seed")


def text(
    address: str,
    licence: str,
    card: Card,
    config: Mapping[str, Any],
    checkpoint: Mapping[str, Any],
    evaluations: Sequence[Mapping[str, Any]],
    calibrated: str,
) -> str:
    """Returns README.md.

    Args:
      address: ORG/NAME of the repository.
      licence: its identifier on the hub, such as "apache-2.0".
      card, config: of the network; without the paths of a machine.
      checkpoint: its kind and step.
      evaluations: metrics.json of each split that this checkpoint was scored on.
      calibrated: one line about it; "" where it is not.
    """
    name = address.partition("/")[2]
    step = f"the {checkpoint['kind']} checkpoint, step {checkpoint['step']:,}"
    parts = [
        _front(licence, card, config),
        f"# {_plain(name)}: {_plain(card.model)} for {_plain(card.dataset)}\n",
        f"A land-cover network of [lcjax](https://pypi.org/project/lcjax/), task {_plain(config['task'])}: {step}.\n",
        _use(address, name, card, maps=tasks.named(config["task"]).can_map),
        _inputs(card),
        _classes(card),
        _scores(evaluations, calibrated),
        _origin(card, config),
        f"## Licence\n\n`{licence}`, as stated by whoever pushed it. The data and the weights named above have "
        "licences of their own.\n",
    ]
    return "\n".join(parts)


def _front(licence: str, card: Card, config: Mapping[str, Any]) -> str:
    """The header that the hub reads; JSON is YAML."""
    fields = {
        "license": licence,
        "library_name": "lcjax",
        "pipeline_tag": _pipeline(tasks.named(config["task"])),
        "tags": [*_TAGS, card.model],
    }
    return "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in fields.items()), "---", ""])


def _pipeline(task: type[tasks.Task]) -> str:
    """What the hub calls such a network."""
    table = ((task.can_map, "image-segmentation"), (task.can_classify, "image-classification"))
    return next((tag for can, tag in table if can), "image-feature-extraction")


def _use(address: str, name: str, card: Card, *, maps: bool) -> str:
    several = len(card.sensors) > 1
    scene = ",".join(f"{s.name}={s.name}.tif" for s in card.sensors) if several else "scene.tif"
    mapped = [f"lcjax predict --workdir={name} --scene={scene} --output=map.tif"] if maps else []
    lines = [
        "## How to use it",
        "",
        "```",
        f"lcjax pull hf:{address} --workdir={name}",
        *mapped,
        "```",
        "",
        f"`pip install 'lcjax[hub]'` is what it needs. In Python: `lcjax.load(\"{name}\")`. Another network begins "
        f"with it by `--config.init={name}`.",
        "",
    ]
    return "\n".join(lines)


def _inputs(card: Card) -> str:
    rows = [
        [_cell(s.title), _cell(", ".join(s.bands)), s.dtype, _cell(s.meaning), _metres(s.ground_sampling)]
        for s in card.sensors
    ]
    table = markdown_table(["sensor", "bands, in order", "type", "one number", "pixel"], [], rows)
    shown = f"It is shown tiles of {card.tile} pixels; scaling is part of the network's card, `card.json`."
    return "\n".join(["## What it sees", "", *table, "", shown, ""])


def _metres(size: float | None) -> str:
    return "not known" if size is None else f"{size:g} m"


def _classes(card: Card) -> str:
    rows = [[str(c.value), _cell(c.name), f"`{c.colour}`"] for c in card.legend.scored]
    title = f"## Classes: {_plain(card.legend.name)}"
    return "\n".join([title, "", *markdown_table(["number in maps", "class", "colour"], [], rows), ""])


def _scores(evaluations: Sequence[Mapping[str, Any]], calibrated: str) -> str:
    lines = ["## Scores", ""]
    if not evaluations:
        lines += ["It was pushed without scores.", ""]
    for fields in evaluations:
        lines += _of_split(fields)
    if calibrated:
        lines += [f"Probabilities are calibrated: {_plain(calibrated)}.", ""]
    return "\n".join(lines)


def _of_split(fields: Mapping[str, Any]) -> list[str]:
    split, known = fields["split"], fields.get("intervals", {"scores": {}})
    of = f"Split `{_code(split['spec'])}` of {_plain(fields['dataset'])}: {fields['records']:,} records"
    counted = fields.get("pixels")
    rows = [[_cell(key), f"{value:.4f}", _between(known["scores"].get(key))] for key, value in fields["scores"].items()]
    classes = ", ".join(map(_plain, fields.get("class_set", ())))
    notes = [
        fields.get("note", ""),
        f"Absent, and left out of the means: {', '.join(fields['absent'])}" if fields.get("absent") else "",
        *split.get("warnings", ()),
    ]
    how = (
        f"Intervals hold {100 * known['level']:g} %, by drawing {known['blocks']} {known['block']}s again."
        if known["scores"]
        else ""
    )
    return [
        f"### {_plain(split['role'])}",
        "",
        of + (f", {counted:,} scored pixels." if counted is not None else "."),
        f"Classes of the means: {classes}." if classes else "",
        *(f"\n{_plain(note)}." for note in notes if note),
        "",
        *markdown_table(["score"], ["value", "interval"], rows),
        "",
        *([how, ""] if how else []),
    ]


def _between(interval: Sequence[float] | None) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""


def _origin(card: Card, config: Mapping[str, Any]) -> str:
    flat = config_fields.flat(config)
    splits = [
        f"* {_plain(role)}: {split['records']:,} records of `{_code(split['spec'])}` (id `{split['id']}`)"
        for role, split in card.splits.items()
    ]
    set_to = ", ".join(f"`{name}={_code(str(flat[name]))}`" for name in _SHOWN if name in flat)
    begun = card.weights
    weights = "random values"
    if begun:
        sums = f", SHA-256 `{begun['sha256']}`" if begun["sha256"] else ""
        counts = ", ".join(f"{count:,} {how}" for how, count in begun["arrays"].items() if count)
        weights = f"`{_code(begun['source'])}` ({_plain(begun['origin'])}{sums}); arrays: {counts}"
    versions = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    return "\n".join(
        [
            "## Where it comes from",
            "",
            f"Trained on {_plain(card.dataset)}:",
            "",
            *splits,
            "",
            f"Settings: {set_to}; all are in `config.json`.",
            "",
            f"It began with {weights}.",
            "",
            f"Made with {_plain(versions)}.",
            "",
        ]
    )


def _plain(text: str) -> str:
    """A text that stays text in Markdown: no tags, no links, no emphasis."""
    kept = " ".join(str(text).split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>#|" else letter for letter in kept)


def _cell(text: str) -> str:
    return markdown_cell(_plain(text)).replace("\\\\|", "\\|")


def _code(text: str) -> str:
    return str(text).replace("`", "'").replace("\n", " ")
