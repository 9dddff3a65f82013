"""Exported networks: what another process without lcjax makes of them, what is written, and what is refused."""

import json
import pathlib
import shutil
import subprocess
import sys
import types
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export as jax_export
from networks import batch, card_of, make, smallest

from data_pipelines.schema.errors import InputError
from lcjax import tasks
from lcjax.cli import export as export_verb
from lcjax.configs import flair1
from lcjax.engine import initial, restore
from lcjax.export import exporter, load
from lcjax.models import resample, segmenter, swin
from lcjax.models.params import Template
from lcjax.ops import augment
from lcjax.runs import calibration, checkpoints, workdir
from lcjax.runs.progress import Progress
from lcjax.weights import files, layout
from lcjax.weights.layouts import ALL

# name -> model, fusion or "contrastive", sizes
NETWORKS = {
    "unet": ("unet", "early", {}),
    "resnet50_unet": ("resnet50_unet", "s2", {}),
    "swin_unet": ("swin_unet", "s1", {}),
    "two_stream_swin": ("two_stream_swin", "late", {}),
    "pretrain": ("swin_unet", "contrastive", {}),
}
MORE = {
    "unet_transposed": ("unet", "late", {"upsampling": "transposed", "patch": 2}),
    "unet_align_corners": ("unet", "early", {"upsampling": "align_corners"}),
    "resnet18_unet": ("resnet18_unet", "early_plus_late", {}),
    "efficientnet_lite0_unet": ("efficientnet_lite0_unet", "early", {}),
    "swin_upernet": ("swin_upernet", "early", {}),
    "vit_pyramid": ("vit_pyramid", "s2", {}),
    "pretrain_vit": ("vit_pyramid", "contrastive", {}),
}
# Batch, height and width; none is a multiple that a network needs, and the last has to be mirrored more than once.
SIZES = dict.fromkeys(NETWORKS, ((3, 40, 50),)) | {"unet": ((3, 40, 50), (1, 5, 66))}

# Loads what NAME/load.py loads, in a process that can import nothing of what made it.
STRANGER = """
import importlib.util, pathlib, sys

sys.dont_write_bytecode = True

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("lcjax", "data_pipelines", "configs", "flax", "orbax", "ml_collections"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Blocker())
import numpy as np

folder = pathlib.Path(sys.argv[1])
for path in sorted(folder.iterdir()):
    spec = importlib.util.spec_from_file_location("load", path / "load.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.load(path)
    for given in folder.parent.glob(f"{path.name}.*.npz"):
        with np.load(given, allow_pickle=False) as inputs:
            answer = network({name: inputs[name] for name in inputs.files})
        np.save(given.with_suffix(".npy"), answer)
assert not {"lcjax", "flax"} & set(sys.modules)
"""


def config_of(name: str):
    model, fusion, sizes = (NETWORKS | MORE)[name]
    if fusion == "contrastive":
        return smallest(model, task="contrastive")
    return smallest(model, fusion, **sizes)


def images_of(config, count: int, height: int, width: int) -> dict[str, np.ndarray]:
    drawn = batch(config, count, edge=max(height, width))
    return {sensor.name: drawn[sensor.name][:, :height, :width] for sensor in card_of(config).sensors}


def run_of(config, folder: pathlib.Path):
    """The workdir of a run that ended where it began; only its statistics have been moved from 0 and 1."""
    task, template, values, statistics = make(config)
    generator = np.random.default_rng(5)
    statistics = {
        path: leaf * generator.uniform(0.5, 2, leaf.shape).astype(np.float32) + np.float32(0.02)
        for path, leaf in sorted(statistics.items())
    }
    workdir.start(folder, config, task.card)
    saved = checkpoints.Checkpoints(folder, "best")
    saved.save(
        3,
        model=jax.device_put({"parameters": values, "statistics": statistics}),
        optimizer=jax.device_put({"count": np.zeros(1)}),
        meta=Progress(card=task.card.to_json()),
    )
    saved.wait()
    saved.close()
    return restore.Trained(config, task.card, 3, task, template, values, statistics)


