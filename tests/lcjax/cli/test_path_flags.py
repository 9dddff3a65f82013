"""Every flag of every verb that holds a path takes `~`, and no folder of that name is ever made."""

import itertools
import pathlib

import pytest

from lcjax.cli import main as verbs

# verb -> its flags that hold paths; each is given as ~/FLAG beside what the verb needs to come so far.
PATHS = {
    "download": ("output",),
    "prepare": ("source", "data_dir", "legend"),
    "train": ("workdir", "config", "config.data_dir"),
    "evaluate": ("workdir", "data_dir"),
    "predict": ("workdir", "scene", "output", "data_dir", "aoi", "mask"),
    "assess": ("map", "labels", "output", "strata", "legend", "training", "scene", "design"),
    "export": ("workdir", "output"),
    "push": ("workdir", "output"),
    "pull": ("workdir",),
    "report": ("workdirs", "reference", "maps", "output"),
    "benchmark": ("json", "plot", "compare", "config"),
    "sweep": ("study", "config"),
}
WORDS = ("workdir", "dir", "folder", "file", "path", "csv", "raster", "map ", "maps ")
NO_PATHS = {
    *("allow_other_config", "beam", "workers", "tile", "tile_size", "init", "list", "input", "records", "offset"),
    *("grid", "date", "bands", "tta", "confidence", "probabilities", "allow_plugins", "max_nodata", "max_refused"),
    *("profile", "remote", "overlap", "blend", "batch_size", "compress", "checkpoint", "split", "dataset", "resample"),
    *("mosaic", "vector"),
}


def flags_of(command, verb: str) -> dict[str, str]:
    lines = command(verb, "--help")[1].splitlines()
    return {line[4:]: text for line, text in itertools.pairwise(lines) if line.startswith("  --")}


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_every_flag_that_speaks_of_a_file_is_in_the_table_of_this_test(command, verb):
    told = {flag for flag, text in flags_of(command, verb).items() if any(word in text.lower() for word in WORDS)}
    assert told - NO_PATHS <= {*PATHS.get(verb, ())}
    assert {flag for flag in PATHS.get(verb, ()) if "." not in flag} <= flags_of(command, verb).keys()


@pytest.fixture
def home(tmp_path, monkeypatch, command):
    """An empty home, and another empty folder to stand in."""
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")  # the fixture `command`, which came before, stands in ours
    return tmp_path / "home"


CONFIG = "--config=dfc2020:data=sample,tiny=true,model=unet"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("download", "--dataset=flair1", "--part=toy", "--output=~nobody_of_this_name"), "there is no user"),
        (("prepare", "--dataset=sample", "--source=~/x", "--data_dir=~/data"), "x: no such folder"),
        (("prepare", "--dataset=rasters", "--source=~/x", "--init"), "x: no such folder"),
        (("train", "--config=~/x.py", "--workdir=~/run"), "--config=~/x.py: no such file"),
        (("train", CONFIG, "--workdir=~/run", "--config.data_dir=~/data"), "data/sample/1.0.0: no prepared data set"),
        (("evaluate", "--workdir=~/a,~/b"), "a/config.json: no such file"),
        (("predict", "--workdir=~/run", "--scene=~/x.tif", "--output=~/map.tif"), "run/config.json: no such file"),
        (("assess", "--map=~/x.tif", "--sample", "--size=9", "--output=~/s"), "home/x.tif: no such file"),
        (("assess", "--labels=~/x.csv"), "home/design.json"),
        (("export", "--workdir=~/run", "--output=~/net"), "run/config.json: no such file"),
        (
            ("push", "--workdir=~/run", "--to=hf:o/n", "--license=mit", "--output=~/card"),
            "run/config.json: no such file",
        ),
        (("pull", "hf:o/n", "--workdir=~nobody_of_this_name/run"), "there is no user 'nobody_of_this_name'"),
        (("report", "--workdirs=~/run", "--output=~/page"), "run: no such folder"),
        (("report", "--maps=~/x.tif", "--output=~/page"), "x.tif: no such file"),
        (("benchmark", "--compare=~/x,~/y"), "home/x: no such file"),
        (("info", "~/x"), "~/x: expected one of"),
        (("sweep", "--config=~/x.py", "--study=~/study", "--trials=1"), "--config=~/x.py: no such file"),
        (
            ("sweep", CONFIG, "--study=~nobody_of_this_name/study", "--trials=1"),
            "there is no user 'nobody_of_this_name'",
        ),
        (
            ("sweep", CONFIG, "--study=study [1]", "--trials=1"),
            "here/study [1]: holds [, and checkpoints written below",
        ),
        (("train", CONFIG, "--workdir=~nobody_of_this_name/run"), "there is no user 'nobody_of_this_name'"),
        (("train", CONFIG, "--workdir=run [1]"), "here/run [1]: holds [, and checkpoints written below"),
    ],
)
def test_what_is_sought_at_home_is_not_made_here(command, home, words, named):
    code, _, err = command(*words)
    assert code == 2 and len(err) == 1 and named in err[0], err
    assert not any(pathlib.Path.cwd().iterdir())


def test_a_network_that_lies_at_home(command, home, trained, data_dir):
    """What is read and written for a `~` lies at home."""
    (home / "data").symlink_to(data_dir)
    (home / "run, 1").symlink_to(trained)
    assert command("evaluate", "--workdir=~/run, 1", "--data_dir=~/data")[0] == 0
    assert command("report", "--workdirs=~/r*", "--output=~/page")[0] == 0
    assert (home / "page" / "index.html").is_file()
    assert command("info", "~/run, 1")[0] == 0
    assert not any(pathlib.Path.cwd().iterdir())
