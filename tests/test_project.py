"""The files beside the code agree with it: versions, interpreters, what is run before a commit and after a push."""

import configparser
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

import lcjax

ROOT = pathlib.Path(__file__).parent.parent


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text())


def test_the_citation_is_of_this_version():
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == lcjax.__version__
    assert citation["license"] == "Apache-2.0"


def test_continuous_integration_runs_the_script_with_each_python():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    named = re.findall(r"Python :: (3\.\d+)", parser["metadata"]["classifiers"])
    (job,) = read(".github/workflows/ci.yml")["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == named
    assert all((ROOT / "constraints" / f"python{version}.txt").is_file() for version in named)
    (script,) = [step["run"] for step in job["steps"] if "run" in step]
    assert (ROOT / script).stat().st_mode & 0o111


def test_what_runs_before_a_commit_is_what_the_tests_ask_first():
    (repo,) = read(".pre-commit-config.yaml")["repos"]
    asked = {hook["entry"].removesuffix(" --force-exclude") for hook in repo["hooks"]}
    lines = (ROOT / "Makefile").read_text().partition("\ntest: venv\n")[2].splitlines()
    assert {line.strip().removesuffix(" .").removesuffix(" --check") for line in lines[:3]} == asked


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ((3, 10, 4), "found Python 3.10; expected 3.11 or later"),
        ((3, 14, 0), "Python 3.14 has not been tried"),
        (None, "found no Python that runs; expected 3.11 or later"),
    ],
)
def test_make_tells_an_interpreter_by_its_number(version, said, tmp_path):
    """A later Python is not an earlier one: 3.14 is tried, without pinned versions."""
    stand_in = tmp_path / "python"
    if version:
        stand_in.write_text(
            f"#!{sys.executable}\nimport sys\nsys.version_info = {version}\nexec(sys.argv[2], {{'__name__': 'x'}})\n"
        )
        stand_in.chmod(0o755)
    ended = subprocess.run(
        ["make", "--dry-run", "--always-make", "venv", f"PYTHON={stand_in}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said in ended.stdout + ended.stderr
    assert (ended.returncode == 0) == (version == (3, 14, 0))


def test_the_folder_above_a_clone_does_not_stand_for_the_package(tmp_path):
    """A notebook beside a clone that is called lcjax finds the installed package, and not the clone's folder."""
    (tmp_path / "lcjax" / "configs").mkdir(parents=True)
    found = subprocess.run(
        [sys.executable, "-c", "import lcjax; print(lcjax.__file__, lcjax.config)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "lcjax/__init__.py" in found.stdout, found.stderr
