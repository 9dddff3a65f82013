"""Weights of other libraries' transformers: saved there, read here, the same answer at every stage.

Where an origin is no library, its names are told by tests/published.py, and a network of tests/parity has its values.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Mapping

import attention
import filled
import numpy as np
import published_transformers as published
import pytest
import timm
import torch
import torchvision
import transformers
from answers import kept
from articles import channels_first
from compare import TOLERANCE, compare
from peer import Stages, leaving
from published import Shapes
from torch import nn

from lcjax.models import registry
from lcjax.weights import files

_FAINT = 0.01
_ENCODER = "encoders/image/"

# How libraries write what they publish.


def _bare(network: nn.Module, folder: pathlib.Path) -> pathlib.Path:
    path = folder / "network.pth"
    torch.save(network.state_dict(), path)
    return path


def _timm(network: nn.Module, folder: pathlib.Path) -> pathlib.Path:
    timm.models.save_for_hf(network, folder, safe_serialization=True)
    return folder / "model.safetensors"


def _transformers(network: nn.Module, folder: pathlib.Path) -> pathlib.Path:
    network.save_pretrained(folder)
    return folder / "model.safetensors"


# What leaves the stages of an original, by our names.


def _last(feature: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) of a feature with channels last."""
    return channels_first(feature)


def _torchvision_swin(network, image) -> Stages:
    names = ("features.0", "features.2", "features.4", "norm")
    with leaving(network, *names) as found:
        network(image)
    return {f"encoder/{i}": _last(found[name]) for i, name in enumerate(names)}


def _timm_swin(network, image) -> Stages:
    # What leaves the last merging is within the last stage, not a feature of ours.
    names = ["patch_embed", *(f"layers.{stage}.downsample" for stage in range(1, len(network.layers) - 1)), "norm"]
    with leaving(network, *names) as found:
        network(image)
    return {f"encoder/{i}": _last(feature) for i, feature in enumerate(found.values())}


def _timm_vit(network, image) -> Stages:
    blocks = [f"blocks.{i}" for i in range(len(network.blocks))]
    with leaving(network, "norm_pre", *blocks, "norm") as found:
        network(image)
    rows, columns = network.patch_embed.grid_size
    last = found["norm"][:, 1:]
    stages = {f"tokens/{i}": found[name] for i, name in enumerate(["norm_pre", *blocks])}
    return stages | {"encoder/2": _last(last.reshape(len(last), rows, columns, -1))}


def _transformers_swin(network, image) -> Stages:
    return attention.swin_stages(getattr(network, "swin", network), image)


def _transformers_vit(network, image) -> Stages:
    stages, last = attention.tokens(getattr(network, "vit", network), image)
    return stages | {"encoder/2": last}


# The originals.


@dataclasses.dataclass(frozen=True)
class Original:
    """A network of a library.

    Attributes:
      layout: that its weights must be recognised as.
      build: makes it.
      save: writes its weights as they are published, and returns the file.
      stages: (network, image (B, C, H, W)) -> what leaves its stages.
      model: ours.
      bias: name of the bias of its embedding.
      whole: whether it is a segmentation network, and not an encoder.
      edge: of the image.
    """

    layout: str
    build: Callable[[], nn.Module]
    save: Callable[[nn.Module, pathlib.Path], pathlib.Path]
    stages: Callable[[nn.Module, torch.Tensor], Stages]
    model: Mapping
    bias: str
    whole: bool = False
    edge: int = 224

    def ours(self) -> tuple[filled.Filled, str]:
        """Our network, and where its paths lie in a whole one."""
        if self.whole:
            return filled.segmenter(self.model, {"image": 3}), ""
        return filled.encoder(self.model, 3), _ENCODER


_SWIN_T = registry.sized("two_stream_swin", "t")
_UPERNET = registry.sized("swin_upernet", "t")
_TINY_SWIN = registry.sized("two_stream_swin", "tiny")
_TINY_VIT = registry.sized("vit_pyramid", "tiny")


def _torchvision(size: str) -> Original:
    build = getattr(torchvision.models, f"swin_{size}")
    model = registry.sized("two_stream_swin", size)
    return Original("torchvision_swin", build, _bare, _torchvision_swin, model, "features.0.0.bias")


