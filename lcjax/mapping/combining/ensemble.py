"""Several networks as one: each answers for every tile, and the mean of their probabilities makes the map.

Averaging members that were trained apart is the deep ensemble of Lakshminarayanan et al. 2017 (Simple and Scalable
Predictive Uncertainty Estimation using Deep Ensembles). How far they disagree is their mutual information
(`reliability.mutual_information`), of each tile, blended as probabilities are.
"""

import functools
import logging
import pathlib
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import Sensor
from lcjax.engine import restore
from lcjax.mapping.mapper import Mapper
from lcjax.mapping.scene import valid_key
from lcjax.ops import reliability
from lcjax.runs import calibration as calibrations
from lcjax.runs.model_card import Card

_log = logging.getLogger(__name__)

MOST = 64  # members
_SHOWN = 4  # different ones that a tag tells
_PIXEL = 1.1  # how far the pixels of two networks may differ in size, as a factor
# What two networks must have in common of a sensor, for one scene to be shown to both.
_SAME = ("name", "bands", "dtype", "meaning", "zero_is_nodata", "packing")


def check(folders: Sequence[pathlib.Path], checkpoint: str) -> Card:
    """Returns the card of a network, of several the first, before any is restored.

    Args:
      folders: the workdirs.
      checkpoint: "best" or "last".

    Raises:
      InputError: there is no such network, one is named twice, or two of them take other bands, know other classes, or
        see another tile.
    """
    if len(folders) > MOST:
        raise InputError(f"--workdir: {len(folders)} of them; expected at most {MOST}")
    places = [folder.resolve() for folder in folders]
    for place, folder in enumerate(folders):
        if places[place] in places[:place]:
            raise InputError(f"--workdir={folder}: stands there twice, and would count twice; name each network once")
    cards = [restore.card_of(folder, checkpoint) for folder in folders]
    for folder, card in zip(folders[1:], cards[1:], strict=True):
        if found := _difference(card, cards[0]):
            raise InputError(
                f"--workdir={folder}: {found} as {folders[0]} has; an ensemble takes networks of the same bands, "
                "classes and tile: map with each alone"
            )
    return cards[0]


def _difference(card: Card, like: Card) -> str:
    """What two networks cannot be averaged for, as a phrase that ends in what was expected; empty where they can."""
    classes, expected = ([(c.value, c.name) for c in each.legend.scored] for each in (card, like))
    if classes != expected:
        return f"{_other(classes, expected)}"
    names, wanted = ([sensor.name for sensor in each.sensors] for each in (card, like))
    if names != wanted:
        return f"takes {', '.join(names)}; expected {', '.join(wanted)},"
    for sensor, first in zip(card.sensors, like.sensors, strict=True):
        for field in _SAME:
            mine, theirs = getattr(sensor, field), getattr(first, field)
            if mine != theirs:
                return f"its {field} of {sensor.name} is {_shown(mine)}; expected {_shown(theirs)},"
        sizes = sensor.ground_sampling, first.ground_sampling
        if (None in sizes and sizes != (None, None)) or (None not in sizes and not _alike(*sizes)):
            mine, theirs = (f"{size:.3g} m" if size else "any size" for size in sizes)
            return f"knows {sensor.name} with pixels of {mine}; expected {theirs},"
    return "" if card.tile == like.tile else f"sees tiles of {card.tile} pixels; expected {like.tile},"


def _alike(size: float | None, other: float | None) -> bool:
    return size is not None and other is not None and 1 / _PIXEL < size / other < _PIXEL


def _other(classes: Sequence[tuple[int, str]], expected: Sequence[tuple[int, str]]) -> str:
    stray = [f"{number} {name}" for number, name in classes if (number, name) not in expected]
    lacking = [f"{number} {name}" for number, name in expected if (number, name) not in classes]
    here, there = (", ".join(some[:4]) or "no other" for some in (stray, lacking))
    return f"knows the classes {here}; expected {there},"


def _shown(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) < 100 else f"{text[:100]}..."


def of_workdirs(folders: Sequence[pathlib.Path], checkpoint: str, *, tta: bool = False) -> Mapper:
    """Restores the networks of several workdirs as one; `check` was asked before.

    What is told of probabilities is not calibrated: the mean of calibrated members is not.

    Raises:
      InputError: two of them are the same network.
    """
    for folder in folders:
        if (folder / calibrations.FILE).exists():
            _log.info(
                "%s: is not followed: the mean of calibrated networks is not calibrated", folder / calibrations.FILE
            )
    members = [Mapper.of_workdir(folder, checkpoint, tta=tta, calibrated=False) for folder in folders]
    identities = [member.identity for member in members]
    for place, identity in enumerate(identities):
        if identity in identities[:place]:
            raise InputError(
                f"--workdir={folders[place]}: the same network as {folders[identities.index(identity)]}, which would "
                "count twice; name each network once"
            )
    return of_members(members)


def of_members(members: Sequence[Mapper]) -> Mapper:
    """Returns the mapper that answers with the mean of several, and their mutual information at last."""
    first = members[0]
    sensors = [member.card.sensors for member in members]
    # What a pixel without data is shown as may differ: scaling follows from what each was trained on.
    with_valid = any(not _same_empty(some, first.card.sensors) for some in sensors)
    tags = {key: _joined([member.tags.get(key, "") for member in members]) for key in first.tags}
    return Mapper(
        card=first.card,
        probabilities=functools.partial(_answer, members, with_valid),
        identity=f"mean of {'; '.join(member.identity for member in members)}",
        tags=tags | {"LCJAX_ENSEMBLE": f"mean of the probabilities of {len(members)} networks"},
        devices=first.devices,
        members=len(members),
        with_valid=with_valid,
    )


def _joined(texts: Sequence[str]) -> str:
    """Each text once, in order; of many the first ones."""
    different = list(dict.fromkeys(texts))
    more = [f"and {len(different) - _SHOWN} more"] if len(different) > _SHOWN else []
    return "; ".join(different[:_SHOWN] + more)


def _same_empty(sensors: Sequence[Sensor], others: Sequence[Sensor]) -> bool:
    return all(np.array_equal(a.empty, b.empty) for a, b in zip(sensors, others, strict=True))


def _answer(members: Sequence[Mapper], with_valid: bool, batch: Mapping[str, np.ndarray] | None) -> jax.Array | None:
    """The mean of the members' probabilities and their mutual information, (B, h, w, classes + 1).

    With several processes all of them call it, process 0 with a batch and the others with None, and get None at the
    end (multihost.leader_section).
    """
    answers = []
    for member in members:
        shown = batch if batch is None else _shown_to(member.card.sensors, batch, with_valid)
        answer = member.probabilities(shown)
        if answer is None:
            return None
        answers.append(answer)
    return _joined_answers(jnp.stack(answers))


def _shown_to(sensors: Sequence[Sensor], batch: Mapping[str, np.ndarray], with_valid: bool) -> dict[str, np.ndarray]:
    """What a member is shown: pixels without data as the numbers that its own scaling takes to zero."""
    if not with_valid:
        return dict(batch)
    return {s.name: np.where(batch[valid_key(s.name)], batch[s.name], s.empty) for s in sensors}


@jax.jit
def _joined_answers(members_MxBxHxWxK: jax.Array) -> jax.Array:
    mean, spread = jnp.mean(members_MxBxHxWxK, axis=0), reliability.mutual_information(members_MxBxHxWxK)
    return jnp.concatenate([mean, spread[..., None]], axis=-1)
