"""The packages in examples/ as outsiders use them: named on the command line, or installed; lcjax stays as it is."""

import importlib
import json
import pathlib
import re
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from networks import card_of

import lcjax
from data_pipelines.schema import plugins
from lcjax import tasks
from lcjax.configs import registry as configs
from lcjax.engine import restore
from lcjax.ops import losses
from lcjax.parallel import launcher
from lcjax.parallel import mesh as meshes

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
PACKAGES = ("own_model", "own_dataset", "own_loss")


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    """What a test allows and imports is forgotten after it."""
    monkeypatch.setattr(plugins, "_allowed", set())
    yield
    _forget()


@pytest.fixture
def on_path(monkeypatch):
    """The packages as PYTHONPATH=examples/own_model:... gives them: importable, and not installed."""
    for package in PACKAGES:
        monkeypatch.syspath_prepend(str(EXAMPLES / package))


def training(workdir, data_dir, config: str, steps: int = 4, **fields) -> list[str]:
    """Arguments of a short training, with a checkpoint after every second step."""
    fields = {
        "data_dir": data_dir,
        "total": f"{steps} steps",
        "log_every": "1 steps",
        "save_every": "2 steps",
        "evaluate_every": f"{steps} steps",
        "crop": 32,
        "optimizer.warmup": "0 steps",
        "parallel.data": 1,
    } | fields
    overridden = (f"--config.{name}={value}" for name, value in fields.items())
    return ["train", f"--config={config}", f"--workdir={workdir}", *overridden]


OWN_MODEL = "dfc2020:data=sample,tiny=true,model=own_model:OwnModel"


@pytest.fixture(scope="module")
def own_run(data_dir, tmp_path_factory):
    """Where the run of the model that the command line names lies; the first test that trains it makes it."""
    return tmp_path_factory.mktemp("own") / "run", data_dir


@pytest.fixture
def trained_own(own_run, on_path, command) -> pathlib.Path:
    """The workdir of that run; nothing is allowed any more."""
    workdir, data_dir = own_run
    if not (workdir / "checkpoints").exists():
        code, _, err = command(*training(workdir, data_dir, OWN_MODEL))
        assert (code, err) == (0, [])
        _forget()
    return workdir


def _forget():
    plugins._allowed.clear()
    for package in PACKAGES:
        sys.modules.pop(package, None)


def asked(workdir: pathlib.Path, sample: pathlib.Path, output: pathlib.Path) -> dict[str, list[str]]:
    """Every verb that reads a workdir -> its arguments."""
    scene = ",".join(f"{sensor}={sample}/scenes/scene_{sensor}.tif" for sensor in ("s1", "s2"))
    return {
        "evaluate": ["evaluate", f"--workdir={workdir}"],
        "predict": ["predict", f"--workdir={workdir}", f"--scene={scene}", f"--output={output}/map.tif"],
        "export": ["export", f"--workdir={workdir}", f"--output={output}/exported"],
        "report": ["report", f"--workdirs={workdir}", f"--output={output}/report"],
        "info": ["info", str(workdir)],
    }


def test_verbs_refuse_the_model_of_a_workdir_by_name_until_its_package_is_allowed(
    trained_own, command, sample, tmp_path
):
    for arguments in asked(trained_own, sample, tmp_path).values():
        _forget()
        code, _, err = command(*arguments)
        assert code == 2 and len(err) == 1, err
        assert "config.model.name='own_model:OwnModel': comes from a file" in err[0]
        assert "--allow_plugins=own_model" in err[0] and "own_model" not in sys.modules
        code, out, err = command(*arguments, "--allow_plugins=own_model")
        assert code == 0, (out, err)
    assert {path.name for path in tmp_path.iterdir()} >= {"map.tif", "exported", "report"}
    assert "own_model:OwnModel" in (tmp_path / "report" / "index.html").read_text()