def live(trained: restore.Trained, images: dict) -> np.ndarray:
    """What the network itself answers."""

    @jax.jit
    def forward(values, statistics, images):
        model = trained.template.merge(values, statistics, train=False)
        if trained.config.task == "contrastive":
            return trained.task.embed(model, images)
        return model({s.name: augment.scale(images[s.name], s.scaling) for s in trained.card.sensors})

    return np.asarray(forward(trained.parameters, trained.statistics, images))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """All networks exported, and while a stranger asks them, what they answer themselves."""
    folder = tmp_path_factory.mktemp("export")
    runs, out = folder / "runs", folder / "exported"
    trained = {}
    for name in NETWORKS:
        trained[name] = run_of(config_of(name), runs / name)
        exporter.write(runs / name, out / name)
        for number, size in enumerate(SIZES[name]):
            np.savez(folder / f"{name}.{number}.npz", **images_of(trained[name].config, *size))
    script = folder / "stranger.py"
    script.write_text(STRANGER)
    command = [sys.executable, "-I", "-W", "error", script, out]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as stranger:
        expected = {
            (name, number): live(trained[name], images_of(trained[name].config, *size))
            for name in NETWORKS
            for number, size in enumerate(SIZES[name])
        }
        _, errors = stranger.communicate()
    assert stranger.returncode == 0, errors
    return types.SimpleNamespace(folder=folder, runs=runs, out=out, trained=trained, expected=expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_process_without_lcjax_gets_the_same_logits(exported, name):
    for number, (count, height, width) in enumerate(SIZES[name]):
        found, expected = np.load(exported.folder / f"{name}.{number}.npy"), exported.expected[name, number]
        assert found.dtype == np.float32
        assert found.shape == expected.shape
        if name != "pretrain":
            assert found.shape == (count, height, width, 8)
        assert np.std(expected) > 1e-4
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_softmax_of_the_logits_are_the_probabilities_of_maps(exported):
    trained, logits = exported.trained["swin_unet"], np.load(exported.folder / "swin_unet.0.npy")
    expected = trained.probabilities()(images_of(trained.config, *SIZES["swin_unet"][0]))
    np.testing.assert_allclose(jax.nn.softmax(logits, axis=-1), expected, atol=1e-6)


def test_the_folder_says_what_it_holds(exported):
    folder = exported.out / "unet"
    files = {"README.md", "card.json", "export.json", "load.py", "network.stablehlo", "parameters.npz"}
    assert {path.name for path in folder.iterdir()} == files
    description = json.loads((folder / "export.json").read_text())
    assert description["schema_version"] == load.SCHEMA_VERSION == 1
    assert description["platforms"] == ["cpu", "cuda", "tpu"]
    binary = (folder / "network.stablehlo").read_bytes()
    assert b".py" not in binary  # no paths of the machine that exported
    program = jax_export.deserialize(bytearray(binary))
    assert program.platforms == ("cpu", "cuda", "tpu")
    assert description["inputs"]["s1"]["channels"] == ["VV", "VH"]
    assert description["inputs"]["s2"]["dtype"] == "uint16"
    assert description["inputs"]["s2"]["shape"] == ["b", "h", "w", "13"]
    assert description["output"] == {"what": "logits", "dtype": "float32", "shape": ["b", "h", "w", "8"]}
    assert description["classes"][0] == {"id": 1, "name": "Forest", "colour": "#009900"}
    assert description["checkpoint"] == {"kind": "best", "step": 3}
    readme = (folder / "README.md").read_text()
    for words in ("| `s1` | int16 | (b, h, w, 2) |", "| 7 | 10 | Water | #1c0dff |", "tiles of 256 pixels", "VV, VH"):
        assert words in readme
    assert (folder / "card.json").read_text() == card_of(config_of("unet")).to_json()
    trained = exported.trained["unet"]
    with np.load(folder / "parameters.npz", allow_pickle=False) as held:
        assert set(held.files) == {*trained.parameters, *trained.statistics}
        np.testing.assert_array_equal(held["head/classify/kernel"], trained.parameters["head/classify/kernel"])
    assert "before that of" in (exported.out / "pretrain" / "README.md").read_text()


def test_a_classifier_answers_for_whole_images(tmp_path):
    config = smallest("vit_pyramid", "early", task="classification")
    config.labels = "multi"
    trained = run_of(config, tmp_path / "run")
    exporter.write(tmp_path / "run", tmp_path / "out")
    description = json.loads((tmp_path / "out" / "export.json").read_text())
    assert description["output"] == {"what": "logits", "dtype": "float32", "shape": ["b", "8"], "labels": "multi"}
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "an image has all classes above one half" in readme and "| 7 | 10 | Water | #1c0dff |" in readme
    images = images_of(config, 3, 40, 50)
    found = load.load(tmp_path / "out")(images)
    assert found.shape == (3, 8)
    np.testing.assert_allclose(found, live(trained, images), rtol=1e-5, atol=1e-6)


def test_the_copied_loader_tries_the_network(exported, tmp_path):
    shutil.copytree(exported.out / "swin_unet", tmp_path / "moved")
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", tmp_path / "moved" / "load.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "takes s1: int16 (1, 256, 256, 2)",
        "answers logits: float32 (1, 256, 256, 8), on cpu",
    ]


