"""What is measured beside what: networks, and the sides that compute them."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Case:
    """A network that both sides have, entry by entry (tests/parity holds them against each other), or records to read.

    Attributes:
      model, size: of lcjax; empty where records are read, which are those of this name in input_variants.KINDS.
      peer: module and attribute, in tests/parity or here, that builds it in PyTorch.
      patches: whether it tells one class for an image, and not one for each pixel.
      convolutional: whether channels-last memory is a choice in PyTorch.
      edge: pixels of the images.
    """

    model: str = ""
    size: str = ""
    peer: tuple[str, str] = ("", "")
    convolutional: bool = True
    patches: bool = False
    edge: int = 224


BANDS = 15  # both Sentinel sensors, side by side
CLASSES = 8
LEARNING_RATE, WEIGHT_DECAY, CLIP = 1e-4, 0.05, 1.0
CASES = {
    "unet": Case("unet", "", ("convolution", "unet")),
    "resnet50_unet": Case("resnet50_unet", "", ("convolution", "SMP_RESNET50")),
    "efficientnet_lite0_unet": Case("efficientnet_lite0_unet", "", ("convolution", "SMP_LITE0")),
    "swin_unet": Case("swin_unet", "t", ("attention", "swin_unet"), convolutional=False),
    "swin_upernet": Case("swin_upernet", "t", ("attention", "swin_upernet"), convolutional=False),
}
CASES |= {
    f"swin_t_{library}": Case("swin_upernet", "t", ("swin_t", f"of_{library}"), convolutional=False, patches=True)
    for library in ("timm", "transformers")
}
CASES |= {name: Case() for name in ("sen12ms", "flair1")}
MODES = {"training": "images", "forward": "images", "scene": "Mpixel", "reading": "records"}  # with what is counted
PRECISIONS = ("f32", "bf16")
SCENE = 1024  # pixels of the edge of a scene
RECORDS = 64  # on disk
BATCHES = 16  # that are read in a call


@dataclasses.dataclass(frozen=True)
class Side:
    """Who computes a case.

    Attributes:
      script: in this folder.
      how: "step" is forward, backward and update alone; "jit" and "pmap" are what `lcjax train` runs, with
        augmentation, drop path and metrics; "eager", "channels_last" and "compile" are PyTorch's ways; "map" is what
        `lcjax predict` runs; "loader" is that of `lcjax train`; "geotiff" and "geotiff_deflate" are files, which a
        DataLoader reads with as many processes as there are cores.
      modes: that it has.
    """

    script: str
    how: str
    modes: tuple[str, ...] = ("training", "forward")


SIDES = {
    "lcjax": Side("lcjax_worker.py", "step"),
    "lcjax_jit": Side("lcjax_worker.py", "jit", ("training",)),
    "lcjax_pmap": Side("lcjax_worker.py", "pmap", ("training",)),
    "lcjax_map": Side("lcjax_scene.py", "map", ("scene",)),
    "lcjax_loader": Side("lcjax_reading.py", "loader", ("reading",)),
    "torch": Side("torch_worker.py", "eager"),
    "torch_channels_last": Side("torch_worker.py", "channels_last"),
    "torch_compile": Side("torch_worker.py", "compile"),
    "torch_map": Side("torch_scene.py", "eager", ("scene",)),
    "torch_map_channels_last": Side("torch_scene.py", "channels_last", ("scene",)),
    "torch_loader": Side("torch_reading.py", "geotiff", ("reading",)),
    "torch_loader_deflate": Side("torch_reading.py", "geotiff_deflate", ("reading",)),
}


def modes(case: Case) -> list[str]:
    """The modes that a case has."""
    if not case.model:
        return ["reading"]
    return ["training", "forward"] if case.patches else ["training", "forward", "scene"]


def sides(case: Case, mode: str) -> list[str]:
    """The sides that a case has in a mode."""
    return [
        name
        for name, side in SIDES.items()
        if mode in side.modes and (side.how != "channels_last" or case.convolutional)
    ]


def amount(mode: str, batch: int) -> float:
    """How much of what `MODES` counts is done in a call."""
    return {"scene": SCENE**2 / 1e6, "reading": float(batch * BATCHES)}.get(mode, float(batch))
