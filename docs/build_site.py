"""Builds the documentation site, build/site, and checks it: `make docs`.

The pages are those that stand in the repository. They are laid out in build/pages, each at its place in the site, with
its links turned to where they lead there; Zensical (zensical.toml) makes HTML of them; then every link of that HTML is
followed, and nothing in it may be fetched from a server when a page is opened.
"""

import base64
import functools
import html.parser
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.parse
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Pages that stand elsewhere than in docs -> their place in the site.
ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "deploy/README.md": "deploy.md",
    **{
        f"examples/{name}.ipynb": f"notebooks/{name}.md"
        for name in ("own_data", "pretrain_and_finetune", "compare_runs", "export")
    },
    "examples/quickstart.ipynb": "quickstart.md",
    **{f"examples/{name}/README.md": f"examples/{name}.md" for name in ("own_model", "own_dataset", "own_loss")},
    **{
        f"data_pipelines/datasets/{name}/README.md": f"datasets/{name}.md"
        for name in ("dfc2020", "flair1", "rasters", "sample", "sen12ms")
    },
}
LANGUAGES = {".py": "python", ".sh": "bash", ".yaml": "yaml", ".toml": "toml", ".json": "json", ".cff": "yaml"}
PICTURES = (".png", ".jpg", ".svg")

_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_PAGE_IN_CODE = re.compile(r"`docs/(\w+)\.md`")
_IN_CSS = re.compile(r"(?:url\(|@import\s*)[\"']?((?:https?:)?//[^\"')\s]+)")


def config() -> dict:
    """Returns what zensical.toml says of the project."""
    return tomllib.loads((ROOT / "zensical.toml").read_text())["project"]


def named(nav: list) -> Iterator[tuple[str, str]]:
    """Yields the pages that the navigation names, in order, each with its title there."""
    for entry in nav:
        for title, value in entry.items():
            if isinstance(value, str):
                yield value, title
            else:
                yield from named(value)


@functools.cache
def places() -> dict[str, str]:
    """Returns the place of each page in the site: path in the repository -> path below build/pages."""
    docs = ROOT / "docs"
    of_docs = {str(page.relative_to(ROOT)): str(page.relative_to(docs)) for page in sorted(docs.rglob("*.md"))}
    return ELSEWHERE | of_docs


def lay_out(target: pathlib.Path) -> None:
    """Writes all pages, and the pictures and sources that they link to, into a new folder.

    Raises:
      ValueError: a page links to what is not there, or to a folder, which has no page in the site; or the navigation
        names other pages than there are.
    """
    if odd := set(places().values()) ^ {page for page, _ in named(config()["nav"])}:
        raise ValueError(
            f"zensical.toml: {', '.join(sorted(odd))}: in the navigation, or in the folders, but not in both"
        )
    shutil.rmtree(target, ignore_errors=True)
    titles = dict(named(config()["nav"]))
    for origin, place in places().items():
        text = (ROOT / origin).read_text()
        if origin.endswith(".ipynb"):
            text = _notebook(text, target / place)
        _write(target / place, _relinked(text, origin, target, titles))


def _relinked(text: str, origin: str, target: pathlib.Path, titles: dict[str, str]) -> str:
    """Returns a page whose links lead to pages of the site, and call these by their titles in place of file names."""
    up = "../" * places()[origin].count("/")

    def turned(link: re.Match) -> str:
        said, (address, hash_, anchor) = link[1], link[2].partition("#")
        if "://" in address or not address:
            return link[0]
        file = (ROOT / origin).parent.joinpath(address).resolve()
        if not file.is_file():
            raise ValueError(f"{origin}: {address}: no such file")
        name = str(file.relative_to(ROOT))
        there = places().get(name) or _copied(file, name, target)
        title = titles.get(there, said) if name.endswith(said) else said
        return f"[{title}]({up}{there}{hash_}{anchor})"

    parts, end = [], 0
    for block in _BLOCK.finditer(text):
        parts += [_LINK.sub(turned, text[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, _LINK.sub(turned, text[end:])])


def _copied(file: pathlib.Path, name: str, target: pathlib.Path) -> str:
    """Puts a picture, or a page that shows a source, into the site; returns its place."""
    if file.suffix in PICTURES:
        place = name.removeprefix("docs/")
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / place)
        return place
    place = f"source/{name}.md"
    _write(target / place, f"# {name}\n\n````{LANGUAGES.get(file.suffix, 'text')}\n{file.read_text()}````\n")
    return place