def _of_timm(family: str, size: str, name: str) -> Original:
    layout, stages = ("timm_vit", _timm_vit) if family == "vit_pyramid" else ("timm_swin", _timm_swin)
    model = registry.sized(family, size)
    return Original(layout, lambda: timm.create_model(name), _timm, stages, model, "patch_embed.proj.bias")


def _swin_t_of_transformers(kind: type, save: Callable) -> Original:
    bias = "embeddings.patch_embeddings.projection.bias"
    config = attention.swin_config(_SWIN_T, 3)
    return Original("transformers_swin", lambda: kind(config), save, _transformers_swin, _SWIN_T, bias)


def _vit_of_transformers(kind: type, size: str, save: Callable) -> Original:
    model = registry.sized("vit_pyramid", size)
    config = attention.vit_config(model, 3)
    bias = "embeddings.patch_embeddings.projection.bias"
    return Original("transformers_vit", lambda: kind(config), save, _transformers_vit, model, bias)


def _upernet_of_transformers(save: Callable) -> Original:
    def build():
        return attention.upernet(_UPERNET, 3, filled.CLASSES, auxiliary=True)

    bias = "embeddings.patch_embeddings.projection.bias"
    # Large enough that its last stage is not one window.
    return Original("transformers_upernet", build, save, attention.upernet_stages, _UPERNET, bias, whole=True, edge=256)


ORIGINALS = {
    **{f"torchvision swin_{size}": _torchvision(size) for size in "tsb"},
    "timm swin_tiny": _of_timm("two_stream_swin", "t", "swin_tiny_patch4_window7_224"),
    "timm swin_small": _of_timm("two_stream_swin", "s", "swin_small_patch4_window7_224"),
    "timm swin_base": _of_timm("two_stream_swin", "b", "swin_base_patch4_window7_224"),
    "timm vit_small": _of_timm("vit_pyramid", "s", "vit_small_patch16_224"),
    "timm vit_base": _of_timm("vit_pyramid", "b", "vit_base_patch16_224"),
    "transformers swin": _swin_t_of_transformers(transformers.SwinModel, _transformers),
    "transformers swin, classes": _swin_t_of_transformers(transformers.SwinForImageClassification, _transformers),
    "transformers swin, names of modules": _swin_t_of_transformers(transformers.SwinModel, _bare),
    "transformers vit_base": _vit_of_transformers(transformers.ViTModel, "b", _transformers),
    "transformers vit_small, classes": _vit_of_transformers(transformers.ViTForImageClassification, "s", _transformers),
    "transformers vit_small, names of modules": _vit_of_transformers(transformers.ViTModel, "s", _bare),
    "transformers upernet": _upernet_of_transformers(_transformers),
    "transformers upernet, names of modules": _upernet_of_transformers(_bare),
}
# Small ones, whose answers are kept.
SMALL = {
    "small timm swin": Original(
        "timm_swin",
        lambda: timm.create_model(
            "swin_tiny_patch4_window7_224",
            img_size=64,
            window_size=4,
            embed_dim=24,
            depths=(1, 2, 1),
            num_heads=(1, 2, 4),
        ),
        _timm,
        _timm_swin,
        _TINY_SWIN,
        "patch_embed.proj.bias",
        edge=64,
    ),
    "small timm vit": Original(
        "timm_vit",
        lambda: timm.create_model("vit_small_patch16_224", img_size=64, embed_dim=48, depth=3, num_heads=3),
        _timm,
        _timm_vit,
        _TINY_VIT,
        "patch_embed.proj.bias",
        edge=64,
    ),
}


def _shapes(network: nn.Module) -> Shapes:
    """Of what is stored."""
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def _filled(network: nn.Module, faint: str = "") -> nn.Module:
    """With values by name; those that `faint` finds are made small."""
    shapes = {name: shape for name, shape in _shapes(network).items() if not re.search(published.BUFFERS, name)}
    values = {
        name: torch.tensor(value * _FAINT if faint and re.search(faint, name) else value).to(
            network.state_dict()[name].dtype
        )
        for name, value in published.fill(shapes).items()
    }
    missing, unexpected = network.load_state_dict(values, strict=False)
    assert not unexpected
    assert all(re.search(published.BUFFERS, name) for name in missing)
    return network.eval()


