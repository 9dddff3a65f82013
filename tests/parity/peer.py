"""A network of another library, with our values, and what leaves each of its stages."""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from articles import channels_first, channels_last
from layouts import Part, load, pairs
from torch import nn

Stages = dict[str, torch.Tensor]
tensor = torch.tensor


@dataclasses.dataclass(frozen=True)
class Peer:
    """A network in PyTorch.

    Attributes:
      network: the module.
      parts: how its entries are ours.
      forward: (network, images by stream, of shape (B, C, H, W)) -> stages.
      unused: patterns of the names of entries without part in the stages.
    """

    network: nn.Module
    parts: tuple[Part, ...]
    forward: Callable[[nn.Module, Mapping[str, torch.Tensor]], Stages]
    unused: tuple[str, ...] = ()

    def load(self, values: Mapping[str, np.ndarray]) -> "Peer":
        """Itself, with our values."""
        load(self.network, self.parts, values, self.unused)
        return self

    def stages(self, images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What leaves each stage, (B, H, W, C) or (B, N, C), of images (B, H, W, bands) by stream."""
        with torch.no_grad():
            found = self.forward(self.network, {name: channels_first(tensor(image)) for name, image in images.items()})
        return {name: (channels_last(x) if x.ndim == 4 else x).numpy() for name, x in found.items()}

    def whole_stages(self, images: Mapping[str, np.ndarray], height: int, width: int) -> dict[str, np.ndarray]:
        """As `stages`, with what it answers to an image that has been padded from this size."""
        stages = self.stages(images)
        return stages | {"output": stages.get("output", stages["head"])[:, :height, :width]}

    def gradients(self, images, loss, gradients) -> tuple[float, list[tuple[str, torch.Tensor, torch.Tensor]]]:
        """The loss in training, and for each of its parameters our path, our gradient of `gradients`, and its own.

        `loss` takes the stages, (B, H, W, C).
        """
        self.network.train()
        self.network.zero_grad()
        stages = self.forward(self.network, {name: channels_first(tensor(image)) for name, image in images.items()})
        value = loss({name: channels_last(x) for name, x in stages.items()})
        value.backward()
        found = pairs(self.network, self.parts, gradients, unused=self.unused, statistics=False)
        return value.item(), [
            (path, mine, self.network.get_parameter(name).grad) for name, (path, mine) in found.items()
        ]

    @property
    def count(self) -> int:
        """Number of its parameters that take part."""
        named = self.network.named_parameters()
        return sum(p.numel() for name, p in named if not any(re.search(pattern, name) for pattern in self.unused))


@contextlib.contextmanager
def leaving(network: nn.Module, *names: str) -> Iterator[dict[str, torch.Tensor]]:
    """What leaves the named modules while a block of code runs, by name."""
    found: dict[str, torch.Tensor] = {}
    hooks = []
    for name in names:

        def hook(module, inputs, output, name=name):
            # Later layers may overwrite it in place.
            found[name] = (output[0] if isinstance(output, tuple) else output).clone()

        hooks.append(network.get_submodule(name).register_forward_hook(hook))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
