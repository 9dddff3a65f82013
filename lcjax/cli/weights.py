"""`lcjax info FILE`: whose weights a file holds, which network takes them, and what of it arrives."""

import pathlib
from collections.abc import Iterator

import numpy as np

from data_pipelines.schema.errors import InputError
from lcjax.engine import initial
from lcjax.models import params, registry
from lcjax.models.interfaces import whole
from lcjax.weights import files, layout
from lcjax.weights.arrival import Arrival, Plan, arrive, learned
from lcjax.weights.layout import Foreign
from lcjax.weights.layouts import ALL


def text(path: pathlib.Path) -> str:
    """What a file of weights holds, as lines.

    Raises:
      InputError: it is no file of weights, of no known origin, or fits no network here.
    """
    read = files.read(path)
    card = initial.card_of(read)
    sizes = sum(array.size for array in read.arrays.values())
    lines = [f"{path}: weights ({read.format}), {len(read.arrays):,} arrays of {sizes:,} numbers"]
    if card:
        told = f"{card.model} of lcjax, trained on {card.dataset}; take it with --config.init={path}"
        return "\n".join([*lines, f"  network     {told}"])
    foreign = layout.converted(read.arrays, *layout.recognised(read.arrays, ALL, str(path)), str(path))
    problems = []
    for model, size in _candidates(foreign):
        try:
            return "\n".join([*lines, *_told(path, read, foreign, model, size)])
        except InputError as error:
            problems.append(str(error))
    raise InputError(f"{path}: {foreign.layout.title}, and no network here has these sizes; {problems[-1]}")


def _candidates(foreign: Foreign) -> Iterator[tuple[str, str]]:
    """The networks and sizes that a layout may be of."""
    for model in foreign.layout.models:
        for size in registry.family(model).sizes:
            yield model, size


def _told(path: pathlib.Path, read: files.Weights, foreign: Foreign, model: str, size: str) -> list[str]:
    """The network that takes a file, and the table. Raises InputError where it does not."""
    template, plan = _network(foreign, model, size)
    values = {p: np.zeros(s.shape, np.float32) for p, s in (template.parameters | template.statistics).items()}
    _, arrival = arrive(values, foreign, plan, str(path), read.sha256)
    told = [f"  network     model={model},size={size}: --config.init={path}"]
    for stream, known in learned(foreign, plan).items():
        bands = ", ".join(known.bands) if known else f"{len(plan.bands[stream])}, nobody knows which"
        how = f"; learned with config.scaling={' or '.join(known.scaling)}" if known and known.scaling else ""
        told.append(f"  bands       {bands}{how}")
    told += [f"  source      {foreign.layout.source}"] if foreign.layout.source else []
    return [*told, *_indented(arrival)]


def _network(foreign: Foreign, model: str, size: str) -> tuple[params.Template, Plan]:
    """A network with the encoders that the file has, each with as many bands."""
    numbers = registry.sized(model, size)
    one = registry.segmenter
    counts = dict.fromkeys(foreign.streams, 3)
    shapes = params.Template(lambda rngs: one(numbers, streams=whole(counts), classes=2, precision="f32", rngs=rngs))
    groups = {name.removeprefix("encoders/"): group for name, group in shapes.groups.items()}
    for stream in counts:
        for layer in groups[stream].bands:
            kernel = foreign.arrays.get(f"encoders/{stream}/{layer}/kernel")
            if kernel is not None and kernel.ndim == 4:
                counts[stream] = kernel.shape[2]
    template = params.Template(lambda rngs: one(numbers, streams=whole(counts), classes=2, precision="f32", rngs=rngs))
    bands = {stream: tuple(f"band {place + 1}" for place in range(count)) for stream, count in counts.items()}
    return template, Plan(template.groups, bands, {stream: stream for stream in counts}, "order")


def _indented(arrival: Arrival) -> list[str]:
    _, *rows = arrival.text().split("\n")
    peeled = [f"  peeled off  {arrival.peeled}"] if arrival.peeled else []
    return [f"  SHA-256     {arrival.sha256}", f"  origin      {arrival.origin}", *peeled, *rows]
