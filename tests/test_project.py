"""The files beside the code agree with it: versions, interpreters, what is run before a commit and after a push."""

import configparser
import pathlib
import re

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
