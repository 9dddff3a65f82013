"""Names, links, devices and permissions."""

import os
import pathlib
import shutil
from collections.abc import Callable, Iterable

from corpus import Asked, Case, Place

NAMES = {
    "newline": "a\nb",
    "escape": "a\x1b[2Jb",
    "quote": "a'b\"c",
    "brackets": "[a-z]*?",
    "dash": "-rf",
    "blank": "a b ",
    "dots": "a..b",
    "unicode": "été 日本",
    "bidi": "a\u202eb",
    "percent": "%s%n%d",
    "braces": "{0}",
    "dollar": "$HOME",
    "hash": "#a",
    "equals": "a=b",
    "comma": "a,b",
    "colon": "a:b",
    "tilde": "~root",
    "surrogate": os.fsdecode(b"a\xff\xfeb"),
    "long": "n" * 230,
    "semicolon": "a;rm -rf b",
    "backslash": "a\\b",
    "combining": "e" + "\u0301" * 60,
}


def _scene(name: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        place.copy("scene.tif").rename(place.given / f"{name}.tif")
        command = [
            "predict",
            f"--workdir={place.world.folder}/run",
            f"--scene={place.given}",
            f"--output={place.target}",
        ]
        return Asked(command, ("given", ".tif"), "either", "pixels mapped")

    return make


def _folder(name: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        source = place.copy("source").rename(place.given / name)
        return Asked(place.prepare(source, "rasters/x", "--tile=32"), ("given",), "either", "records of")

    return make


def _init(name: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        for part, letter in (("images", "i"), ("masks", "m")):
            folder = place.target / "town" / part
            folder.mkdir(parents=True)
            for k in range(4):
                shutil.copy(place.world.folder / "source" / f"{letter}{k}.tif", folder / f"{k}{name}.tif")
        return Asked(
            ["prepare", "--dataset=rasters/x", f"--source={place.target}/town", "--init"],
            ("town",),
            "either",
            "written",
        )

    return make


def _linked(kind: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        source = place.target / "town"
        shutil.copytree(place.world.folder / "source", source / "images")
        (source / "masks").mkdir()
        for k in range(4):
            (source / "images" / f"m{k}.tif").rename(source / "masks" / f"i{k}.tif")
        aim = {"parent": "..", "itself": ".", "root": "/", "proc": "/proc", "gone": "nowhere"}[kind]
        (source / "images" / "link").symlink_to(aim)
        said = "" if kind == "gone" else "not followed"
        return Asked(["prepare", "--dataset=rasters/x", f"--source={source}", "--init"], ("town",), "either", said)

    return make


def _with_none(place: Place, part: str, name: str, kind: str) -> pathlib.Path:
    """A copy of a part of the world, in which a file is no file."""
    from of_rasters import make_it

    folder = place.copy(part)
    (folder / name).unlink()
    make_it(folder / name, kind)
    return folder


def _special(kind: str, name: str) -> Callable[[Place], Asked]:
    """A file of the data set that is none."""

    def make(place: Place) -> Asked:
        return Asked(place.prepare(_with_none(place, "source", name, kind)), (name,))

    return make


def _in_workdir(kind: str, name: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        run = _with_none(place, "run", name, kind)
        return Asked(place.predict(place.world.folder / "scene.tif", run), (name, "run"))

    return make


def _output(kind: str) -> Callable[[Place], Asked]:
    """A place that cannot be written to, or that holds something else."""

    def make(place: Place) -> Asked:
        path = place.target / "map.tif"
        {
            "folder": path.mkdir,
            "pipe": lambda: os.mkfifo(path),
            "null": lambda: path.symlink_to("/dev/full"),
            "others": lambda: path.symlink_to(place.other / "keep.py"),
            "foreign": lambda: path.write_text("mine"),
        }[kind]()
        return Asked(place.predict(place.world.folder / "scene.tif"), ("map.tif",))

    return make


def cases() -> Iterable[Case]:
    for k, (name, text) in enumerate(NAMES.items()):
        yield Case(f"name of a scene: {name}", _scene(text), k)
        yield Case(f"name of a source: {name}", _folder(text), k)
        yield Case(f"name of images for --init: {name}", _init(text), k)
    yield from (
        Case(f"link to a folder: {kind}", _linked(kind)) for kind in ("parent", "itself", "root", "proc", "gone")
    )
    kinds = ("pipe", "zeros", "random", "folder", "nothing", "itself", "text", "empty")
    for kind in kinds:
        for k, name in enumerate(("i0.tif", "m0.tif", "rasters.csv", "legend.csv")):
            yield Case(f"no file in a data set: {kind}", _special(kind, name), k)
        for k, name in enumerate(("card.json", "config.json")):
            yield Case(f"no file in a workdir: {kind}", _in_workdir(kind, name), k)
    yield from (
        Case(f"output that is another thing: {kind}", _output(kind))
        for kind in ("folder", "pipe", "null", "others", "foreign")
    )