def _compared(original: Original, folder: pathlib.Path, faint: str = "") -> tuple[dict, dict, Shapes]:
    """Our stages and the original's, of an image that is faint, too; and the names and shapes of the file."""
    network = _filled(original.build(), faint)
    arrays = files.read(original.save(network, folder)).arrays
    ours, below = original.ours()
    _, values = published.arrived(arrays, original.layout, published.shapes_of(ours), below)
    ours.values.update(values)
    image = filled.image("image", 1, original.edge, original.edge, 3) * np.float32(_FAINT if faint else 1)
    with torch.no_grad():
        found = original.stages(network, channels_first(torch.tensor(image)))
    theirs = {name: (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).numpy() for name, x in found.items()}
    mine = ours.stages(({"image": image}, {"image": image}) if original.whole else image)
    # A plain ViT has no pyramid.
    lacking = {"encoder/0", "encoder/1", "encoder/3"} if original.layout.endswith("vit") else set()
    shapes = {name: value.shape for name, value in arrays.items()}
    return {name: stage for name, stage in mine.items() if name not in lacking}, theirs, shapes


@pytest.mark.parametrize("name", ORIGINALS | SMALL)
def test_every_stage(name, tmp_path, note):
    ours, theirs, _ = _compared((ORIGINALS | SMALL)[name], tmp_path)
    compare(f"weights of {name}", ours, theirs, note)


_FAINT_ONES = (
    "torchvision swin_t",
    "timm swin_tiny",
    "timm vit_small",
    "transformers swin",
    "transformers vit_small, classes",
    "transformers upernet",
)


@pytest.mark.parametrize("name", _FAINT_ONES)
def test_every_stage_of_a_faint_image(name, tmp_path, note):
    """A wrong epsilon of a layer norm is seen only where variances are small."""
    original = ORIGINALS[name]
    ours, theirs, _ = _compared(original, tmp_path, re.escape(original.bias) + "$")
    compare(f"weights of {name}, image and embedding x {_FAINT}", ours, theirs, note)


_TOKENS = r"(cls_token|pos_embed|position_embeddings|projection\.bias|patch_embed\.proj\.bias)$"


def _of_faint_tokens(name: str, folder: pathlib.Path) -> tuple[dict, dict]:
    ours, theirs, _ = _compared(ORIGINALS[name], folder, _TOKENS)
    return ({stage: found for stage, found in one.items() if stage != "tokens/0"} for one in (ours, theirs))


def test_every_stage_of_faint_tokens(tmp_path, note):
    """Positions of usual size hide the epsilon of a ViT's norms."""
    ours, theirs = _of_faint_tokens("transformers vit_small, classes", tmp_path)
    compare(f"weights of transformers vit_small, all tokens x {_FAINT}", ours, theirs, note)


def test_faint_tokens_of_timm_differ_by_its_epsilon(tmp_path, note):
    """1e-6 there, 1e-12 here: what docs/weights.md says of it, measured."""
    ours, theirs = _of_faint_tokens("timm vit_small", tmp_path)
    differences = {stage: float(np.abs(found - theirs[stage]).max()) for stage, found in ours.items()}
    note(f"weights of timm vit_small, all tokens x {_FAINT}: {max(differences.values()):.1e}, by its epsilon of 1e-6")
    assert 1e-3 < max(differences.values()) < 0.2


# Origins that are no library: their published names, with the values of networks that tests/parity builds.

