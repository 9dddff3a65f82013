"""A network goes to a hub and comes back: the same numbers, no path of this machine, and nothing that is damaged."""

import dataclasses
import json
import pathlib
import pickletools
import re
import shutil

import numpy as np
import pretend_hub
import pytest
import safetensors.numpy

import lcjax
from data_pipelines.schema.errors import InputError
from lcjax.engine import restore
from lcjax.evaluation import evaluate
from lcjax.hub import manifest, pull, push, readme
from lcjax.runs import model_card, workdir

# The library uploads large files by a name of its HTTP client that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

REPO = "organisation/network"
TO = f"hf:{REPO}"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_made_up")
    with pretend_hub.served(monkeypatch, str(tmp_path / "cache")) as state:
        yield state


@pytest.fixture(scope="module")
def scored(trained, tmp_path_factory) -> pathlib.Path:
    """The workdir of a network that was scored on its test split."""
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("runs") / "scored")
    evaluate.evaluate(folder, "test", "best")
    return folder


@pytest.fixture(scope="module")
def pushed(scored, tmp_path_factory) -> dict[str, bytes]:
    """What is pushed of it."""
    out = tmp_path_factory.mktemp("pushed") / "card"
    push.push(scored, TO, "cc-by-4.0", output=out)
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_there_and_back(scored, hub, command, data_dir, tmp_path):
    """By the verbs: what is pulled maps alike, begins a run, and says where it is from."""
    code, out, _ = command("push", str(scored), f"--to={TO}", "--license=cc-by-4.0")
    commit = hub.resolved(REPO, "main")
    assert code == 0 and f"pushed: {TO}@{commit}" in out
    there = tmp_path / "theirs"
    code, out, _ = command("pull", TO, f"--workdir={there}")
    assert code == 0 and "licence cc-by-4.0" in out
    before, after = restore.restore(scored), restore.restore(there)
    assert before.fingerprint == after.fingerprint and before.step == after.step
    assert before.card == after.card
    image = {
        s.name: np.random.default_rng(0).integers(0, 900, (40, 50, len(s.bands))).astype(s.dtype)
        for s in before.card.sensors
    }
    np.testing.assert_array_equal(lcjax.load(scored).predict(image), lcjax.load(there).predict(image))
    assert command("info", str(there))[1].count(f"pulled      from {TO}@{commit}") == 1
    # The same command again fetches nothing, and nothing is trained in it.
    code, out, _ = command("pull", TO, f"--workdir={there}")
    assert code == 0 and "nothing to do" in out
    on = ("--config=dfc2020:model=unet,data=sample,tiny=true", f"--config.data_dir={data_dir}", f"--workdir={there}")
    code, _, errors = command("train", *on)
    assert code == 2 and f"was pulled from {REPO}@{commit}" in errors[-1] and f"--config.init={there}" in errors[-1]
    assert restore.restore(there).fingerprint == before.fingerprint


def test_the_scores_of_what_is_pulled_are_those_of_what_was_pushed(scored, pushed, hub, data_dir, tmp_path):
    hub.commit(REPO, pushed)
    pull.pull(TO, tmp_path / "theirs")
    again = evaluate.evaluate(tmp_path / "theirs", "test", "best", str(data_dir))
    known = json.loads((scored / "evaluation" / "test" / "metrics.json").read_text())
    assert again["confusion"] == known["confusion"]


def test_nothing_of_this_machine_is_pushed_and_nothing_pickled(scored, pushed):
    assert set(pushed) == {"README.md", "config.json", "card.json", "parameters.safetensors", "network.json"}
    for name, content in pushed.items():
        assert str(scored.parent).encode() not in content and str(pathlib.Path.home()).encode() + b"/" not in content
        with pytest.raises(ValueError, match=r".*"):
            list(pickletools.genops(content))  # no pickle
        if name.endswith(".json"):
            assert not re.search(rb'"(/|~)', content), name
    arrays = safetensors.numpy.load(pushed["parameters.safetensors"])
    trained = restore.restore(scored)
    assert arrays.keys() == (trained.parameters | trained.statistics).keys()  # of the optimiser, nothing


