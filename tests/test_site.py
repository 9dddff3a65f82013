"""The documentation site: its navigation, its pages, and that a build finds what is wrong with it (`make docs`)."""

import base64
import json
import pathlib
import pkgutil
import re
import runpy
import shutil
import subprocess
import sys

import pytest

import lcjax
import lcjax.data
import lcjax.models
from data_pipelines.schema.spec import DatasetSpec
from lcjax.ops.losses import PixelLoss
from lcjax.tasks import Task

ROOT = pathlib.Path(__file__).parent.parent
SITE = runpy.run_path(str(ROOT / "docs" / "build_site.py"), run_name="imported")
LINK = re.compile(r"\]\(([^)\s#]+)")


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("site") / "pages"
    SITE["lay_out"](folder)
    return folder


def test_the_navigation_names_every_page_once():
    named = [page for page, _ in SITE["named"](SITE["config"]()["nav"])]
    assert sorted(named) == sorted(SITE["places"]().values())
    assert all((ROOT / origin).is_file() for origin in SITE["places"]())


def test_every_page_of_the_repository_is_one_of_the_site():
    tracked = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("no git checkout")
    assert set(tracked.stdout.split()) <= set(SITE["places"]())


def test_links_of_the_pages_lead_to_pages_and_pictures_of_the_site(laid_out):
    links = [
        (page, link)
        for page in laid_out.rglob("*.md")
        if "source" not in page.relative_to(laid_out).parts
        for link in LINK.findall(SITE["_BLOCK"].sub("", page.read_text()))
        if "://" not in link
    ]
    assert len(links) > 200
    assert not [(page, link) for page, link in links if not (page.parent / link).is_file()]


def test_pages_are_called_by_their_titles_in_place_of_file_names(laid_out):
    assert "[Your own data](own_data.md)" in (laid_out / "index.md").read_text()
    assert "[Scores](scores.md#pre-training)" in (laid_out / "pretraining.md").read_text()
    assert "[docs/extending.md]" not in (laid_out / "contributing.md").read_text()


def test_a_source_that_a_page_links_to_is_a_page(laid_out):
    page = (laid_out / "source" / "examples" / "own_loss" / "own_loss.py.md").read_text()
    assert (ROOT / "examples" / "own_loss" / "own_loss.py").read_text() in page


def test_the_gallery_shows_the_picture_of_the_notebook(laid_out):
    cells = json.loads((ROOT / "examples" / "quickstart.ipynb").read_text())["cells"]
    (picture,) = (
        output["data"]["image/png"]
        for cell in cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    )
    assert (ROOT / "docs" / "images" / "quickstart_map.png").read_bytes() == base64.b64decode(picture)
    (shown,) = re.findall(r'<img src="([^"]+)"', (laid_out / "quickstart.md").read_text())
    assert (laid_out / shown).read_bytes() == base64.b64decode(picture)


def documented() -> set[str]:
    pages = (ROOT / "docs" / "api").glob("*.md")
    return {name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)}


def test_the_reference_has_all_that_people_call_from_python():
    functions = {f"lcjax.{name}" for name in lcjax.__all__} - {"lcjax.__version__", "lcjax.data", "lcjax.models"}
    functions |= {f"lcjax.data.{name}" for name in lcjax.data.__all__}
    functions |= {f"lcjax.models.{name}" for name in lcjax.models.__all__}
    assert functions <= documented()
    there = {name: pkgutil.resolve_name(name) for name in documented()}
    assert {DatasetSpec, PixelLoss, Task} <= {value for value in there.values() if isinstance(value, type)}
    assert all(value.__doc__ for value in there.values())


def test_a_build_finds_what_is_wrong(tmp_path):
    (tmp_path / "right").mkdir()
    (tmp_path / "right" / "index.html").write_text('<h2 id="there">x</h2><a href="../page.html#top">x</a>')
    (tmp_path / "look.css").write_text("a { color: red } @import url(https://fonts.example/a.css);")
    (tmp_path / "page.html").write_text(
        '<link rel="canonical" href="https://own.example/"><link rel="stylesheet" href="look.css">'
        '<p id="top"><a href="right/#there">x</a><a href="https://elsewhere.example">x</a><a href="#top">x</a>'
        '<a href="mailto:a@b.example">x</a><a href="/page.html">x</a>'
        '<a href="gone.html">x</a><a href="right/#gone">x</a><a href="#gone">x</a><img src="gone.png">'
        '<script src="https://cdn.example/a.js"></script><img srcset="//cdn.example/b.png 2x">'
    )
    assert SITE["faults"](tmp_path) == [
        "page.html: https://cdn.example/a.js is fetched from a server",
        "page.html: //cdn.example/b.png is fetched from a server",
        "page.html: gone.html: no such file",
        "page.html: right/#gone: no such heading",
        "page.html: #gone: no such heading",
        "page.html: gone.png: no such file",
        "look.css: https://fonts.example/a.css is fetched from a server",
    ]


@pytest.mark.parametrize(
    ("link", "said"),
    [("nowhere.md", "docs/maps.md: nowhere.md: no such file"), ("../lcjax", "docs/maps.md: ../lcjax: no such file")],
)
def test_a_link_that_leads_nowhere_is_named_with_its_page(link, said, tmp_path):
    with pytest.raises(ValueError, match=re.escape(said)):
        SITE["_relinked"](f"See [it]({link}).", "docs/maps.md", tmp_path, {})


@pytest.mark.slow
def test_the_site_is_built_without_a_fault():
    pytest.importorskip("zensical", reason="the extra docs is not installed: make docs")
    built = subprocess.run(
        [sys.executable, "docs/build_site.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert "0 faults" in built.stdout
    page = (ROOT / "build" / "site" / "api" / "lcjax.html").read_text()
    assert "InputError" in page and "FloatingPointError" in page


@pytest.mark.slow
def test_what_stands_in_for_a_worker_answers(tmp_path):
    """Pages that are opened as files have no workers: their search asks a hidden frame, later and with copies."""
    if not (browser := shutil.which("chromium")):
        pytest.skip("no chromium")
    (script,) = re.findall(r"<script>.*?^</script>", (ROOT / "docs" / "theme" / "main.html").read_text(), re.M | re.S)
    (tmp_path / "worker.js").write_text(
        "self.onmessage = m => self.postMessage(m.data instanceof Array ? m.data[0] : 'no')"
    )
    (tmp_path / "page.html").write_text(
        f"<head>{script}</head><body><p></p><script>const w = new Worker('worker.js'); let sync = true;"
        "w.onmessage = m => document.querySelector('p').append(m.data + (sync ? ' at once ' : ' later '));"
        "w.postMessage(['first']); setTimeout(() => { sync = true; w.postMessage(['second']); sync = false }, 500);"
        "sync = false</script></body>"
    )
    shown = subprocess.run(
        [
            browser,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=3000",
            "--dump-dom",
            (tmp_path / "page.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "<p>first later second later </p>" in shown.stdout
