"""What the pages name is there: files, modules, verbs, flags, configs and their fields, `make` targets, links.

Read is what a reader may copy: links, code between backticks, and blocks of code. Names of other programs, and of files
that lcjax writes, are not looked at.
"""

import ast
import configparser
import doctest
import pathlib
import pkgutil
import re
import runpy
import subprocess
import sys

import pytest
from test_imports import FLOORS, TOPS

import lcjax
from data_pipelines.schema import on_disk, plugins
from lcjax.cli.inventory import choices
from lcjax.cli.main import VERBS
from lcjax.configs import base, registry

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "deploy/*.md", "data_pipelines/**/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
)
FOLDERS = ("benchmarks", "configs", "constraints", "data_pipelines", "deploy", "docs", "examples", "lcjax", "tests")

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(rf"(?<![\w/.~$-])(?:\.\./)*(?:{'|'.join(FOLDERS)})/[\w./*-]*")
_BARE = re.compile(r"(?<![\w/.=-])[a-z]\w*\.(?:py|sh|yaml)\b")
_MODULE = re.compile(r"(?<![\w/.])(?:lcjax|data_pipelines)(?:\.\w+)+")
_CONFIG = re.compile(r"--config=([\w.:/+-]+(?:[=,][\w.:/+%-]*)*)")
_ARGUMENTS = re.compile(rf"^(?:{'|'.join(registry.REGISTRY.built_in)}):[\w=,./]+$")
_FIELD = re.compile(r"(?<![\w/.])config\.([a-z_]+(?:\.[a-z_]+)*)")
_COMMAND = re.compile(r"^(?:\w+=\S+ )?(?:lcjax|python launch\.py|deploy/\w+\.sh|sbatch \S+) ([a-z]\S*)(.*)$")
_FLAG = re.compile(r"(?<!\S)--(\w+)")

# What `lcjax export` and `lcjax sweep` write, and a reader.
_ELSEWHERE = {"load.py", "best.py", "config.py", "mine.py", "own_config.py", "own_table.py", "own_task.py"} | {
    path.name for path in (ROOT / "examples").rglob("*.py")
}


def named(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


pages = pytest.mark.parametrize("page", PAGES, ids=named)


def blocks(page: pathlib.Path) -> list[tuple[str, str]]:
    """(language, text) of each block of code; a line that ends in a backslash is joined with the next one."""
    return [(language, re.sub(r"\s*\\\n\s*", " ", text)) for language, text in _BLOCK.findall(page.read_text())]


def code(page: pathlib.Path) -> list[str]:
    """What stands between backticks, and each line of the blocks."""
    prose = _BLOCK.sub("", page.read_text())
    return [" ".join(span.split()) for span in _SPAN.findall(prose)] + [
        line for _, text in blocks(page) for line in text.splitlines()
    ]


def found(pattern: re.Pattern, page: pathlib.Path) -> set[str]:
    return {hit for text in code(page) for hit in pattern.findall(text)}


def anchors(page: pathlib.Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_links_lead_somewhere(page):
    for link in _LINK.findall(_BLOCK.sub("", page.read_text())):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        there = page.parent / target if target else page
        assert there.exists(), link
        assert not anchor or anchor in anchors(there), link


@pages
def test_files_are_there(page):
    for name in found(_PATH, page):
        name = name.rstrip(".")
        folder = page.parent if name.startswith("..") else ROOT
        assert list(folder.glob(name)) if "*" in name else (folder / name).exists(), name


@pages
def test_files_without_a_folder_lie_beside_the_page(page):
    """A page among code means its own folder; one in docs would have to say where."""
    for name in found(_BARE, page) - _ELSEWHERE:
        assert (page.parent / name).is_file() or (page.parent == ROOT / "docs" and (ROOT / name).is_file()), name


@pages
def test_modules_and_what_is_in_them_are_there(page):
    for name in found(_MODULE, page):
        if name not in plugins.GROUPS and not name.endswith((".py", ".json")):
            pkgutil.resolve_name(name)


@pages
def test_python_is_python_and_imports_what_is_there(page):
    for language, text in blocks(page):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(text)):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                if module.split(".")[0] in ("lcjax", "data_pipelines"):
                    imported = pkgutil.resolve_name(module)
                    names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
                    assert all(hasattr(imported, name) or pkgutil.resolve_name(f"{module}.{name}") for name in names)


@pages
def test_configs_can_be_made(page, examples_installed):
    own = {text for text in code(page) if _ARGUMENTS.match(text)}
    for text in found(_CONFIG, page) | own:
        assert not text.startswith("configs/"), f"{text}: the name alone is what we teach"
        if not text.endswith("...") and f"{pathlib.Path(text.partition(':')[0]).stem}.py" not in _ELSEWHERE:
            registry.parse(text)


FIELDS = {*base.ALL_FIELDS, *(f"model.{name}" for name in base.MODEL)}


@pages
def test_fields_of_configs_are_there(page):
    for name in found(_FIELD, page) - {"json", "py"}:
        assert name in FIELDS or any(field.startswith(f"{name}.") for field in FIELDS), f"config.{name}"


_VARIES = re.compile(r"[a-z]*\d+|'[^']*'|\.\.\.|#[0-9a-f]{6}|\b[A-Z]{2,}\b|\S+\.csv|x\b")


def said_by_the_code() -> list[str]:
    """The texts in the sources, each joined from its parts; what is filled in when they are said is a NUL."""
    texts = []
    for top in (*TOPS, "configs"):
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values]
                    texts.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    return texts