def test_what_the_program_cannot_take_is_refused(exported):
    from lcjax.export.load import load

    network = load(exported.out / "unet")
    good = images_of(config_of("unet"), 1, 32, 32)
    with pytest.raises(ValueError, match="Dtype mismatch"):
        network(good | {"s2": good["s2"].astype(np.float32)})
    with pytest.raises(ValueError, match="structure"):
        network({"s2": good["s2"]})
    with pytest.raises(ValueError, match="shape"):
        network(good | {"s1": good["s1"][:, :16]})


def test_the_same_command_again_changes_nothing_and_another_network_is_refused(exported, capsys):
    out = exported.out / "swin_unet"
    before = {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in out.iterdir()}
    exporter.write(exported.runs / "swin_unet", out)
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(InputError, match="holds another network") as caught:
        exporter.write(exported.runs / "resnet50_unet", out)
    assert "\n" not in str(caught.value)
    assert before == {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in out.iterdir()}


def test_the_temperature_of_a_network_goes_with_it(exported, tmp_path, capsys):
    run, out = shutil.copytree(exported.runs / "swin_unet", tmp_path / "run"), tmp_path / "out"
    exporter.write(run, out)
    assert not (out / "calibration.json").exists() and load.temperature(out) == 1
    trained = exported.trained["swin_unet"]
    scored = trained.card.legend.scored
    names, ids = [c.name for c in scored], [c.id for c in scored]
    split = {"spec": "validation", "id": "abc", "records": 2, "pixels": 80}
    shares = {name: [0.25] * len(ids) for name in calibration.COVERAGES}
    fitted = calibration.Calibration("best", 3, 1.5, [0.7, 0.6], split, names, ids, [10] * len(ids), shares)
    calibration.write(run, "0" * 16, fitted)
    exporter.write(run, out)
    assert "is of another checkpoint, and stays behind" in capsys.readouterr().out and load.temperature(out) == 1
    calibration.write(run, restore.restore(run).fingerprint, fitted)
    exporter.write(run, out)
    assert "added calibration.json" in capsys.readouterr().out and load.temperature(out) == 1.5
    exporter.write(run, out)
    assert "nothing to do" in capsys.readouterr().out
    shutil.rmtree(out)
    exporter.write(run, out)
    assert calibration.read(out) == calibration.read(run)
    inputs = images_of(trained.config, 1, 40, 50)
    ask = restore.restore(run).probabilities(temperatures=(1.0, 1.5))
    told = jax.nn.softmax(load.load(out)(inputs) / load.temperature(out), axis=-1)
    np.testing.assert_allclose(told, np.asarray(ask(inputs))[..., len(ids) :], atol=1e-5)
    assert 'softmax(logits / temperature("."), axis=-1)' in (out / "README.md").read_text()
    path = out / "calibration.json"
    path.write_text(path.read_text().replace('"temperature": 1.5', '"temperature": NaN'))
    with pytest.raises(ValueError, match=rf"^{path}: temperature nan, expected a number above 0"):
        load.temperature(out)
    for text, told in (
        ("[]", "not of schema_version 2, which this load.py reads"),
        ('{"schema_version": 3}', "not of schema_version 2, which this load.py reads"),
        ('{"schema_version": 2}', r"not what lcjax wrote \(KeyError: 'checkpoints'\)"),
        ('{"schema_version": 2, "checkpoints": []}', r"not what lcjax wrote \(AttributeError: "),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"^{path}: {told}"):
            load.temperature(out)
    path.write_text('{"schema_version": 2, "checkpoints": {}}')
    with pytest.raises(ValueError, match=rf"^{path}: is of another network than the one that lies beside it"):
        load.temperature(out)