_TO_MICROSOFT = (
    (r"^embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^embeddings\.norm", "patch_embed.norm"),
    (r"^encoder\.", ""),
    (r"^layernorm\.", "norm."),
)
_BLOCK_TO_MICROSOFT = (
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"attention\.o_proj", "attn.proj"),
    (r"attention\.qkv", "attn.qkv"),
    (r"attention\.relative_position_bias\.relative", "attn.relative"),
)
_TO_CAO = (
    (r"^expands\.0\.", "layers_up.0."),
    (r"^expands\.(\d)\.", r"layers_up.\1.upsample."),
    *((rf"^(joins|stages)\.{level}\.", rf"\1.{level + 1}-") for level in range(3)),
    (r"^joins\.(\d)-", r"concat_back_dim.\1."),
    (r"^stages\.(\d)-", r"layers_up.\1."),
    (r"^norm\.", "norm_up."),
)


def _renamed(values: Mapping[str, np.ndarray], rules: tuple[tuple[str, str], ...]) -> dict[str, np.ndarray]:
    """By other names; query, key and value side by side."""
    joined = {}
    for name, value in values.items():
        if not re.search(r"\.[kv]_proj\.", name):
            parts = [values[name.replace(".q_proj.", f".{which}_proj.")] for which in "qkv" if ".q_proj." in name]
            joined[name.replace(".q_proj.", ".qkv.")] = np.concatenate(parts) if parts else value
    result = {}
    for name, value in joined.items():
        for pattern, replacement in (*rules, *_BLOCK_TO_MICROSOFT):
            name = re.sub(pattern, replacement, name)
        result[name] = value
    return result


def _values(network: nn.Module, prefix: str = "") -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): value.numpy()
        for name, value in network.state_dict().items()
        if name.startswith(prefix)
    }


def _as_published(known: Mapping[str, np.ndarray], names: Shapes) -> dict[str, np.ndarray]:
    """A state dict of these names and shapes; what is not known is filled."""
    assert set(known) <= set(names)
    whole = published.fill({name: shape for name, shape in names.items() if name not in known}) | dict(known)
    assert {name: value.shape for name, value in whole.items()} == names
    return published.twice(whole)


