"""The convolutional networks of other libraries as they publish them, with values drawn by name, and how they save.

torchgeo's are timm's. Those of Satlas and FLAIR are put together as their code does, from the libraries that it uses.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import published
import timm
import torch
import torchvision
import transformers
from convolution import smp_resnet, smp_unet
from peer import Peer, Stages, leaving
from segmentation_models_pytorch import Unet
from timm.models import save_for_hf
from torch import nn


@dataclasses.dataclass(frozen=True)
class Original:
    """A network with values.

    Attributes:
      peer: it, and what leaves its stages.
      save: (network, folder) -> the file that its library publishes.
    """

    peer: Peer
    save: Callable[[nn.Module, pathlib.Path], pathlib.Path]

    @property
    def shapes(self) -> published.Shapes:
        """Of its entries."""
        return {name: tuple(value.shape) for name, value in self.peer.network.state_dict().items()}

    def filled(self, dim: float = 1.0) -> "Original":
        """Itself, with values drawn by name."""
        drawn = {name: torch.tensor(value) for name, value in published.values(self.shapes, dim).items()}
        self.peer.network.load_state_dict(drawn)
        self.peer.network.eval()
        return self


# How they save


def bare(network: nn.Module, folder: pathlib.Path) -> pathlib.Path:
    torch.save(network.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


def _pretrained(network: nn.Module, folder: pathlib.Path) -> pathlib.Path:
    """Of transformers and segmentation_models_pytorch."""
    network.save_pretrained(folder)
    return folder / "model.safetensors"


def _timm(network: nn.Module, folder: pathlib.Path) -> pathlib.Path:
    save_for_hf(network, str(folder), safe_serialization="both")
    return folder / "model.safetensors"


def _timm_pickled(network: nn.Module, folder: pathlib.Path) -> pathlib.Path:
    _timm(network, folder)
    return folder / "pytorch_model.bin"


def _lightning(network: nn.Module, folder: pathlib.Path) -> pathlib.Path:
    entries = {f"model.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 3, "global_step": 17, "state_dict": entries, "loops": {}}, folder / "last.ckpt")
    return folder / "last.ckpt"


# What leaves their stages


def _hooked(*names: str) -> Callable[[nn.Module, Mapping[str, torch.Tensor]], Stages]:
    def forward(network, images):
        with leaving(network, *names) as found:
            network(images["image"])
        return {f"encoder/{i}": found[name] for i, name in enumerate(names)}

    return forward


def _layers(prefix: str = "") -> tuple[str, ...]:
    return tuple(f"{prefix}layer{stage}" for stage in range(1, 5))


def _pyramid(network: nn.Module, images: Mapping[str, torch.Tensor]) -> Stages:
    """Of an encoder of segmentation_models_pytorch, which gives the image first."""
    return {f"encoder/{i}": feature for i, feature in enumerate(network(images["image"])[1:])}


_TORCHVISION = _hooked("relu", *_layers())
_TIMM = _hooked("act1", *_layers())
LITE0 = _hooked(*(f"blocks.{stage}" for stage in (0, 1, 2, 4, 6)))


def _transformers(prefix: str):
    return _hooked(f"{prefix}embedder.embedder", *(f"{prefix}encoder.stages.{stage}" for stage in range(4)))


# The networks


def _torchvision(name: str) -> Original:
    return Original(Peer(torchvision.models.get_model(name, weights=None), (), _TORCHVISION), bare)


def _timm_resnet(name: str, save=_timm, **known) -> Original:
    return Original(Peer(timm.create_model(name, **known), (), _TIMM), save)


def _config(depth: int) -> transformers.ResNetConfig:
    basic = depth < 50
    return transformers.ResNetConfig(
        layer_type="basic" if basic else "bottleneck",
        depths=[2, 2, 2, 2] if depth == 18 else [3, 4, 6, 3],
        hidden_sizes=[64, 128, 256, 512] if basic else [256, 512, 1024, 2048],
    )


def _transformers_resnet(depth: int) -> Original:
    network = transformers.ResNetForImageClassification(_config(depth))
    return Original(Peer(network, (), _transformers("resnet.")), _pretrained)


def _smp(name: str, bands: int = 3) -> Original:
    return Original(smp_resnet(name)({}, {"image": bands}, 7), _pretrained)


def _smp_timm(name: str) -> Original:
    return Original(smp_unet({}, {"image": 3}, 7, name=f"tu-{name}", prefix="", rules=()), _pretrained)


def _auxiliary() -> Original:
    peer = smp_resnet("resnet18")({}, {"image": 3}, 7)
    network = Unet("resnet18", encoder_weights=None, classes=7, aux_params={"classes": 4})

    def forward(network, images):
        head = network.classification_head
        network.classification_head = None
        stages = peer.forward(network, images)
        network.classification_head = head
        return stages

    return Original(Peer(network, (), forward), _pretrained)


def _smp_encoder(name: str) -> Original:
    network = Unet(name, encoder_weights=None).encoder
    return Original(Peer(network, (), _pyramid), bare)


class _Satlas(nn.Module):
    """The ResNet of torchvision for nine bands or three, a pyramid and a head, by the names of the published files."""

    def __init__(self, bands: int, many: bool):
        super().__init__()
        resnet = torchvision.models.resnet50(weights=None)
        resnet.conv1 = nn.Conv2d(bands, 64, 7, stride=2, padding=3, bias=False)
        inner = nn.ModuleDict({"resnet": resnet})
        self.backbone = nn.ModuleDict({"backbone": inner}) if many else inner
        pyramid = torchvision.ops.FeaturePyramidNetwork([256, 512, 1024, 2048], 128)
        self.intermediates = nn.ModuleList([nn.ModuleDict({"fpn": pyramid})])
        self.heads = nn.ModuleList(
            [nn.ModuleDict({"layers": nn.ModuleList([nn.Conv2d(128, 4, 3), nn.Conv2d(4, 2, 3)])})]
        )
        self.many = many

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        inner = self.backbone["backbone"] if self.many else self.backbone
        return inner["resnet"](image)


def _satlas(bands: int, *, many: bool) -> Original:
    prefix = "backbone.backbone.resnet." if many else "backbone.resnet."
    forward = _hooked(f"{prefix}relu", *_layers(prefix))
    return Original(Peer(_Satlas(bands, many), (), forward), bare)


def _flair() -> Original:
    peer = smp_resnet("resnet34")({}, {"image": 5}, 19)

    def forward(network, images):
        return peer.forward(network["seg_model"], images)

    return Original(Peer(nn.ModuleDict({"seg_model": peer.network}), (), forward), _lightning)


BUILD: dict[str, Callable[[], Original]] = {
    **{f"torchvision resnet{n}": lambda n=n: _torchvision(f"resnet{n}") for n in (18, 34, 50, 101)},
    "timm resnet34": lambda: _timm_resnet("resnet34", _timm_pickled),
    "timm resnet50": lambda: _timm_resnet("resnet50"),
    "timm tf_efficientnet_lite0": lambda: Original(Peer(timm.create_model("tf_efficientnet_lite0"), (), LITE0), _timm),
    **{f"transformers resnet{n}": lambda n=n: _transformers_resnet(n) for n in (18, 50)},
    "transformers resnet50 by itself": lambda: Original(
        Peer(transformers.ResNetModel(_config(50)), (), _transformers("")), _pretrained
    ),
    "smp resnet18": lambda: _smp("resnet18"),
    **{f"smp resnet{n}": lambda n=n: _smp(f"resnet{n}", 5) for n in (34, 50, 101)},
    "smp resnet18 with an auxiliary head": _auxiliary,
    "smp tu-resnet18": lambda: _smp_timm("resnet18"),
    "smp tu-tf_efficientnet_lite0": lambda: _smp_timm("tf_efficientnet_lite0"),
    "encoder of smp resnet18": lambda: _smp_encoder("resnet18"),
    "encoder of smp tu-tf_efficientnet_lite0": lambda: _smp_encoder("tu-tf_efficientnet_lite0"),
    "torchgeo resnet18 sentinel2": lambda: _timm_resnet("resnet18", bare, in_chans=13),
    "torchgeo resnet50 sentinel2": lambda: _timm_resnet("resnet50", bare, in_chans=13, num_classes=0),
    "torchgeo resnet50 sentinel1": lambda: _timm_resnet("resnet50", bare, in_chans=2, num_classes=0),
    "torchgeo resnet18 landsat": lambda: _timm_resnet("resnet18", bare, in_chans=11, num_classes=0),
    "satlas resnet50": lambda: _satlas(9, many=False),
    "satlas resnet50 of many images": lambda: _satlas(3, many=True),
    "flair resnet34": _flair,
}
