"""`lcjax evaluate --calibrate`: the temperature is that of an independent search, and what may not be fitted is not."""

import dataclasses
import json
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from printed import printed
from scipy import optimize
from sklearn.metrics import log_loss

import lcjax
from data_pipelines.reading import dataset
from data_pipelines.schema.errors import InputError
from lcjax import tasks
from lcjax.engine import restore
from lcjax.evaluation import calibrate, elsewhere, evaluate, reliability
from lcjax.evaluation.further import Further
from lcjax.ops import reliability as ops
from lcjax.ops import tiling
from lcjax.parallel import mesh as meshes
from lcjax.runs import calibration as calibrations

MAKE_MESH = meshes.make_mesh


@pytest.fixture(autouse=True, scope="module")
def _one_device():
    """Two tiles would be filled up to eight."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meshes, "make_mesh", lambda *_: MAKE_MESH(-1, 1, 1, devices=jax.devices()[:1]))
        yield


@dataclasses.dataclass(frozen=True)
class Corner:
    """The upper left corner of the first record of a source, with these labels (H, W)."""

    source: Any
    label: np.ndarray
    ids: tuple[str, ...] = ("corner",)
    in_memory: bool = False

    def __len__(self):
        return 1

    def read(self, index, keys):
        return self.source.read(index, keys, (0, 0), len(self.label)) | {"label": self.label}


def corner(network, data_dir, size):
    """(the corner, labelled as if the network were right at a temperature of 1/8; its images; class indices)."""
    source = dataset.open_dataset(data_dir, "sample").source(network.card.splits["validation"]["spec"])
    images = {s.name: source[0][s.name][None, :size, :size] for s in network.card.sensors}
    chances = softmax(np.log(np.asarray(network.probabilities()(images), np.float64)) / 0.125)[0]
    drawn = np.random.default_rng(0).random((size, size, 1))
    labels = (drawn > np.cumsum(chances, -1)[..., :-1]).sum(-1)
    labels[:3] = 255
    return Corner(source, network.card.legend.id_of_index()[labels]), images, labels[None]


@pytest.fixture(scope="module")
def workdir(trained, tmp_path_factory):
    """A copy of the run that is calibrated."""
    return shutil.copytree(trained, tmp_path_factory.mktemp("calibrated") / "unet")


@pytest.fixture(scope="module")
def result(workdir):
    return lcjax.evaluate(workdir, calibrate=True)


@pytest.fixture(scope="module")
def network(workdir):
    return restore.restore(workdir)


def answers(network, data_dir, role):
    """Logarithms of the probabilities (N, H, W, K), which are logits as good as any, and class indices (N, H, W)."""
    source = dataset.open_dataset(data_dir, "sample").source(network.card.splits[role]["spec"])
    records = [source[index] for index in range(len(source))]
    batch = {sensor.name: np.stack([one[sensor.name] for one in records]) for sensor in network.card.sensors}
    told = np.asarray(network.probabilities()(batch), np.float64)
    return np.log(told), network.card.legend.index_of_id()[np.stack([one["label"] for one in records])], batch


def best(loss) -> float:
    found = optimize.minimize_scalar(
        lambda log: loss(np.exp(log)), bounds=(-2.7, 2.7), method="bounded", options={"xatol": 1e-7}
    )
    return float(np.exp(found.x))


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_the_temperature_is_that_of_an_independent_search(workdir, network, result, data_dir):
    logits, labels, _ = answers(network, data_dir, "validation")
    scored = labels != 255

    def loss(temperature):
        return log_loss(labels[scored], softmax(logits[scored] / temperature), labels=range(8))

    (fitted,) = calibrations.read(workdir).values()
    assert fitted.temperature == pytest.approx(best(loss), rel=2e-4)
    assert fitted.loss == pytest.approx([loss(1), loss(fitted.temperature)], rel=1e-5)
    assert fitted.class_pixels == np.bincount(labels[scored], minlength=8).tolist()
    assert fitted.split["pixels"] == scored.sum() and fitted.split["records"] == len(labels)
    # What is stored as a threshold is the quantile of the sorted probabilities.
    told = softmax(logits / fitted.temperature)
    for place in range(8):
        own = np.sort(told[labels == place][:, place])[::-1]
        exact = own[int(np.ceil((len(own) + 1) * 0.9)) - 1]
        assert exact - 0.003 <= fitted.thresholds["0.90"][place] <= exact + 1e-5


def test_windows_are_blended_after_the_temperature(network, data_dir):
    """The loss is that of the blended probabilities, each pixel once."""
    config = network.config.copy_and_resolve_references()
    config.window = 64
    windowed = dataclasses.replace(network, config=config, task=tasks.make(config, network.card))
    source, batch, labels = corner(network, data_dir, 96)
    starts, weights = tiling.blend_weights(96, 64, 16, "linear")
    ask, scored = network.probabilities(), labels != 255
    cut = {
        (top, left): np.log(np.asarray(ask({k: v[:, top : top + 64, left : left + 64] for k, v in batch.items()})))
        for top in starts
        for left in starts
    }
    assert len(cut) == 4

    def blended(temperature):
        total = np.zeros((*labels.shape, 8))
        for (top, left), logits in cut.items():
            share = np.outer(weights[starts.index(top)], weights[starts.index(left)])
            total[:, top : top + 64, left : left + 64] += share[..., None] * softmax(logits / temperature)
        return total

    def loss(temperature):
        own = np.take_along_axis(blended(temperature)[scored], labels[scored][:, None].astype(int), 1)
        return -np.log(own).mean()

    found = calibrate.fit(windowed, source, "here")
    assert found == pytest.approx(best(loss), rel=2e-4)
    told = np.asarray(windowed.probabilities(temperatures=(1.0, found))(batch))
    np.testing.assert_allclose(told[..., :8], blended(1), atol=1e-5)
    np.testing.assert_allclose(told[..., 8:], blended(found), atol=1e-5)
    assert np.abs(told[..., 8:] - told[..., :8]).max() > 0.01


def test_one_device_fits_what_eight_fit(network, data_dir, monkeypatch):
    source, _, _ = corner(network, data_dir, 64)
    alone = calibrate.fit(network, source, "here")
    monkeypatch.setattr(meshes, "make_mesh", MAKE_MESH)
    assert calibrate.fit(network, source, "here") == pytest.approx(alone, rel=1e-5)
    assert 0.08 < alone < 0.2


def test_what_maps_would_say_is_measured_on_the_test_split(workdir, network, result, data_dir):
    logits, labels, _ = answers(network, data_dir, "test")
    (fitted,) = calibrations.read(workdir).values()
    scored, plain = labels != 255, softmax(logits)
    for when, temperature in (("before", 1.0), ("after", fitted.temperature)):
        measured = result["calibration"][when]
        told = np.rint(softmax(logits / temperature)[scored] * 250) / 250
        mapped = plain[scored].argmax(-1)
        confidence = np.take_along_axis(told, mapped[:, None], 1)[:, 0]
        right = mapped == labels[scored]
        bins = np.ceil(confidence * 15 - 1e-9).clip(1, 15).astype(int) - 1
        gaps = [abs(confidence[bins == b].sum() - right[bins == b].sum()) for b in range(15)]
        assert measured["ECE"] == pytest.approx(sum(gaps) / len(right), abs=1e-4)
        assert sum(pixels for pixels, *_ in measured["bins"]) == scored.sum()
        assert measured["ECE_of"].keys() == set(network.card.legend.scored and fitted.classes)
        own = np.take_along_axis(softmax(logits / temperature)[scored], labels[scored][:, None].astype(int), 1)
        assert measured["NLL"] == pytest.approx(-np.log(own).mean(), rel=1e-4)
    for one in result["calibration"]["sets"]:
        sets = softmax(logits / fitted.temperature) >= np.array(fitted.thresholds[calibrations.percent(one["stated"])])
        holds = np.take_along_axis(sets[scored], labels[scored][:, None].astype(int), 1)
        assert one["reached"] == pytest.approx(holds.mean(), abs=1e-4)
        assert one["classes"] == pytest.approx(sets[scored].sum(-1).mean(), abs=1e-3)


def test_nothing_else_of_an_evaluation_changes(trained, result):
    plain = evaluate.evaluate(trained, "test", "best")
    assert "calibration" not in plain
    assert {key: value for key, value in result.items() if key != "calibration"} == plain | {"run": "unet"}


def test_killed_before_its_end_it_leaves_what_was_there(workdir, result, monkeypatch):
    before = (workdir / calibrations.FILE).read_bytes()
    monkeypatch.setattr(calibrate, "fit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        calibrate.calibrate(workdir)
    assert (workdir / calibrations.FILE).read_bytes() == before


def test_what_is_tested_is_not_fitted(network, workdir, monkeypatch, tmp_path):
    with pytest.raises(InputError, match=r"--split=validation: what was fitted to a split looks too good there"):
        calibrate.evaluate_calibrated(workdir, "validation")
    with pytest.raises(InputError, match=r"--split=holdout: expected one of test, train, validation"):
        calibrate.evaluate_calibrated(workdir, "holdout")
    splits = network.card.splits

    def with_splits(**changed):
        card = dataclasses.replace(network.card, splits={k: v for k, v in (splits | changed).items() if v})
        monkeypatch.setattr(restore, "restore", lambda *_: dataclasses.replace(network, card=card))

    with_splits(test=splits["validation"])
    with pytest.raises(InputError, match=r"2 of the 2 records of validation are of test, too \(e.g. .*says nothing"):
        calibrate.calibrate(workdir)
    with_splits(validation=None)
    with pytest.raises(InputError, match=r"the run has no validation split \(config.split.validation is empty\)"):
        calibrate.calibrate(workdir)


@pytest.mark.parametrize(("is_right", "told"), [(False, "knows less than nothing"), (True, "makes next to no error")])
def test_no_temperature_fits_answers_without_doubt_or_sense(network, data_dir, monkeypatch, is_right, told):
    source, _, _ = corner(network, data_dir, 64)

    def probabilities(model, batch, temperatures_M):
        truth = jnp.asarray(network.card.legend.index_of_id())[batch["label"].astype(int)]
        return ops.softmax_at(9.0 * jax.nn.one_hot(truth if is_right else (truth + 1) % 8, 8), temperatures_M)

    monkeypatch.setattr(network.task, "probabilities", probabilities)
    with pytest.raises(InputError, match=rf"--calibrate: here: no temperature fits the validation split: .*{told}"):
        calibrate.fit(network, source, "here")


def test_answers_that_are_no_numbers_are_refused_and_change_nothing(network, workdir, data_dir, result, monkeypatch):
    before, (source, _, _) = (workdir / calibrations.FILE).read_bytes(), corner(network, data_dir, 64)
    probabilities = network.task.probabilities
    monkeypatch.setattr(network.task, "probabilities", lambda *given: probabilities(*given) * np.float32(np.nan))
    with pytest.raises(InputError, match=r"--calibrate: here: the network answers NaN or infinity on the validation s"):
        calibrate.fit(network, source, "here")
    broken = dataclasses.replace(next(iter(calibrations.read(workdir).values())), temperature=float("nan"))
    with pytest.raises(InputError, match="NaN, expected a finite number"):
        calibrations.write(workdir, "0" * 16, broken)
    assert (workdir / calibrations.FILE).read_bytes() == before


def test_what_cannot_be_scored_further_is_refused_before_the_fit(workdir, network, monkeypatch):
    monkeypatch.setattr(calibrate, "fit", None)
    monkeypatch.setattr(restore, "restore", lambda *_: network)
    monkeypatch.setattr(network.task, "counts_records", False, raising=False)
    with pytest.raises(InputError, match=r"--boundary and --objects: a segmentation run counts no maps record"):
        calibrate.evaluate_calibrated(workdir, "test", further=Further.asked("3px", None))
    untested = {role: split for role, split in network.card.splits.items() if role != "test"}
    bare = dataclasses.replace(network, card=dataclasses.replace(network.card, splits=untested))
    monkeypatch.setattr(restore, "restore", lambda *_: bare)
    with pytest.raises(InputError, match=r"--split=test: expected one of train, validation"):
        calibrate.evaluate_calibrated(workdir, "test", further=Further.asked(None, "10"))
    for empty, told in ((("", None), "--boundary=: empty"), ((None, " "), "--objects= : empty")):
        with pytest.raises(InputError, match=told):
            Further.asked(*empty)


def test_on_other_data_the_records_of_the_fit_are_named(workdir, data_dir, result):
    found = elsewhere.evaluate_elsewhere(workdir, "sample", "validation[80%:]", "best", str(data_dir))
    assert "the calibration was fitted to 2 of these 2 records" in found["split"]["warnings"]
    assert found["calibration"]["after"]["ECE_of"].keys() == set(found["class_set"])


def test_the_verb_says_what_it_found(command, trained, workdir, tmp_path, result, monkeypatch):
    folder = shutil.copytree(trained, tmp_path / "unet")
    (fitted,) = calibrations.read(workdir).values()
    monkeypatch.setattr(calibrate, "fit", lambda *_: fitted.temperature)
    code, out, err = command("evaluate", f"--workdir={folder}", "--calibrate")
    assert (code, err) == (0, [])
    assert "temperature" in out and f"written: {folder}/calibration.json" in out and "conformal sets hold" in out
    assert (folder / calibrations.FILE).read_bytes() == (workdir / calibrations.FILE).read_bytes()
    written = json.loads((folder / "evaluation" / "test" / "metrics.json").read_text())
    assert written["calibration"] == json.loads(json.dumps(result["calibration"]))
    code, _, err = command("evaluate", f"--workdir={folder}", "--calibrate", "--dataset=sample")
    assert code == 2 and "--calibrate with --dataset=sample: found both" in err[0]
    code, out, _ = command("info", str(folder))
    assert "  calibrated  best, temperature" in out


def test_of_another_checkpoint_it_is_not_measured(workdir, network, result, monkeypatch):
    network.__dict__.pop("fingerprint", None)
    monkeypatch.setitem(network.__dict__, "fingerprint", "0" * 16)
    with printed() as said:
        assert reliability.fitted_to(network, workdir, "last") is None
    assert "is of another checkpoint, so that calibration is not measured" in said.text
