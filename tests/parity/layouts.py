"""Which of our parameters each entry of a PyTorch network is, and in which layout: tables, and what reads them.

A network is made of parts. A part says how the names of its entries begin there and here, and by which substitutions,
one after the other, the rest of the name becomes ours. "weight", "bias", "running_mean", "running_var" at the end are
understood, layouts follow from the kind of module.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

Rules = tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Part:
    """Entries that begin with `theirs` are ours below `ours`; `rules` change the rest of the name."""

    theirs: str
    ours: str
    rules: Rules = ()


# Counted by batch norms; no value of the network.
NEVER = (r"num_batches_tracked$",)

_ATTENTION: Rules = (
    (r"attention\.[qkv]_proj", "attention.qkv"),
    (r"attention\.o_proj", "attention.out"),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"mlp\.fc1", "mlp_in"),
    (r"mlp\.fc2", "mlp_out"),
)
SWIN_STAGE: Rules = (
    *_ATTENTION,
    (r"attention\.relative_position_bias\.relative_position_bias_table", "attention.bias_table"),
)
SWIN: Rules = (
    (r"^embeddings\.patch_embeddings\.projection", "embed"),
    (r"^embeddings\.norm", "embed_norm"),
    (r"^encoder\.layers\.(\d+)\.blocks", r"stages.\1"),
    (r"^encoder\.layers\.(\d+)\.downsample", r"merges.\1"),
    (r"^layernorm\b", "norm"),
    *SWIN_STAGE,
)
VIT: Rules = (
    (r"^embeddings\.patch_embeddings\.projection", "embed"),
    (r"^embeddings\.cls_token", "class_token"),
    (r"^embeddings\.position_embeddings", "position"),
    (r"^layers\.(\d+)\.", r"stages.\1.0."),
    (r"^layernorm\b", "norm"),
    *_ATTENTION,
    (r"attention\.", ""),
)
UPERNET: Rules = (
    (r"batch_norm", "norm"),
    (r"^psp_modules\.(\d+)\.1", r"pools.\1"),
    (r"^lateral_convs", "laterals"),
    (r"^fpn_convs", "smooths"),
    (r"^fpn_bottleneck", "join"),
)


def _our_name(name: str, parts: Sequence[Part]) -> str:
    for part in parts:
        if name.startswith(part.theirs):
            rest = name.removeprefix(part.theirs)
            for pattern, replacement in part.rules:
                rest = re.sub(pattern, replacement, rest)
            return part.ours + rest.replace(".", "/")
    raise KeyError(f"{name}: no part has it")


_LEAVES = {"weight": ("kernel", "scale"), "bias": ("bias",), "running_mean": ("mean",), "running_var": ("var",)}


def _path(name: str, parts: Sequence[Part], values: Mapping[str, np.ndarray]) -> str:
    ours = _our_name(name, parts)
    module, _, leaf = ours.rpartition("/")
    for candidate in [ours, *(f"{module}/{last}".lstrip("/") for last in _LEAVES.get(leaf, ()))]:
        if candidate in values:
            return candidate
    raise KeyError(f"{name}: we have no {ours}")


def _turned(value: np.ndarray, path: str, module: nn.Module) -> np.ndarray:
    """In the layout of the module of PyTorch whose entry it is."""
    if not path.endswith("kernel"):
        return value
    if isinstance(module, nn.Linear):
        return value.T
    if isinstance(module, nn.ConvTranspose2d):
        # Ours is (inputs, row, column, outputs).
        return value.reshape(value.shape[0], *module.kernel_size, -1).transpose(0, 3, 1, 2)
    if isinstance(module, nn.Conv2d):
        # A convolution over one pixel may be a dense layer here.
        return (value if value.ndim == 4 else value[None, None]).transpose(3, 2, 0, 1)
    raise TypeError(f"{path}: nothing is known of {type(module).__name__}")


def pairs(
    peer: nn.Module,
    parts: Sequence[Part],
    values: Mapping[str, np.ndarray],
    *,
    unused: Sequence[str] = (),
    statistics: bool = True,
) -> dict[str, tuple[str, torch.Tensor]]:
    """For each name of an entry of `peer` our path, and the value that we have there, in the layout of the entry.

    Every entry there must be one of ours, but for those that match `unused`; and every one of ours must be there.

    Args:
      peer: the network in PyTorch.
      parts: of what it is made.
      values: path -> array: parameters, or gradients for them.
      unused: patterns of the names of entries that take no part in what is compared.
      statistics: whether running means and variances are among the values.
    """
    theirs = peer.state_dict() if statistics else dict(peer.named_parameters())
    found: dict[str, tuple[str, torch.Tensor]] = {}
    taken = dict.fromkeys(values, 0)
    for name, entry in theirs.items():
        if any(re.search(pattern, name) for pattern in (*NEVER, *unused)):
            continue
        path = _path(name, parts, values)
        value = values[path]
        third = re.search(r"\.([qkv])_proj\.", name)
        if third:
            value = np.split(value, 3, axis=-1)["qkv".index(third[1])]
        taken[path] += value.size
        value = _turned(value, path, peer.get_submodule(name.rpartition(".")[0]))
        assert np.squeeze(value).shape == tuple(entry.squeeze().shape), (
            f"{path}: {value.shape} here, {name}: {tuple(entry.shape)} there"
        )
        found[name] = path, torch.tensor(value.reshape(entry.shape))
    wrong = [path for path, size in taken.items() if size != values[path].size]
    assert not wrong, f"not taken once: {wrong}"
    return found


def load(
    peer: nn.Module, parts: Sequence[Part], values: Mapping[str, np.ndarray], unused: Sequence[str] = ()
) -> nn.Module:
    """The network in PyTorch with our values, in evaluation mode."""
    found = pairs(peer, parts, values, unused=unused)
    missing, unexpected = peer.load_state_dict({name: value for name, (_, value) in found.items()}, strict=False)
    assert not unexpected
    assert all(any(re.search(pattern, name) for pattern in (*NEVER, *unused)) for name in missing), missing
    return peer.eval()
