"""Transformers as others publish them: names and shapes of their entries, and what our networks take of them.

The names of libraries are kept in a file, written beside the libraries themselves (tests/parity); those of origins that
are no library are told here, as their code gives them.
"""

import pathlib
import re
from collections.abc import Iterator, Mapping

import filled
import numpy as np
from published import Shapes, packed, unpacked, values

from lcjax.weights import layouts
from lcjax.weights.layout import Foreign, converted, recognised

Arrays = dict[str, np.ndarray]
Entries = Iterator[tuple[str, tuple[int, ...]]]

PATH = pathlib.Path(__file__).parent / "parity" / "published_transformers.npz"
BUFFERS = r"(relative_position_index|attn_mask)$"
_NAMES = ":names"
_IMAGE = 224


def fill(shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """As published.values; of buffers zeros."""
    learned = values({name: shape for name, shape in shapes.items() if not re.search(BUFFERS, name)})
    return {name: learned[name] if name in learned else np.zeros(shape, np.int64) for name, shape in shapes.items()}


# What arrives


def arrived(
    arrays: Mapping[str, np.ndarray], layout: str, shapes: Mapping[str, tuple[int, ...]], below: str = ""
) -> tuple[Foreign, Arrays]:
    """What a state dict has for a network. Nothing may be left over, here or there, but what the layout names.

    Args:
      arrays: by the names of the origin.
      layout: that they must be recognised as.
      shapes: of all arrays of the network.
      below: where its paths lie in ours, for an encoder by itself: "encoders/image/".

    Returns:
      all entries by our names, and those of the network by its own.
    """
    found, prefix = recognised(arrays, layouts.ALL, "the file")
    assert found.name == layout
    foreign = converted(arrays, found, prefix, "the file")
    unknown = [name for name, why in foreign.skipped.items() if why.startswith("no entry")]
    assert not unknown
    ours = {f"{below}{path}": path for path in shapes}
    over = [path for path in foreign.arrays if path not in ours]
    assert not over
    result = {}
    for path, own in ours.items():
        value = foreign.arrays.get(path)
        if value is None:
            inside = re.sub(r"^encoders/\w+/", "", path)
            assert any(re.search(pattern, inside) for pattern, _ in found.lacks), path
            continue
        assert [size for size in value.shape if size > 1] == [size for size in shapes[own] if size > 1], path
        result[own] = value.reshape(shapes[own])
    return foreign, result


def shapes_of(network: filled.Filled) -> Shapes:
    """Of all arrays of a network of ours."""
    return {path: value.shape for path, value in network.values.items()}


# Names and shapes of libraries, kept


def keep(names: Mapping[str, Shapes], answers: Mapping[str, np.ndarray]) -> None:
    """Writes the file of names, shapes and answers."""
    np.savez_compressed(PATH, **{f"{origin}{_NAMES}": packed(of) for origin, of in names.items()}, **answers)


def kept_names() -> dict[str, Shapes]:
    """Names and shapes by origin."""
    with np.load(PATH, allow_pickle=False) as kept:
        found = {name.removesuffix(_NAMES): kept[name] for name in kept.files if name.endswith(_NAMES)}
    return {origin: unpacked(lines) for origin, lines in found.items()}


def kept_answers() -> Arrays:
    """What originals answered: by "origin:stage"."""
    with np.load(PATH, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files if not name.endswith(_NAMES)}


# Names and shapes of those that are no library


def _dense(name: str, inputs: int, outputs: int) -> Entries:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, width: int) -> Entries:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _blocks(name: str, depth: int, width: int, heads: int, stage: int) -> Entries:
    """Blocks of Swin's authors, windows of 7; a mask where windows are shifted."""
    tokens = _IMAGE // 4 // 2**stage
    for block in range(depth):
        own = f"{name}.blocks.{block}"
        if block % 2 and tokens > 7:
            yield f"{own}.attn_mask", ((tokens // 7) ** 2, 49, 49)
        yield from _norm(f"{own}.norm1", width)
        yield f"{own}.attn.relative_position_bias_table", (169, heads)
        yield f"{own}.attn.relative_position_index", (49, 49)
        yield from _dense(f"{own}.attn.qkv", width, 3 * width)
        yield from _dense(f"{own}.attn.proj", width, width)
        yield from _norm(f"{own}.norm2", width)
        yield from _dense(f"{own}.mlp.fc1", width, 4 * width)
        yield from _dense(f"{own}.mlp.fc2", 4 * width, width)


def _merged(name: str, width: int) -> Entries:
    yield f"{name}.reduction.weight", (2 * width, 4 * width)
    yield from _norm(f"{name}.norm", 4 * width)


def _expanded(name: str, width: int, outputs: int, factor: int) -> Entries:
    yield f"{name}.expand.weight", (factor**2 * outputs, width)
    yield from _norm(f"{name}.norm", outputs)


def _encoder(bands: int, depths: tuple[int, ...], *, head: int = 1000, embed: int = 96) -> Entries:
    yield "patch_embed.proj.weight", (embed, bands, 4, 4)
    yield "patch_embed.proj.bias", (embed,)
    yield from _norm("patch_embed.norm", embed)
    for stage, depth in enumerate(depths):
        width = embed * 2**stage
        yield from _blocks(f"layers.{stage}", depth, width, width // 32, stage)
        if stage < 3:
            yield from _merged(f"layers.{stage}.downsample", width)
    yield from _norm("norm", 8 * embed)
    if head:
        yield from _dense("head", 8 * embed, head)


def _decoder(depths: tuple[int, ...]) -> Entries:
    yield from _expanded("layers_up.0", 768, 384, 2)
    for level in range(1, 4):
        stage = 3 - level
        width = 96 * 2**stage
        yield from _blocks(f"layers_up.{level}", depths[stage], width, width // 32, stage)
        if stage:
            yield from _expanded(f"layers_up.{level}.upsample", width, width // 2, 2)
        yield from _dense(f"concat_back_dim.{level}", 2 * width, width)
    yield from _norm("norm_up", 96)


def _below(prefix: str, shapes: Entries) -> Entries:
    return ((prefix + name, shape) for name, shape in shapes)


def microsoft(classes: int = 1000, depths: tuple[int, ...] = (2, 2, 6, 2), embed: int = 96) -> Shapes:
    """Of swin_tiny_patch4_window7_224.pth, or of one with as many classes, or of another size."""
    return dict(_below("model.", _encoder(3, depths, head=classes, embed=embed)))


def cao(prefix: str = "swin_unet.", bands: int = 3, classes: int = 9) -> Shapes:
    """Of Swin-Unet."""
    depths = (2, 2, 2, 2)

    def entries():
        yield from _encoder(bands, depths, head=0)
        yield from _decoder(depths)
        yield from _expanded("up", 96, 96, 4)
        yield "output.weight", (classes, 96, 1, 1)

    return dict(_below(prefix, entries()))


def two_streams(prefix: str = "state_dict.") -> Shapes:
    """Of swin_t.pth of SSLTransformerRS."""
    depths = (2, 2, 6, 2)
    shapes = dict(_below(f"{prefix}backbone1.", _encoder(2, depths)))
    return shapes | dict(_below(f"{prefix}backbone2.", _encoder(13, depths)))


def two_streams_segmentation(prefix: str = "model_weights.", classes: int = 8) -> Shapes:
    """Of SSLTransformerRS after training for a class a pixel, with all that its code stores and does not use."""
    depths = (2, 2, 6, 2)

    def entries():
        for number, bands in ((1, 2), (2, 13)):
            yield from _below(f"backbone{number}.", _encoder(bands, depths))
        for number, bands in ((1, 2), (2, 13)):
            yield from _below(f"decoder{number}.backbone.", _encoder(bands, depths))
            inside = [(name, shape) for name, shape in _encoder(bands, depths) if name.startswith("layers.")]
            yield from _below(f"decoder{number}.", iter(inside))
            yield from _below(f"decoder{number}.", _decoder(depths))
            yield from _expanded(f"decoder{number}.up", 192, 192, 4)
            yield f"decoder{number}.output.weight", (classes, 192, 1, 1)

    return dict(_below(prefix, entries()))


def twice(arrays: Arrays) -> Arrays:
    """With the encoders that decoders hold equal to the encoders themselves, as they are there."""
    return {
        name: arrays[re.sub(r"decoder(\d)\.backbone\.", r"backbone\1.", name)] if ".backbone." in name else value
        for name, value in arrays.items()
    }