def test_a_training_with_dropout_goes_on_in_the_same_bits(trained_own, own_run, command, tmp_path, monkeypatch):
    arguments = training(tmp_path / "run", own_run[1], OWN_MODEL)
    steps = iter(range(100))
    with monkeypatch.context() as patch:
        patch.setattr("lcjax.parallel.multihost.StopRequests.asked", lambda self, step: next(steps) == 2)
        assert command(*arguments)[0] == launcher.STOPPED
    assert command(*arguments)[0] == 0
    plugins.allow("own_model")
    whole, resumed = (restore.restore(folder, "last") for folder in (trained_own, tmp_path / "run"))
    assert whole.step == resumed.step == 4 and whole.template.draws
    for path, value in (whole.parameters | whole.statistics).items():
        np.testing.assert_array_equal((resumed.parameters | resumed.statistics)[path], value, err_msg=path)


@pytest.mark.parametrize(
    ("field", "name", "says"),
    [
        *((field, "os:system", "comes from a file") for field in ("model.name", "dataset", "task", "loss")),
        ("model.name", "own_model", "expected one of unet"),  # as its entry point is called, which is not installed
    ],
)
def test_every_verb_refuses_by_name_what_a_workdir_may_not_choose(
    field, name, says, trained_own, own_run, command, sample, tmp_path
):
    stranger = shutil.copytree(trained_own, tmp_path / "stranger")
    config = json.loads((stranger / "config.json").read_text())
    config["model"]["name"] = "unet"
    *folder, key = field.split(".")
    (config[folder[0]] if folder else config)[key] = name
    (stranger / "config.json").write_text(json.dumps(config))
    verbs = asked(stranger, sample, tmp_path)
    verbs["train"] = training(tmp_path / "run", own_run[1], f"{OWN_MODEL},init={stranger}")
    for verb, arguments in verbs.items():
        code, _, err = command(*arguments)
        assert code == 2 and len(err) == 1, (verb, err)
        assert f"config.{field}='{name}': {says}" in err[0], verb


ONE_SIZE = """
import jax.numpy as jnp
from flax import nnx

class OneSize(nnx.Module):
    def __init__(self, bands, classes, rngs):
        self.layer = nnx.Linear(sum(bands.values()), classes, rngs=rngs)
        self.position = nnx.Param(jnp.zeros((1, 32, 32, classes)))

    def __call__(self, images, keys_B=None):
        return self.layer(jnp.concatenate(list(images.values()), -1)) + self.position[...]
"""


def test_a_network_for_one_size_of_image_is_trained_with_a_warning_and_not_exported(
    data_dir, command, tmp_path, monkeypatch
):
    (tmp_path / "own_one_size.py").write_text(ONE_SIZE)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = "dfc2020:data=sample,tiny=true,model=own_one_size:OneSize"
    code, out, _ = command(*training(tmp_path / "run", data_dir, config, steps=2, window=32))
    assert code == 0
    (warned,) = (line for line in out.splitlines() if "trained all the same" in line)
    assert warned.startswith("warning: config.model.name='own_one_size:OneSize': this network cannot be exported")
    code, _, err = command("export", f"--workdir={tmp_path / 'run'}", f"--output={tmp_path / 'exported'}")
    assert code == 2 and "this network cannot be exported for images of any size" in err[0]
    assert not (tmp_path / "exported").exists()
    del sys.modules["own_one_size"]


def test_installed_packages_are_named_by_their_entry_points(examples_installed, command, tmp_path):
    make_photos = _module("own_dataset/make_photos.py")
    make_photos.make(tmp_path / "photos")
    (tmp_path / "photos" / "train" / "photos" / "0099.png").write_text("half a photograph")
    code, out, err = command(
        "prepare", "--dataset=fields", f"--source={tmp_path / 'photos'}", f"--data_dir={tmp_path / 'data'}"
    )
    assert code == 0 and "12 records of 64 x 64 pixels" in out, err
    (refused,) = (tmp_path / "data" / "fields" / "1.0.0" / "refused.csv").read_text().splitlines()[1:]
    assert refused.startswith("train/0099,") and "0099.png,cannot be opened" in refused
    config = "rasters:data=fields,model=own_model,tiny=true"
    arguments = training(tmp_path / "run", tmp_path / "data", config, loss="dice", class_weights=0.0)
    assert command(*arguments)[0] == 0
    # From the workdir, too: what is installed needs no leave.
    code, out, _ = command("evaluate", f"--workdir={tmp_path / 'run'}")
    assert code == 0 and "(4 records)" in out
    scores = json.loads((tmp_path / "run" / "evaluation" / "test" / "metrics.json").read_text())
    assert scores["class_set"] == ["crop", "weeds", "bare soil"]
    assert scores["pixels"] == 4 * (64 * 64 - 16)
    for kind, name, package in (("models", "own_model", "own-model"), ("datasets", "fields", "own-dataset")):
        code, out, _ = command("info", kind)
        assert code == 0 and any(name in line and f"[{package}]" in line for line in out.splitlines())