def messages(page: pathlib.Path) -> list[str]:
    """What the tables of a page quote in a column headed "message"."""
    tables = re.findall(r"^\| *message .*\n\|[-|]+\n((?:\|.*\n?)+)", page.read_text(), re.MULTILINE)
    return [text for table in tables for row in table.splitlines() for text in _SPAN.findall(row.split("|")[1])]


@pages
def test_quoted_messages_are_said(page):
    texts = said_by_the_code() if messages(page) else []
    for message in messages(page):
        words = [part.strip(" ,;.") for part in _VARIES.split(message)]
        parts = [part for part in words if len(part) > 2]
        assert parts, message
        assert all(any(part in text for text in texts) for part in parts), f"{message!r}: nothing says {parts}"


def flags_of(verb: str) -> set[str]:
    """The flags that `lcjax VERB --help` teaches."""
    done = subprocess.run(
        [sys.executable, "-m", "lcjax", verb, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {"help", *re.findall(r"^  --(\w+)$", done.stdout, re.MULTILINE)}


def test_verbs_and_their_flags_are_there():
    """In every command that a page gives. --no... is the opposite of a flag that is true or false."""
    known = {verb: flags_of(verb) for verb in VERBS}
    told = [
        (named(page), verb, flag)
        for page in PAGES
        for line in code(page)
        if (command := _COMMAND.match(line))
        for verb in [command[1]]
        for flag in _FLAG.findall(command[2].partition(" # ")[0].partition("--beam=")[0]) or ["help"]
        if verb not in ("VERB", "is")
    ]
    assert len(told) > 100
    unknown = {
        item
        for item in told
        if item[2].removeprefix("no") not in known.get(item[1], ()) and item[2] not in known.get(item[1], ())
    }
    assert not unknown


@pages
def test_targets_of_make_are_there(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert found(re.compile(r"^make ([a-z]+)"), page) <= targets


def test_lists_of_info_are_those_that_there_are():
    told = {word for page in PAGES for word in found(re.compile(r"^lcjax info ([a-z]+)$"), page)}
    assert told <= {*choices.KINDS, "weights", "--check", *registry.REGISTRY.built_in}


def test_the_page_of_weights_is_what_the_tables_say():
    script = runpy.run_path(str(ROOT / "docs" / "weights_page.py"), run_name="imported")
    assert script["PAGE"].read_text() == script["page"](), "python docs/weights_page.py"


def test_the_page_of_fields_is_what_the_code_says():
    script = runpy.run_path(str(ROOT / "docs" / "config_page.py"), run_name="imported")
    assert script["PAGE"].read_text() == script["page"](), "python docs/config_page.py"
    told = set(re.findall(r"^\| `([\w.]+)` \|", script["PAGE"].read_text(), re.MULTILINE))
    assert told == FIELDS


def examples(text: str) -> set[tuple[str, str]]:
    return {(example.source, example.want) for example in doctest.DocTestParser().get_examples(text)}


def test_examples_of_python_are_those_of_docstrings_which_tests_run():
    door = (lcjax.config, lcjax.train, lcjax.load, lcjax.evaluate, lcjax.data.from_arrays, lcjax.data.open)
    known = set().union(*(examples(function.__doc__) for function in (*door, lcjax.models.create, lcjax.models.names)))
    page = blocks(ROOT / "docs" / "python.md")
    told = set().union(*(examples(text) for language, text in page if language == "pycon"))
    assert len(told) > 10
    assert told <= known


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    (text,) = (text for language, text in blocks(ROOT / "README.md") if language == "python")
    monkeypatch.chdir(tmp_path)
    assert "200 steps" in text
    found: dict = {}
    exec(text.replace("200 steps", "2 steps"), found)
    assert found["run"].step == 2
    assert found["classes"].shape == (64, 64) and found["probabilities"].shape == (64, 64, 2)
    assert 0 < found["scores"]["mIoU_2"] <= 1


def test_the_table_of_arguments_names_those_that_the_configs_have():
    table = (ROOT / "docs" / "verbs.md").read_text().partition("| config | argument |")[2].partition("\n\n")[0]
    told: dict[str, set[str]] = {}
    name = ""
    for line in table.splitlines()[2:]:
        config, arguments = (cell.strip(" `") for cell in line.split("|")[1:3])
        name = config or name
        told.setdefault(name, set()).update(arguments.replace("`", "").split(", "))
    assert told == {name: set(registry.find(name).arguments) for name in registry.REGISTRY.built_in}


def test_the_table_of_extras_names_those_that_there_are():
    table = (ROOT / "docs" / "install.md").read_text().partition("| extra | for |")[2].partition("\n\n")[0]
    told = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert told == set(setup["options.extras_require"])


def test_the_rooms_are_told_in_their_order():
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("| floor | rooms |")[2].partition("\n\n")[0]
    told = [re.findall(r"`([\w/]+?)(?:\.py|/)`", line) for line in table.splitlines()]
    lcjax_rooms = [tuple(f"lcjax.{name.removeprefix('lcjax/')}" for name in names) for names in told[2:-1]]
    of_data = [(f"data_pipelines.{name}",) for name in told[-1][1:]]
    assert (*lcjax_rooms, *of_data) == FLOORS


def test_the_folders_of_the_project_are_told():
    """What a trial has left behind is no part of it."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no clone")
    folders = {path.partition("/")[0] for path in listed.stdout.splitlines() if "/" in path and path[0] not in '."'}
    tree = (ROOT / "CONTRIBUTING.md").read_text().partition("## Rooms\n\n```\n")[2].partition("```")[0]
    told = {name for line in tree.splitlines() if line[0] != " " for name in re.findall(r"(\w+)/", line)}
    assert folders == told


def test_the_columns_of_records_are_told():
    table = (ROOT / "docs" / "layout.md").read_text().partition("### records.csv")[2].partition("\n\nWhat")[0]
    told = [
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.partition("| ")[2].partition(" |")[0])
    ]
    assert tuple(told) == (*on_disk.COLUMNS, f"{on_disk.CLASS_PREFIX}ID")
