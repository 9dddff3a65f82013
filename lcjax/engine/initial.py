"""What a run begins with: random values, those of another run, or weights from elsewhere (config.init)."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError
from lcjax.engine import restore
from lcjax.models import params
from lcjax.models.interfaces import ParameterGroups
from lcjax.models.transfer import transfer
from lcjax.parallel import multihost
from lcjax.runs import model_card as cards
from lcjax.runs import workdir
from lcjax.tasks import fusion as fusions
from lcjax.weights import EXPORTED, arrival, files, hub, imagenet, layout
from lcjax.weights.arrival import Arrival, Plan, Row
from lcjax.weights.layouts import ALL

_log = multihost.shared_logger(__name__)

Host = dict[str, np.ndarray]

RANDOM = "random"
CARD = "card"  # of the metadata of our own .safetensors
# Fields of config.weights that ask something of a file of others, and what they are where nothing is asked.
_OF_OTHERS = {"layout": "", "bands": "auto", "decoder": "", "head": False}


@dataclasses.dataclass(frozen=True)
class Start:
    """What a run begins with.

    Attributes:
      parameters, statistics: path -> array, on the host.
      arrival: what of them came from elsewhere; None where they are random.
    """

    parameters: Host
    statistics: Host
    arrival: Arrival | None = None

    @property
    def origin(self) -> cards.Origin | None:
        """What the card says of it."""
        if self.arrival is None:
            return None
        one = self.arrival
        return {
            "source": one.source.removeprefix("config.init="),
            "sha256": one.sha256,
            "origin": one.origin,
            "bands": one.bands,
            "arrays": one.counts(),
        }


def start(config: ml_collections.ConfigDict, card: cards.Card, template: params.Template) -> Start:
    """The initial values of a run.

    Args:
      config: whose seed, init and weights decide.
      card: of the run.
      template: of its network.

    Raises:
      InputError: what config.init names is not there, or not of this network.
    """
    parameters, statistics = template.initial_values(config.seed, config.initializer)
    if config.init == RANDOM:
        _check_unasked(config, "config.init=random")
        return Start(parameters, statistics)
    with multihost.raise_on_all():
        word, colon, _ = config.init.partition(":")
        path, told = _NAMED.get(word + colon, _path)(config)
        source = f"config.init={told}"
        if not os.path.lexists(path):
            raise InputError(
                f"{source}: no such file or folder; expected {RANDOM}, {', '.join(_NAMED)}..., a workdir, a folder "
                "that `lcjax export` wrote, or a file of weights"
            )
        if path.is_dir() and not (path / workdir.CONFIG).is_file():
            path = next((path / name for name in EXPORTED if (path / name).is_file()), path)
        read = files.read(path) if not path.is_dir() else None
        exported = read and card_of(read)
    if read is None or exported:
        _check_unasked(config, source)
    if read is None:
        values, arrived = _of_run(path, config, card, template, parameters | statistics)
    elif exported:
        other = _Other(exported, dict(read.arrays), _groups_of(read.arrays, template), config.init, read.sha256)
        values, arrived = _of_ours(other, card, template, parameters | statistics)
    else:
        values, arrived = _from_elsewhere(read, source, config, card, template, parameters | statistics)
    multihost.agree({"sha256": arrived.sha256, "arrays": arrived.counts()}, f"what {config.init} holds")
    return Start({p: values[p] for p in parameters}, {p: values[p] for p in statistics}, arrived)


def _check_unasked(config: ml_collections.ConfigDict, source: str) -> None:
    """Raises InputError where something is asked of weights of others that begin nothing."""
    for field, silent in _OF_OTHERS.items():
        if config.weights[field] != silent:
            raise InputError(
                f"config.weights.{field}={config.weights[field]!r}: is for files of other libraries, and {source}; "
                f"leave it at {silent!r}"
            )


def _path(config: ml_collections.ConfigDict) -> tuple[pathlib.Path, str]:
    return paths.given(config.init, "config.init"), config.init


def _from_hub(config: ml_collections.ConfigDict) -> tuple[pathlib.Path, str]:
    return hub.fetched(config.init)


def _installed(config: ml_collections.ConfigDict) -> tuple[pathlib.Path, str]:
    name: str = config.model.name
    return imagenet.path(name), f"{config.init} ({imagenet.package(name).distribution})"


# What config.init begins with, where it is no path: what finds the file, and what the card calls it.
_NAMED: Mapping[str, Callable[[ml_collections.ConfigDict], tuple[pathlib.Path, str]]] = {
    hub.PREFIX: _from_hub,
    imagenet.NAME: _installed,
}


def _from_elsewhere(
    read: files.Weights,
    source: str,
    config: ml_collections.ConfigDict,
    card: cards.Card,
    template: params.Template,
    values: Host,
) -> tuple[Host, Arrival]:
    """With what a file of weights has, by the layout of its origin."""
    if not template.groups:
        raise InputError(
            f"{source}: the network {config.model.name} declares no parameter_groups, so that nobody knows its "
            "encoder; declare its stem and stages, or set config.init=random"
        )
    foreign = layout.converted(read.arrays, *layout.recognised(read.arrays, ALL, source, config.weights.layout), source)
    names = {path.removeprefix("encoders/"): path for path in template.groups}
    bands = {
        name: tuple(band for _, band in known)
        for name, known in fusions.known_bands(card.fusion, card.sensors).items()
        if name in names
    }
    streams = {name: _stream(name, card, foreign, source) for name in names}
    plan = Plan(template.groups, bands, streams, config.weights.bands, config.weights.head)
    if config.weights.decoder == "mirrored":
        foreign = layout.mirrored(foreign, {plan.theirs(path) for path in values}, source)
    check_scaling(foreign, plan, config, card, source)
    return arrival.arrive(values, foreign, plan, source, read.sha256)


def _stream(name: str, card: cards.Card, foreign: layout.Foreign, source: str) -> str:
    """The encoder of a file that one of ours takes: that of its name, the only one, or that of its trunk."""
    there = foreign.streams
    trunk: str = fusions.streams_of(card.fusion, card.sensors)[name].trunk
    only: tuple[str, ...] = there if len(there) == 1 else ()
    wanted: list[str] = [name, *only, trunk]
    if fitting := [one for one in wanted if one in there]:
        return fitting[0]
    raise InputError(
        f"{source}: its encoders are for {', '.join(there)}, and config.fusion={card.fusion!r} needs one for {name}; "
        "choose another config.fusion, or weights of one encoder"
    )


def check_scaling(
    foreign: layout.Foreign, plan: Plan, config: ml_collections.ConfigDict, card: cards.Card, source: str
) -> None:
    """Raises InputError where the network is shown other numbers than those that the weights learned with."""
    if config.weights.scaling == "any":
        return
    own = [sensor.name for sensor in card.sensors if not sensor.is_published]
    for known in arrival.learned(foreign, plan).values():
        # Of own imagery these two are stretched to what its images hold: they are no unit that anybody else has.
        scalings = [name for name in known.scaling if not own or name not in ("sensor", "range")] if known else []
        if known and known.scaling and not scalings:
            raise InputError(
                f"{source}: these weights ({known.origin or foreign.layout.title}) learned with config.scaling="
                f"{' or '.join(known.scaling)} of a known sensor, and nobody knows the unit of {', '.join(own)}; set "
                "--config.weights.scaling=any where its numbers, as config.scaling makes them, are alike"
            )
        if known and scalings and config.scaling not in scalings:
            raise InputError(
                f"{source}: these weights ({known.origin or foreign.layout.title}) learned with config.scaling="
                f"{' or '.join(scalings)}, and config.scaling is {config.scaling}; set "
                f"--config.scaling={scalings[0]}, or --config.weights.scaling=any to leave it as it is"
            )


@dataclasses.dataclass(frozen=True)
class _Other:
    """A network of ours: its card, arrays by path, groups, where it lies, and the SHA-256 of its file."""

    card: cards.Card
    arrays: Host
    groups: Mapping[str, ParameterGroups]
    source: str
    sha256: str = ""


def card_of(read: files.Weights) -> cards.Card | None:
    """The card of a file that `lcjax export` wrote: within it, or beside it."""
    if read.format == "safetensors" and CARD in read.metadata:
        return cards.from_json(read.metadata[CARD], f"{read.path}: its card")
    beside = read.path.with_name(cards.FILE)
    return cards.read(read.path.parent) if read.path.name in EXPORTED and beside.is_file() else None


def _groups_of(arrays: Mapping[str, Any], template: params.Template) -> dict[str, ParameterGroups]:
    """The groups of each encoder of a file, if it is of the family of this network."""
    names = dict.fromkeys("/".join(path.split("/")[:2]) for path in arrays if path.startswith("encoders/"))
    groups = next(iter(template.groups.values()), ParameterGroups())
    return dict.fromkeys(names, groups)


def _of_run(
    folder: pathlib.Path,
    config: ml_collections.ConfigDict,
    card: cards.Card,
    template: params.Template,
    values: Host,
) -> tuple[Host, Arrival]:
    """With what another run has learned."""
    other = restore.restore(folder, restore.kind_of_use(folder))
    learned: Host = jax.device_get(other.parameters | other.statistics)
    return _of_ours(_Other(other.card, learned, other.template.groups, str(folder)), card, template, values)


def _of_ours(other: _Other, card: cards.Card, template: params.Template, values: Host) -> tuple[Host, Arrival]:
    """With the encoders of another network of ours and, where they are the same, its other parts."""
    taken = fusions.taken(card.fusion, card.sensors, other.card.fusion, other.card.sensors, other.source)
    theirs = {sensor.name: sensor.scaling for sensor in other.card.sensors}
    known = {s.name: [one for one in (s.name, *fusions.beginnings(s.name)) if one in theirs] for s in card.sensors}
    if differently := [s.name for s in card.sensors if known[s.name] and theirs[known[s.name][0]] != s.scaling]:
        _log.warning(
            f"{other.source} learned from other numbers of {', '.join(differently)} than this run is shown: "
            "config.scaling, or the statistics behind it, differ"
        )
    result = transfer(values, other.arrays, taken, other.groups, other.source)
    why = _why_not(other, card, values)
    rows = []
    for path, value in values.items():
        encoder = path.split("/")[1] if path.startswith("encoders/") else ""
        part = arrival.part_of(path)
        if encoder in taken:
            same = f"encoders/{taken[encoder].trunk}{path.removeprefix(f'encoders/{encoder}')}"
            equal = same in other.arrays and np.array_equal(result[path], other.arrays[same])
            rows.append(Row(path, "taken" if equal else "adapted", "" if equal else "other bands, or another size"))
        elif path.startswith("encoders/") or path not in other.arrays:
            rows.append(Row(path, "missing", "begins at random"))
        elif why[part]:
            rows.append(Row(path, "replaced", why[part]))
        else:
            result[path] = np.asarray(other.arrays[path], value.dtype)
            rows.append(Row(path, "taken"))
    told = f"{other.card.model} of lcjax, trained on {other.card.dataset}"
    used = tuple(f"encoders/{encoder}/" for one in taken.values() for encoder in one.encoders)
    spare = (path for path in other.arrays if path not in values and not path.startswith(used))
    unused = dict.fromkeys(spare, "this network has no such part")
    begun = [
        f"encoders/{name} begins with encoders/{one.trunk} there" for name, one in taken.items() if one.trunk != name
    ]
    note = "; ".join(begun)
    return result, Arrival(f"config.init={other.source}", other.sha256, told, "", "name", note, tuple(rows), unused)


def _why_not(other: _Other, card: cards.Card, values: Host) -> dict[str, str]:
    """For each part but the encoders why it is not taken; "" where it is."""
    classes = [[one.name for one in each.legend.scored] for each in (other.card, card)]
    bands = [[(sensor.name, sensor.bands) for sensor in each.sensors] for each in (other.card, card)]
    why: dict[str, str] = {}
    for path, value in values.items():
        part = arrival.part_of(path)
        fits = path in other.arrays and other.arrays[path].shape == value.shape
        why[part] = why.get(part, "") if fits else "of other shapes there"
    for part in why:
        if part in ("head", "patch_head") and classes[0] != classes[1]:
            why[part] = f"of the classes of {other.card.legend.name} there"
        if part.startswith("adapters") and bands[0] != bands[1]:
            why[part] = "of other bands there"
    return why