def test_an_export_of_another_version_is_refused(exported, tmp_path):
    folder = tmp_path / "newer"
    shutil.copytree(exported.out / "swin_unet", folder)
    file = folder / "export.json"
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(ValueError, match=rf"^{file}: schema_version 2, and this load.py reads 1"):
        load.load(folder)
    with pytest.raises(InputError, match=rf"^{file}: schema_version 2, and this lcjax reads 1; use the newer lcjax"):
        exporter.write(exported.runs / "swin_unet", folder)


def test_what_is_in_the_way_is_refused_and_left_alone(exported, tmp_path):
    (tmp_path / "full").mkdir()
    for name, text in (("file", "mine"), ("full/notes.txt", "mine")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        output = tmp_path / name.partition("/")[0]
        with pytest.raises(InputError, match=f"--output={output}: is there and is no exported network") as caught:
            exporter.write(exported.runs / "swin_unet", output)
        assert "\n" not in str(caught.value)
        assert path.read_text() == text
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "export.json").write_text("{")
    with pytest.raises(InputError, match=r"broken/export\.json: cannot be read as JSON.*; choose a folder"):
        exporter.write(exported.runs / "swin_unet", tmp_path / "broken")
    assert (tmp_path / "broken" / "export.json").read_text() == "{"


def test_a_kill_leaves_nothing_under_the_name_and_the_same_command_ends_it(exported, tmp_path, monkeypatch):
    output = tmp_path / "new" / "network"

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(exporter.np, "savez", killed)
        with pytest.raises(KeyboardInterrupt):
            exporter.write(exported.runs / "swin_unet", output)
    assert not output.exists()
    output.mkdir()  # an empty folder is none
    exporter.write(exported.runs / "swin_unet", output)
    assert [path.name for path in output.parent.iterdir()] == ["network"]
    again = exported.out / "swin_unet"
    assert {p.name: p.read_bytes() for p in output.iterdir()} == {p.name: p.read_bytes() for p in again.iterdir()}


def test_safetensors_hold_the_same_arrays_and_the_card(exported, tmp_path, capsys):
    output, trained = tmp_path / "network", exported.trained["resnet50_unet"]
    shutil.copytree(exported.out / "resnet50_unet", output)
    exporter.write(exported.runs / "resnet50_unet", output, safetensors=True, layout="torchvision_resnet")
    assert "added parameters.safetensors, torchvision_resnet.safetensors" in capsys.readouterr().out
    ours = files.read(output / "parameters.safetensors")
    assert ours.metadata == {"card": trained.card.to_json()}
    assert initial.card_of(ours) == trained.card
    expected = trained.parameters | trained.statistics
    assert ours.arrays.keys() == expected.keys()
    for path, array in expected.items():
        assert ours.arrays[path].tobytes() == np.asarray(array).tobytes()
        assert ours.arrays[path].shape == array.shape

    theirs = files.read(output / "torchvision_resnet.safetensors")
    assert theirs.metadata == {"format": "pt"}
    known = layout.recognised(theirs.arrays, ALL, "FILE", "torchvision_resnet")  # its 13 bands are those of torchgeo
    read = layout.converted(theirs.arrays, *known, "FILE")
    encoder = {path.replace("/s2/", "/image/"): array for path, array in expected.items() if path.startswith("enc")}
    assert read.arrays.keys() == encoder.keys()
    for path, array in encoder.items():
        np.testing.assert_array_equal(read.arrays[path], array)

    before = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    exporter.write(exported.runs / "resnet50_unet", output, safetensors=True)
    assert "nothing to do" in capsys.readouterr().out
    assert before == {path.name: path.stat().st_mtime_ns for path in output.iterdir()}


