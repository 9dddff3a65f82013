"""What is measured beside what: networks, and the sides that compute them."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Case:
    """A network that both sides have, entry by entry (tests/parity holds them against each other).

    Attributes:
      model, size: of lcjax.
      peer: module and attribute in tests/parity that builds it in PyTorch.
      convolutional: whether channels-last memory is a choice in PyTorch.
      edge: pixels of the images.
    """

    model: str
    size: str
    peer: tuple[str, str]
    convolutional: bool = True
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
MODES = ("training", "forward")
PRECISIONS = ("f32", "bf16")


@dataclasses.dataclass(frozen=True)
class Side:
    """Who computes a case.

    Attributes:
      script: in this folder.
      how: "step" is forward, backward and update alone; "jit" and "pmap" are what `lcjax train` runs, with
        augmentation, drop path and metrics; "eager", "channels_last" and "compile" are PyTorch's ways.
    """

    script: str
    how: str


SIDES = {
    "lcjax": Side("lcjax_worker.py", "step"),
    "lcjax_jit": Side("lcjax_worker.py", "jit"),
    "lcjax_pmap": Side("lcjax_worker.py", "pmap"),
    "torch": Side("torch_worker.py", "eager"),
    "torch_channels_last": Side("torch_worker.py", "channels_last"),
    "torch_compile": Side("torch_worker.py", "compile"),
}


def sides(case: Case, mode: str) -> list[str]:
    """The sides that a case has in a mode."""
    return [
        name
        for name, side in SIDES.items()
        if (side.how != "channels_last" or case.convolutional)
        and (mode == "training" or side.how not in ("jit", "pmap"))
    ]