def _notebook(text: str, place: pathlib.Path) -> str:
    """Returns a notebook as a page; its pictures are written beside it."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(_PAGE_IN_CODE.sub(r"[docs/\1.md](../docs/\1.md)", source))
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            parts.append(_output(output, place.with_name(f"{place.stem}_{len(parts)}.png")))
    return "\n\n".join(part for part in parts if part) + "\n"


def _output(output: dict, picture: pathlib.Path) -> str:
    """Returns what a cell has printed or shown."""
    data = output.get("data", {})
    if "image/png" in data:
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(base64.b64decode(data["image/png"]))
        return f'<img src="{picture.name}" alt="What the cell above draws">'
    return f"```text\n{''.join(output.get('text') or data['text/plain']).rstrip()}\n```"


def _write(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class _Page(html.parser.HTMLParser):
    """What a page of HTML can be linked by, what it links to, and what a browser fetches to show it."""

    def __init__(self, text: str):
        super().__init__()
        self.anchors: set[str] = {""}
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Collects what the attributes of an element name."""
        values = {name: value or "" for name, value in attributes}
        self.anchors |= {values[name] for name in ("id", "name") if name in values and (name == "id" or tag == "a")}
        links = [values[name] for name in ("href", "src", "data", "poster") if name in values]
        self.links += links
        if tag not in ("a", "area") and values.get("rel") != "canonical":
            self.fetched += links + [part.split()[0] for part in values.get("srcset", "").split(",") if part.strip()]


def faults(site: pathlib.Path) -> list[str]:
    """Returns what is wrong with a site, a line each: dead links, missing anchors, and what comes from a server."""
    pages = {path: _Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        where = path.relative_to(site)
        found += [f"{where}: {link} is fetched from a server" for link in page.fetched if _is_foreign(link)]
        for link in page.links:
            if not _is_foreign(link) and (fault := _dead(link, path, site, pages)):
                found.append(f"{where}: {link}: {fault}")
    for path in sorted(site.rglob("*.css")):
        fetched = _IN_CSS.findall(path.read_text())
        found += [f"{path.relative_to(site)}: {link} is fetched from a server" for link in fetched]
    return found


def _is_foreign(link: str) -> bool:
    parts = urllib.parse.urlsplit(link)
    return bool(parts.netloc) or parts.scheme in ("http", "https")


def _dead(link: str, path: pathlib.Path, site: pathlib.Path, pages: dict[pathlib.Path, _Page]) -> str:
    """Returns why a link within the site leads nowhere; empty where it does not."""
    parts = urllib.parse.urlsplit(link)
    if parts.scheme:  # mailto:, data:, javascript:
        return ""
    address, anchor = urllib.parse.unquote(parts.path), urllib.parse.unquote(parts.fragment)
    there = (site / address.lstrip("/") if address.startswith("/") else path.parent / address).resolve()
    there = path if not address else there / "index.html" if there.is_dir() else there
    if not there.is_file():
        return "no such file"
    return "no such heading" if there in pages and anchor not in pages[there].anchors else ""


def main() -> int:
    """Builds the site; returns the exit code, 0 where nothing is wrong with it."""
    project = config()
    pages, site = ROOT / project["docs_dir"], ROOT / project["site_dir"]
    try:
        lay_out(pages)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    shutil.rmtree(site, ignore_errors=True)
    built = subprocess.run([sys.executable, "-m", "zensical", "build", "--clean", "--strict"], cwd=ROOT, check=False)
    if built.returncode:
        return built.returncode
    wrong = faults(site)
    print(*wrong, sep="\n", file=sys.stderr)
    print(f"{site}: {len(list(site.rglob('*.html')))} pages, {len(wrong)} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