def test_safetensors_are_the_same_bytes_each_time(exported, tmp_path):
    """Also in another process, where what has no order of its own may come in another."""
    code = (
        "import sys; from pathlib import Path; from lcjax.export import exporter; "
        "exporter.write(Path(sys.argv[1]), Path(sys.argv[2]), safetensors=True)"
    )
    for name in ("one", "other"):
        shutil.copytree(exported.out / "swin_unet", tmp_path / name)
    exporter.write(exported.runs / "swin_unet", tmp_path / "one", safetensors=True)
    subprocess.run([sys.executable, "-c", code, exported.runs / "swin_unet", tmp_path / "other"], check=True)
    one, other = ((tmp_path / name / "parameters.safetensors").read_bytes() for name in ("one", "other"))
    assert one == other
    modes = {(tmp_path / "one" / name).stat().st_mode for name in ("parameters.safetensors", "parameters.npz")}
    assert len(modes) == 1  # whoever may read the one may read the other
    assert sorted(path.name for path in (tmp_path / "one").iterdir() if path.name.startswith("p")) == [
        "parameters.npz",
        "parameters.safetensors",
    ]


def test_a_layout_of_another_network_is_refused_before_anything_is_written(exported, tmp_path):
    output = tmp_path / "network"
    for run in ("swin_unet", "two_stream_swin"):
        with pytest.raises(InputError, match="--layout=torchvision_resnet: ") as caught:
            exporter.write(exported.runs / run, output, layout="torchvision_resnet")
        assert "\n" not in str(caught.value)
        assert not output.exists()