def _module(file: str):
    spec = importlib.util.spec_from_file_location(pathlib.Path(file).stem, EXAMPLES / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pixels():
    """Logits and labels of 4 small images, among them pixels without a label."""
    draw = np.random.default_rng(0)
    labels = draw.choice([0, 1, 3, 255], (4, 5, 6)).astype(np.uint8)
    return draw.normal(0, 2, (4, 5, 6, 4)).astype(np.float32), labels


def focal_by_numpy(logits, labels, weights):
    p = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(-1, keepdims=True)
    terms = [
        (weights[k], -((1 - q[k]) ** 2) * np.log(q[k]))
        for q, k in zip(p.reshape(-1, 4), labels.reshape(-1), strict=True)
        if k != 255
    ]
    return sum(weight * loss for weight, loss in terms) / sum(weight for weight, _ in terms)


def dice_by_numpy(logits, labels, weights):
    p = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(-1, keepdims=True)
    p, labels = p[labels != 255], labels[labels != 255]
    overlaps = {k: 2 * p[labels == k, k].sum() / (p[:, k].sum() + (labels == k).sum()) for k in np.unique(labels)}
    return 1 - sum(weights[k] * one for k, one in overlaps.items()) / sum(weights[k] for k in overlaps)


@pytest.mark.parametrize("name", ["focal", "dice"])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_are_those_of_the_articles_on_one_device_and_on_several(name, weighted, pixels, on_path):
    plugins.allow("own_loss")
    loss = losses.pixel_loss(f"own_loss:{name}")
    weights = jnp.array([1.0, 0.5, 3.0, 2.0]) if weighted else None
    given = np.ones(4) if weights is None else np.asarray(weights)
    expected = {"focal": focal_by_numpy, "dice": dice_by_numpy}[name](*pixels, given)
    np.testing.assert_allclose(loss(*pixels, weights), expected, rtol=1e-5)
    nothing = np.full_like(pixels[1], 255)
    assert np.isfinite(loss(pixels[0], nothing, weights)) and np.isfinite(jax.grad(loss)(pixels[0], nothing)).all()
    mesh = jax.make_mesh((4,), (meshes.REPLICAS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
    split = PartitionSpec(meshes.REPLICAS)
    over_devices = jax.shard_map(
        lambda *piece: jax.lax.psum(loss(*piece, weights), meshes.REPLICAS),
        mesh=mesh, in_specs=(split, split), out_specs=PartitionSpec(),
    )  # fmt: skip
    np.testing.assert_allclose(jax.jit(over_devices)(*pixels), expected, rtol=1e-5)


def python_of_the_page() -> list[str]:
    page = (EXAMPLES.parent / "docs" / "extending.md").read_text()
    return re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def test_the_page_shows_the_code_of_the_examples():
    sources = [(EXAMPLES / package / f"{package}.py").read_text() for package in PACKAGES]
    shown = [text for text in python_of_the_page() if not text.startswith(("# own_", "network = "))]
    assert len(shown) == len(sources)
    for text, source in zip(shown, sources, strict=True):
        assert all(piece.strip() in source for piece in text.split("\n\n\n"))


def test_the_task_and_the_config_of_the_page_work(tmp_path, monkeypatch):
    for text in python_of_the_page():
        if text.startswith("# own_"):
            (tmp_path / text.splitlines()[0].removeprefix("# ")).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = configs.parse("own_config:get_config:model=unet,tiny=true")
    assert (config.fusion, config.class_weights, config.crop) == ("s2", 0.5, 64)
    again = lcjax.config("own_config:get_config", tiny=True, task="own_task:ByKappa", **{"model.base": 4})
    assert again.task == "own_task:ByKappa"
    task = tasks.make(again, card_of(again))
    sums = {"confusion": np.eye(len(task.names), dtype=int)}
    assert task.monitor == "kappa" and task.scores(sums)["kappa"] == 1
    for name in ("own_config", "own_task"):
        del sys.modules[name]