def test_the_list_that_a_run_learned_from_is_pushed_by_its_name_alone(scored, tmp_path, monkeypatch):
    trained = restore.restore(scored)
    begun = model_card.Origin(source="/home/joe smith/clientX/run", sha256="", origin="a", bands="name", arrays={})
    of_list = trained.card.splits["train"] | {"spec": "list:/home/joe smith/clientX/train.txt[:80%]"}
    card = dataclasses.replace(trained.card, splits=trained.card.splits | {"train": of_list}, weights=begun)
    monkeypatch.setattr(restore, "restore", lambda *_: dataclasses.replace(trained, card=card))
    push.push(scored, TO, "mit", output=tmp_path / "card")
    for path in (tmp_path / "card").iterdir():
        assert b"clientX" not in path.read_bytes() and b"joe" not in path.read_bytes(), path.name
    assert "list:train.txt[:80%]" in (tmp_path / "card" / "README.md").read_text()


def test_the_card_that_people_read(scored, pushed):
    text = pushed["README.md"].decode()
    fields = json.loads((scored / "evaluation" / "test" / "metrics.json").read_text())
    card = restore.card_of(scored)
    front, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert 'license: "cc-by-4.0"' in front and "lcjax pull hf:organisation/network --workdir=network" in body
    assert "--scene=s1=s1.tif,s2=s2.tif --output=map.tif" in body  # as this network sees both
    low, high = fields["intervals"]["scores"]["OA"]
    assert f"| OA | {fields['scores']['OA']:.4f} | {low:.3f} to {high:.3f} |" in body
    for name in fields["class_set"]:
        assert f" {name} |" in body or f"| {name} |" in body
    for sensor in card.sensors:
        assert ", ".join(sensor.bands).replace("_", "\\_") in body
    assert card.splits["train"]["id"] in body and "random values" in body


@pytest.mark.parametrize(
    ("task", "tag"),
    [
        ("segmentation", "image-segmentation"),
        ("classification", "image-classification"),
        ("contrastive", "image-feature-extraction"),
        ("masked", "image-feature-extraction"),
    ],
)
def test_the_hub_is_told_what_a_network_of_each_task_does(scored, task, tag):
    fields = workdir.read_fields(scored) | {"task": task}
    text = readme.text(REPO, "mit", restore.card_of(scored), fields, {"kind": "best", "step": 1}, [], "")
    assert f'pipeline_tag: "{tag}"' in text and ("lcjax predict" in text) == (task == "segmentation")