def test_flags_are_missing_or_no_run_is_there(tmp_path):
    for given, words in (
        ({"workdir": None, "output": "x"}, "export needs --workdir and --output"),
        ({"workdir": "x", "output": None}, "export needs --workdir and --output"),
        ({"workdir": str(tmp_path), "output": str(tmp_path / "x")}, "config.json: no such file"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            export_verb.run(types.SimpleNamespace(checkpoint="best", safetensors=False, layout="", onnx=False, **given))
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="--layout=x: expected one of torchvision_resnet, "):
        exporter.write(tmp_path, tmp_path / "x", layout="x")


@pytest.mark.parametrize("name", NETWORKS | MORE)
def test_check_needs_shapes_alone(name):
    config = config_of(name)
    card = card_of(config)
    task = tasks.make(config, card)
    # Within a training run, too: where a mesh is set and nothing may be sent to a device.
    mesh = jax.make_mesh((8, 1), ("data", "fsdp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    template = Template(task.build, config.freeze)
    with jax.set_mesh(mesh), jax.transfer_guard("disallow"):
        exporter.check(task, config, card, template)


def test_check_refuses_a_network_that_asks_for_numbers(monkeypatch):
    config = config_of("unet")
    task, template, _, _ = make(config)
    monkeypatch.setattr(segmenter, "padded", lambda x, multiple: x if x.shape[1] > 100 else x[:, :100])
    with pytest.raises(InputError, match=r"'unet': this network cannot be exported for .* \(Inconclusive") as caught:
        exporter.check(task, config, task.card, template)
    assert "\n" not in str(caught.value)


def traced(config) -> tuple[restore.Trained, Callable]:
    """A network, and its program in this process."""
    task, template, values, statistics = make(config)
    program = exporter.trace(task, config, task.card, template, platforms=("cpu",))
    trained = restore.Trained(config, task.card, 0, task, template, values, statistics)
    return trained, lambda images: np.asarray(program.call(values | statistics, images))


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_other_networks_answer_alike(name):
    trained, program = traced(config_of(name))
    for size in ((3, 40, 50), (1, 5, 66), (2, 64, 64)):
        images = images_of(trained.config, *size)
        expected = live(trained, images)
        np.testing.assert_allclose(program(images), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_tiles_are_made_smaller_in_the_program():
    """7 pixels of 16, which no block of whole pixels does: against the means over areas of the whole image."""
    config = smallest("unet")
    config.update({"resize": 112, "crop": 0})  # of tiles of 256 px
    images = images_of(config, 2, 96, 64)
    trained, program = traced(config)
    found = program(images)
    assert found.shape == (2, 42, 28, 8)

    @jax.jit
    def small(images):
        floats = {s.name: augment.scale(images[s.name], s.scaling) for s in trained.card.sensors}
        smaller = {name: augment.resize_images(image, 42, 28) for name, image in floats.items()}
        return trained.template.merge(trained.parameters, trained.statistics, train=False)(smaller)

    expected = np.asarray(small(images))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    with pytest.raises(ValueError, match="polymorphic"):
        program(images_of(config, 2, 90, 64))


def test_metadata_go_in_beside_the_image():
    config = flair1.get_config("tiny=true,metadata=true")
    config.model.base = 4
    image = images_of(config, 1, 40, 33)["aerial"]
    known = [953051.2, 6345948.8, 280.0, 1, 2020, 6, 14, 486]
    inputs = {"aerial": np.repeat(image, 2, axis=0), "metadata": np.array([known, [np.nan] * 8], np.float32)}
    trained, program = traced(config)
    found = program(inputs)
    np.testing.assert_allclose(jax.nn.softmax(found, axis=-1), trained.probabilities()(inputs), atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3 * np.abs(found).max()


# ---------------------------------------------------------------- the parts that know sizes, against numbers


def of_any_size(function, image: np.ndarray) -> np.ndarray:
    """What a function answers that was traced without knowing the image's height and width."""
    b, h, w = jax_export.symbolic_shape("b, h, w")
    shape = jax.ShapeDtypeStruct((b, h, w, image.shape[-1]), image.dtype)
    return np.asarray(jax_export.export(jax.jit(function))(shape).call(image))


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (33, 32)])
def test_padding_mirrors(size):
    image = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    rows, columns = (-(-edge // 16) * 16 - edge for edge in size)
    expected = np.pad(image, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="symmetric")
    np.testing.assert_array_equal(of_any_size(lambda x: resample.padded(x, 16), image), expected)


@pytest.mark.parametrize("size", [(1, 2), (12, 13)])
def test_bins_and_tables_of_any_size(size):
    table = np.random.default_rng(1).normal(size=(5, 4, 3)).astype(np.float32)

    def parts(x):
        b = x.shape[0]
        pools = [resample.average_pool(x, bins).reshape(b, -1) for bins in (1, 2, 3, 6)]
        moved = resample.resized_table(jnp.asarray(table), *x.shape[1:3])[None] + 0 * x
        return jnp.concatenate([*pools, moved.reshape(b, -1)], axis=1)

    image = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    np.testing.assert_allclose(of_any_size(parts, image), jax.jit(parts)(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(4, 9), (11, 6)])
def test_windows_shift_where_there_are_several(size):
    block = swin.SwinBlock(8, 2, 4, 2, 0.0, 0, dtype=jnp.float32, rngs=nnx.Rngs(0))
    image = np.random.default_rng(0).normal(size=(2, *size, 8)).astype(np.float32)
    expected = jax.jit(lambda x: block(x))(image)
    np.testing.assert_allclose(of_any_size(lambda x: block(x), image), expected, rtol=1e-5, atol=1e-6)
