"""A table of every network in every size: parameters, multiply-accumulates, images it takes. From shapes alone."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from data_pipelines.schema.sensors import AERIAL, S1, S2, Sensor
from lcjax.engine import flops
from lcjax.models import registry
from lcjax.models.params import Template
from lcjax.tasks.fusion import inputs_of


@dataclasses.dataclass(frozen=True)
class Input:
    """An image that networks are compared on.

    Attributes:
      title: name in the table.
      sensors: whose bands it holds.
      classes: number of classes of the network.
      size: of the square image in pixels.
      fusion: of all families but those in `others`.
      others: family -> its fusion, or None where it cannot take the image.
    """

    title: str
    sensors: tuple[Sensor, ...]
    classes: int
    size: int
    fusion: str
    others: dict[str, str | None]

    @property
    def text(self) -> str:
        """Describes the image in one line."""
        bands = sum(len(sensor.bands) for sensor in self.sensors)
        return f"{self.title}, {bands} bands, {self.classes} classes, {self.size} x {self.size} px"


# As in DFC2020 and the whole tiles of FLAIR-1, with the default fusion of their configs.
INPUTS = {
    "sentinel": Input("Sentinel-1 and Sentinel-2", (S1, S2), 8, 224, "early", {"two_stream_swin": "late"}),
    "aerial": Input("aerial images", (AERIAL,), 13, 512, "aerial", {"two_stream_swin": None}),
}
Row = dict[str, Any]


def networks(tiny: bool) -> list[tuple[str, str]]:
    """Returns (family, size) of all networks, with or without the tiny sizes."""
    every = [(name, size) for name, family in registry.FAMILIES.items() for size in family.sizes]
    return [(name, size) for name, size in every if tiny or size != "tiny"]


def rows(wanted: Iterable[tuple[str, str]]) -> list[Row]:
    """Returns a row for each (family, size): `model`, `size`, figures by input, and the `multiple` of image sizes."""
    return [_row(name, size) for name, size in wanted]


def _row(name: str, size: str) -> Row:
    row: Row = {"model": name, "size": size}
    for key, image in INPUTS.items():
        fusion = image.others.get(name, image.fusion)
        if fusion is None:
            continue
        network = template(name, size, fusion, image.sensors, image.classes)
        # A network of shapes in place of arrays knows its stride, too.
        row["multiple"] = network.merge(network.parameters, network.statistics, train=False).stride  # type: ignore[attr-defined]
        cost = flops.cost(*forward(network, image.sensors, image.size))
        row[key] = {
            "fusion": fusion,
            "bands": sum(len(sensor.bands) for sensor in image.sensors),
            "classes": image.classes,
            "edge": image.size,
            "parameters": sum(math.prod(leaf.shape) for leaf in network.parameters.values()),
            "macs": cost.macs,
            "macs_by_part": cost.parts,
        }
    return row


def template(name: str, size: str, fusion: str, sensors: Sequence[Sensor], classes: int) -> Template:
    """Returns the template of a network, which has shapes but no values."""

    def build(rngs: nnx.Rngs) -> nnx.Module:
        return registry.segmenter(
            registry.sized(name, size),
            streams=inputs_of(fusion, sensors),
            classes=classes,
            precision="f32",
            rngs=rngs,
        )

    return Template(build)


def forward(network: Template, sensors: Sequence[Sensor], size: int) -> tuple[Callable, dict, dict, dict]:
    """Returns the forward pass of one image as (function, parameters, statistics, inputs), the last three as shapes.

    Args:
      network: its template.
      sensors: of the image.
      size: of the square image in pixels.
    """

    def logits(parameters: dict, statistics: dict, inputs: dict) -> jax.Array:
        return network.merge(parameters, statistics, train=False)(inputs)  # type: ignore[operator]

    inputs = {s.name: jax.ShapeDtypeStruct((1, size, size, len(s.bands)), jnp.float32) for s in sensors}
    return logits, network.parameters, network.statistics, inputs


_NOTES = (
    "GMACs: 1e9 multiply-accumulates of one image, forward, in dot products and convolutions; 1 MAC is 2 FLOPs, and a",
    "training step takes about three times as many. lcjax/engine/flops.py says what is counted.",
    "Images of any size: they are padded to the multiple, and what was padded is cut off the result.",
)


def table(networks: Sequence[Row]) -> str:
    """Formats the rows as an aligned table in Markdown."""
    head = ["model", "size", *(f"{key}: {what}" for key in INPUTS for what in ("parameters", "GMACs")), "padded to"]
    cells = [head]
    for row in networks:
        figures = [_figures(row.get(key)) for key in INPUTS]
        cells.append([row["model"], row["size"], *(text for pair in figures for text in pair), str(row["multiple"])])
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    numbers = range(2, len(head))
    rule = ["-" * (width - 1) + (":" if column in numbers else "-") for column, width in enumerate(widths)]
    lines = [
        "| "
        + " | ".join(
            text.rjust(width) if column in numbers else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in (cells[0], rule, *cells[1:])
    ]
    inputs = [f"{key}: {image.text}{_exceptions(image)}" for key, image in INPUTS.items()]
    return "\n".join([*lines, "", *(f"- {line}" for line in inputs), "", *_NOTES])


def _figures(figures: dict | None) -> tuple[str, str]:
    return (f"{figures['parameters']:,}", f"{figures['macs'] / 1e9:.2f}") if figures else ("-", "-")


def _exceptions(image: Input) -> str:
    texts = [
        f"; {name}: {f'fusion {fusion}' if fusion else 'does not apply, it is for two sensors'}"
        for name, fusion in image.others.items()
    ]
    return f"; fusion {image.fusion}" + "".join(texts)
