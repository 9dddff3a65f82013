"""Networks of other libraries as they publish them: names and shapes of their entries, and values drawn by name.

`WRITE_ANSWERS=1 make parity` keeps the names, the shapes and some answers for tests that have none of the libraries.
"""

import dataclasses
import math
import pathlib
import re
from collections.abc import Mapping

import filled
import numpy as np

from lcjax.models import registry
from lcjax.weights import layouts
from lcjax.weights.layout import Foreign, converted, recognised

PATH = pathlib.Path(__file__).parent / "parity" / "published_cnn.npz"
EDGES = (61, 75)  # of the image of the answers
Shapes = dict[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Case:
    """What an original is here.

    Attributes:
      layout: by which it must be recognised, or that has to be asked for where `asked`.
      family: of our networks.
      bands: that it takes.
      classes: 0 for an encoder by itself.
      skipped: how many entries nothing here takes, besides counters of batches.
      answers: whether some of what it answers is kept.
      asked: whether the layout is named.
    """

    layout: str
    family: str
    bands: int = 3
    classes: int = 0
    skipped: int = 0
    answers: bool = False
    asked: bool = False

    @property
    def network(self) -> filled.Filled:
        """Ours."""
        model = registry.sized(self.family)
        if self.classes:
            return filled.segmenter(model, {"image": self.bands}, self.classes)
        return filled.encoder(model, self.bands)

    def images(self, height: int, width: int, stride: int):
        """The image for our network and that for the original, padded where ours pads by itself."""
        image = filled.image("image", 1, height, width, self.bands)
        whole = filled.padded(image, stride) if self.classes else image
        return (({"image": image}, {"image": whole}) if self.classes else image), {"image": whole}


CASES = {
    **{f"torchvision resnet{n}": Case("torchvision_resnet", f"resnet{n}_unet", skipped=2) for n in (18, 34, 50, 101)},
    **{f"timm resnet{n}": Case("torchvision_resnet", f"resnet{n}_unet", skipped=2) for n in (34, 50)},
    "timm tf_efficientnet_lite0": Case("timm_efficientnet", "efficientnet_lite0_unet", skipped=7, answers=True),
    **{f"transformers resnet{n}": Case("transformers_resnet", f"resnet{n}_unet", skipped=2) for n in (18, 50)},
    "transformers resnet50 by itself": Case("transformers_resnet", "resnet50_unet"),
    "smp resnet18": Case("smp_unet", "resnet18_unet", classes=7, answers=True),
    **{f"smp resnet{n}": Case("smp_unet", f"resnet{n}_unet", bands=5, classes=7) for n in (34, 50, 101)},
    "smp resnet18 with an auxiliary head": Case("smp_unet", "resnet18_unet", classes=7, skipped=2),
    "smp tu-resnet18": Case("smp_unet", "resnet18_unet", classes=7),
    "smp tu-tf_efficientnet_lite0": Case("smp_unet_efficientnet", "efficientnet_lite0_unet", classes=7),
    "encoder of smp resnet18": Case("torchvision_resnet", "resnet18_unet"),
    "encoder of smp tu-tf_efficientnet_lite0": Case("timm_efficientnet", "efficientnet_lite0_unet"),
    "torchgeo resnet18 sentinel2": Case("torchgeo_resnet", "resnet18_unet", bands=13, skipped=2),
    "torchgeo resnet50 sentinel2": Case("torchgeo_resnet", "resnet50_unet", bands=13),
    "torchgeo resnet50 sentinel1": Case("torchgeo_resnet", "resnet50_unet", bands=2),
    "torchgeo resnet18 landsat": Case("torchgeo_landsat_oli", "resnet18_unet", bands=11, asked=True),
    "satlas resnet50": Case("satlas_resnet", "resnet50_unet", bands=9, skipped=22),
    "satlas resnet50 of many images": Case("satlas_resnet", "resnet50_unet", skipped=22),
    "flair resnet34": Case("flair_unet", "resnet34_unet", bands=5, classes=19),
}


def _normal(mean: float, deviation: float):
    return lambda generator, shape: generator.normal(mean, deviation, shape)


def _uniform(low: float, high: float):
    return lambda generator, shape: generator.uniform(low, high, shape)


def _weight(gain: float):
    return lambda generator, shape: generator.normal(0.0, gain / math.sqrt(math.prod(shape[1:])), shape)


# As filled.draws, by the names of the originals: how entries are drawn by name and number of axes.
_DRAWS = (
    (r"running_mean$", 1, _normal(0.1, 0.1)),
    (r"running_var$", 1, _uniform(0.5, 1.5)),
    (r"weight$", 1, _uniform(0.8, 1.2)),
    (r"bias$", 1, _normal(0.0, 0.1)),
    (r"decoder\..*weight$", 4, _weight(1.2)),
    (r"(downsample|shortcut|segmentation_head)\.", 4, _weight(1.0)),
    (r"blocks\.", 4, _weight(1.2)),
    (r"(layer\d|stages)\.", 4, _weight(0.75)),
    (r"weight$", 4, _weight(1.3)),
    (r"weight$", 2, _weight(1.0)),
    (r"bias_table$", 2, _normal(0.0, 0.5)),
    (r"(token|pos_embed|position_embeddings)$", 3, _normal(0.0, 0.5)),
)


# What batch norms are given, and what they expect: with less of it they answer the same, but for their epsilon.
_NORMALISED = ((r"(?<!head\.0\.)weight$", 4, 1), (r"running_mean$", 1, 1), (r"running_var$", 1, 2))


def values(shapes: Mapping[str, tuple[int, ...]], dim: float = 1.0) -> dict[str, np.ndarray]:
    """Of every entry, nothing zero or one; counters of batches are as they are, 0.

    Args:
      shapes: of the entries.
      dim: what leaves convolutions is so many times as large: where it is small, a wrong epsilon shows.
    """
    found = {}
    for name, shape in shapes.items():
        if not shape:
            found[name] = np.zeros((), np.int64)
            continue
        draw = next(draw for pattern, axes, draw in _DRAWS if axes == len(shape) and re.search(pattern, name))
        power = next(
            (power for pattern, axes, power in _NORMALISED if axes == len(shape) and re.search(pattern, name)), 0
        )
        found[name] = (dim**power * draw(filled.generator(name), shape)).astype(np.float32)
    return found


def taken(arrays: Mapping[str, np.ndarray], case: Case, network: filled.Filled) -> Foreign:
    """The entries by our names; asserts that each of ours is there once, and that the table says what is not taken."""
    layout, prefix = recognised(arrays, layouts.ALL, "FILE", case.layout if case.asked else "")
    assert layout.name == case.layout
    assert case.family in layout.models
    foreign = converted(arrays, layout, prefix, "FILE")
    begin = "" if case.classes else "encoders/image/"
    ours = network.template.parameters | network.template.statistics
    assert {path: array.shape for path, array in foreign.arrays.items()} == {
        f"{begin}{path}": value.shape for path, value in ours.items()
    }
    named = {name: why for name, why in foreign.skipped.items() if not name.endswith("num_batches_tracked")}
    assert len(named) == case.skipped, named
    assert not any("no entry that" in why or "outside" in why for why in named.values()), named
    return foreign


def filled_from(foreign: Foreign, case: Case, network: filled.Filled) -> filled.Filled:
    """Our network with these values."""
    begin = "" if case.classes else "encoders/image/"
    network.values = {path.removeprefix(begin): array for path, array in foreign.arrays.items()}
    return network


def packed(shapes: Shapes) -> np.ndarray:
    """Names and shapes as an array of text."""
    return np.array([" ".join((name, *map(str, shape))) for name, shape in shapes.items()])


def unpacked(lines: np.ndarray) -> Shapes:
    """The inverse of `packed`."""
    words = [str(line).split() for line in lines]
    return {name: tuple(map(int, shape)) for name, *shape in words}