def _below(prefix: str, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {prefix + name: value for name, value in values.items()}


def test_microsoft_swin(tmp_path, note):
    network = _filled(attention.swin(_SWIN_T, 3).network)
    path = tmp_path / "swin_tiny_patch4_window7_224.pth"
    whole = _as_published(_below("model.", _renamed(_values(network), _TO_MICROSOFT)), published.microsoft())
    torch.save({"model": {name.removeprefix("model."): torch.tensor(value) for name, value in whole.items()}}, path)
    ours = filled.encoder(_SWIN_T, 3)
    _, values = published.arrived(files.read(path).arrays, "microsoft_swin", published.shapes_of(ours), _ENCODER)
    ours.values.update(values)
    image = filled.image("image", 1, 224, 224, 3)
    theirs = attention.swin(_SWIN_T, 3)
    stages = dataclasses.replace(theirs, network=network).stages({"image": image})
    compare("weights of microsoft swin_t", ours.stages(image), stages, note)


def _streams(network: nn.Module, numbers: Mapping[str, tuple[str, str]]) -> dict[str, np.ndarray]:
    """Encoders and decoders by the names of Swin-Unet, below the prefixes of each stream."""
    found = {}
    for stream, (encoder, decoder) in numbers.items():
        own = f"streams.{stream}."
        found |= _below(encoder, _renamed(_values(network, f"{own}encoder."), _TO_MICROSOFT))
        rest = {name: value for name, value in _values(network, own).items() if not name.startswith("encoder.")}
        found |= _below(decoder, _renamed(rest, _TO_CAO))
    return found


_SEGMENTERS = {
    "swin_unet": ("swin_unet", {"image": 3}, {"image": ("", "")}, ("up.", "output."), published.cao, "swin_unet."),
    "ssl_transformer_rs": (
        "two_stream_swin",
        {"s1": 2, "s2": 13},
        {"s1": ("backbone1.", "decoder1."), "s2": ("backbone2.", "decoder2.")},
        ("decoder1.up.", "decoder1.output."),
        published.two_streams_segmentation,
        "model_weights.",
    ),
}


@pytest.mark.parametrize("layout", _SEGMENTERS)
def test_segmenters_of_articles(layout, tmp_path, note):
    family, bands, streams, (up, output), published_as, prefix = _SEGMENTERS[layout]
    model = registry.sized(family, "t")
    peer = attention.swin_unet(model, bands, filled.CLASSES)
    network = _filled(peer.network)
    known = _streams(network, streams) | _below(up, _values(network, "expand."))
    known |= _below(output, _values(network, "classify."))
    whole = _as_published(_below(prefix, known), published_as(prefix, classes=filled.CLASSES))
    path = tmp_path / "best_model.pth"
    torch.save({name: torch.tensor(value) for name, value in whole.items()}, path)
    ours = filled.segmenter(model, bands)
    _, values = published.arrived(files.read(path).arrays, layout, published.shapes_of(ours))
    assert set(values) == set(ours.values)
    ours.values.update(values)
    images = {stream: filled.image(stream, 1, 224, 224, count) for stream, count in bands.items()}
    theirs = peer.whole_stages(images, 224, 224)
    compare(f"weights of {layout}", ours.stages((images, images)), theirs, note)


class Unfolded(nn.Module):
    """Merges patches by nn.Unfold: the neighbours of a channel side by side."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x_BxNxC: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        x = channels_first(x_BxNxC.reshape(len(x_BxNxC), *size, -1))
        return self.reduction(self.norm(nn.functional.unfold(x, 2, stride=2).transpose(1, 2)))


_TO_MMSEG = (
    (r"^backbone\.swin\.embeddings\.patch_embeddings\.", "backbone.patch_embed."),
    (r"^backbone\.swin\.embeddings\.", "backbone.patch_embed."),
    (r"^backbone\.swin\.encoder\.layers\.", "backbone.stages."),
    *((rf"^backbone\.hidden_states_norms\.stage{stage + 1}\.", f"backbone.norm{stage}.") for stage in range(4)),
    (r"mlp\.fc1", "ffn.layers.0.0"),
    (r"mlp\.fc2", "ffn.layers.1"),
    (r"attention\.(o_proj|qkv|relative)", r"attention.w_msa.\1"),
    (r"w_msa\.o_proj", "w_msa.proj"),
    (r"w_msa\.relative_position_bias\.", "w_msa."),
    (r"attention\.w_msa", "attn.w_msa"),
    (r"batch_norm", "bn"),
    (r"decode_head\.classifier", "decode_head.conv_seg"),
)


def test_mmseg(note):
    network = attention.upernet(_UPERNET, 3, filled.CLASSES)
    for stage, layer in enumerate(network.backbone.swin.encoder.layers[:-1]):
        layer.downsample = Unfolded(_UPERNET["embed"] * 2**stage)
    values = _renamed(_values(_filled(network)), _TO_MMSEG)
    values = {name: value for name, value in values.items() if ".swin.layernorm." not in name}
    ours = filled.segmenter(_UPERNET, {"image": 3})
    _, found = published.arrived(_below("state_dict.", values), "mmseg_swin", published.shapes_of(ours))
    assert set(found) == set(ours.values)
    ours.values.update(found)
    images = {"image": filled.image("image", 1, 256, 256, 3)}
    with torch.no_grad():
        stages = attention.upernet_stages(network, channels_first(torch.tensor(images["image"])))
    theirs = {name: stage.permute(0, 2, 3, 1).numpy() for name, stage in stages.items()}
    compare("weights of mmseg swin_t", ours.stages((images, images)), theirs, note)


# What is kept for tests without these libraries.


def test_answers_are_kept(tmp_path):
    names, answers = {}, {}
    for name, original in (ORIGINALS | SMALL).items():
        folder = tmp_path / name
        folder.mkdir()
        if name in SMALL:
            _, theirs, names[name] = _compared(original, folder)
            answers |= {f"{name}:{stage}": value for stage, value in kept(theirs).items()}
        else:
            arrays = files.read(original.save(original.build(), folder)).arrays
            names[name] = {entry: value.shape for entry, value in arrays.items()}
    if os.environ.get("WRITE_ANSWERS"):
        published.keep(names, answers)
    assert published.kept_names() == names
    stored = published.kept_answers()
    assert set(stored) == set(answers)
    for name, values in answers.items():
        np.testing.assert_allclose(stored[name], values, rtol=0, atol=TOLERANCE / 10)