@pytest.mark.parametrize("file", ["parameters.safetensors", "config.json", "card.json"])
def test_a_file_of_other_bytes_is_refused_and_leaves_nothing(pushed, hub, tmp_path, file):
    damaged = bytearray(pushed[file])
    damaged[len(damaged) // 2] ^= 1
    hub.commit(REPO, pushed | {file: bytes(damaged)})
    with pytest.raises(InputError, match=rf"--source={TO}: {file}: [\d,]+ bytes with the SHA-256 .* expected"):
        pull.pull(TO, tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists() and not list(tmp_path.glob(".theirs*"))


def changed(pushed: dict[str, bytes], change) -> dict[str, bytes]:
    """What is pushed, with something else in network.json."""
    fields = json.loads(pushed["network.json"])
    change(fields)
    return pushed | {"network.json": json.dumps(fields).encode()}


def without_config(fields):
    del fields["files"]["config.json"]


def with_a_file_outside(fields):
    fields["files"]["../../.bashrc"] = fields["files"]["config.json"]


def of_another_network(fields):
    fields["network"] = "0" * 16


def of_no_step(fields):
    fields["step"] = "many"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_config, r"network\.json: files: no config\.json"),
        (with_a_file_outside, r"files: found '\.\./\.\./\.bashrc'; expected some of"),
        (of_another_network, "its numbers have the fingerprint"),
        (of_no_step, r"step: .*whole number"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused(pushed, hub, tmp_path, change, said):
    hub.commit(REPO, changed(pushed, change))
    with pytest.raises(InputError, match=said):
        pull.pull(TO, tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()


def test_a_network_of_a_package_that_is_not_allowed_is_not_imported(pushed, hub, tmp_path):
    fields = json.loads(pushed["config.json"])
    fields["model"]["name"] = "os:system"
    files = pushed | {"config.json": json.dumps(fields).encode()}

    def with_its_sum(about):
        path = tmp_path / "config.json"
        path.write_bytes(files["config.json"])
        about["files"]["config.json"] = manifest.of_file(path)

    hub.commit(REPO, changed(files, with_its_sum))
    with pytest.raises(InputError, match="comes from a file, which may not choose what is imported"):
        pull.pull(TO, tmp_path / "theirs")


def test_a_repository_that_holds_no_network(hub, tmp_path):
    hub.commit(REPO, {"model.safetensors": b"x"})
    with pytest.raises(InputError, match=r"holds no network that `lcjax push` wrote \(no network.json\)"):
        pull.pull(TO, tmp_path / "theirs")


def test_a_folder_that_holds_something_else_is_not_touched(pushed, hub, tmp_path):
    hub.commit(REPO, pushed)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "mine").write_text("kept")
    with pytest.raises(InputError, match="theirs: is there already; choose a folder that is new or empty"):
        pull.pull(TO, tmp_path / "theirs")
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["mine"]


def test_what_a_kill_left_is_begun_anew(pushed, hub, tmp_path):
    hub.commit(REPO, pushed)
    draft = tmp_path / ".theirs.draft"
    shutil.copytree(pathlib.Path(__file__).parent, draft)
    pull.pull(TO, tmp_path / "theirs")
    assert not draft.exists() and not (tmp_path / "theirs" / pathlib.Path(__file__).name).exists()


def test_a_push_replaces_what_was_pushed_before(scored, hub):
    """A calibration of a network that is not there any more goes; a file of somebody else stays."""
    hub.commit(REPO, {"calibration.json": b"{}", "LICENSE": b"all of it"})
    push.push(scored, TO, "mit")
    assert set(hub.newest(REPO)) == {"LICENSE", *manifest.NEEDED, manifest.FILE, manifest.README}


def test_a_private_push_makes_a_private_repository_and_never_goes_to_a_public_one(scored, hub):
    push.push(scored, TO, "mit", private=True)
    assert REPO in hub.private
    push.push(scored, TO, "mit", private=True)  # and once more
    hub.private.clear()
    before = dict(hub.commits[REPO])
    with pytest.raises(InputError, match=rf"^--to={TO}, --private: the repository is there and public; nothing was"):
        push.push(scored, TO, "mit", private=True)
    assert hub.commits[REPO] == before


def test_a_workdir_may_be_the_current_folder(scored, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(scored)
    push.push(pathlib.Path(), TO, "mit")
    assert json.loads(hub.newest(REPO)["network.json"])["run"] == scored.name
    pull.pull(TO, tmp_path / "theirs")


def test_what_cannot_be_pulled_is_not_pushed(scored, hub, monkeypatch):
    monkeypatch.setattr(workdir, "name_of", lambda _: "")
    with pytest.raises(InputError, match=r"network\.json: run"):
        push.push(scored, TO, "mit")
    assert REPO not in hub.commits


def test_a_card_that_a_kill_or_an_error_cut_short_is_written_by_the_same_command(scored, tmp_path, monkeypatch):
    output = tmp_path / "new" / "card"

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            push.push(scored, TO, "mit", output=output)
    assert not list(output.parent.iterdir())
    shutil.copytree(pathlib.Path(__file__).parent, output.parent / ".card.draft")  # as a kill leaves it
    push.push(scored, TO, "mit", output=output)
    assert {path.name for path in output.iterdir()} == {*manifest.NEEDED, manifest.FILE, manifest.README}
    assert [path.name for path in output.parent.iterdir()] == ["card"]
    with pytest.raises(InputError, match="is there already"):
        push.push(scored, TO, "mit", output=output)


def test_what_the_hub_does_not_keep_is_said(scored, hub):
    hub.loses = ("card.json",)
    with pytest.raises(InputError, match=r"the hub does not hold card.json as pushed; try again"):
        push.push(scored, TO, "mit")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"to": "hf:network"}, "expected hf:ORG/NAME"),
        ({"to": "organisation/network"}, "expected hf:ORG/NAME"),
        ({"to": f"{TO}@v1"}, "a push goes to the branch main"),
        ({"licence": "All rights!"}, "expected an identifier"),
        ({"kind": "first"}, "expected best or last"),
        ({"to": "hf:organisation/secret"}, "accepted its terms"),
        ({"to": "hf:organisation/down"}, r"cannot be pushed \(.*503.*\); try again: the same command"),
    ],
)
def test_what_cannot_be_pushed(scored, hub, changes, said):
    asked = {"to": TO, "licence": "mit"} | changes
    with pytest.raises(InputError, match=said):
        push.push(scored, **asked)


def test_who_is_not_logged_in_is_told_before_anything_is_read(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="nobody is logged in to the hub; run `hf auth login`, or set HF_TOKEN"):
        push.push(tmp_path, TO, "mit", kind="best")
