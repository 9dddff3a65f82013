"""What people install: a wheel without the checkout, and a clone whose folder is called like the package.

Both in virtual environments of their own, which see the libraries of the interpreter that runs the tests, and nothing
else of it: the file by which it finds the checkout is not read there.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = ("configs", "data_pipelines", "lcjax", "launch.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")

pytestmark = pytest.mark.slow


def copied(folder: pathlib.Path) -> pathlib.Path:
    """A copy of what a clone holds, as far as it is needed to build."""
    folder.mkdir(parents=True)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def environment(folder: pathlib.Path) -> pathlib.Path:
    """An environment with the libraries of this interpreter; returns its folder of programs."""
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], check=True)


def said(*command: str | pathlib.Path, cwd: pathlib.Path) -> str:
    """What a command prints that must end well; it sees nothing of this process's paths."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--quiet", "--no-deps", f"--wheel-dir={folder}", str(copied(folder / "lcjax")))
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory) -> pathlib.Path:
    """The folder of programs of an environment in which the wheel is installed."""
    folder = environment(tmp_path_factory.mktemp("installed"))
    pip(f"--python={folder}/python", "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    return folder


def installed_as(path: pathlib.Path) -> str:
    """Where a file of the checkout lies in the wheel."""
    name = str(path.relative_to(ROOT))
    return f"lcjax/{name}" if name.startswith("configs/") else name


def test_the_wheel_holds_two_packages_and_nothing_beside_them(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in names} == {"lcjax", "data_pipelines"}
    files = [path for top in ("configs", "data_pipelines", "lcjax") for path in (ROOT / top).rglob("*.*")]
    of_clones = ROOT / "lcjax" / "configs" / "__init__.py"  # points at the folder configs
    assert names == {installed_as(path) for path in files if path.suffix not in (".md", ".pyc") and path != of_clones}


def test_from_an_empty_folder_to_a_map(programs, tmp_path):
    """As somebody does who has installed it and cloned nothing."""
    lcjax, python = programs / "lcjax", programs / "python"
    where = "import lcjax.configs.dfc2020 as c, data_pipelines as d; print(c.__file__, d.__file__)"
    assert str(ROOT) not in said(python, "-c", where, cwd=tmp_path)
    nothing = "import importlib.util as u; print(u.find_spec('configs'), u.find_spec('launch'))"
    assert said(python, "-c", nothing, cwd=tmp_path) == "None None\n"
    assert said(lcjax, "--version", cwd=tmp_path) == said(python, "-m", "lcjax", "--version", cwd=tmp_path)

    said(python, "-m", "data_pipelines.datasets.sample.make", "sample", "--tiles=tiny", cwd=tmp_path)
    said(lcjax, "prepare", "--dataset=sample", "--source=sample", "--data_dir=data", cwd=tmp_path)
    fields = {"total": "4 steps", "log_every": "2 steps", "model.base": 4, "crop": 32}
    trained = said(
        lcjax,
        "train",
        "--config=dfc2020:data=sample,tiny=true",
        "--workdir=run",
        *(f"--config.{name}={value}" for name, value in fields.items()),
        cwd=tmp_path,
    )
    assert "run: ended at step 4" in trained
    assert "a training run (segmentation)" in said(lcjax, "info", "run", cwd=tmp_path)
    scene = "--scene=s1=sample/scenes/scene_s1.tif,s2=sample/scenes/scene_s2.tif"
    said(lcjax, "predict", "--workdir=run", scene, "--output=map.tif", cwd=tmp_path)
    assert (tmp_path / "map.tif").is_file() and (tmp_path / "map.areas.csv").is_file()


LINES = """
import numpy as np
import lcjax

images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
masks = (images[..., 0] > 127).astype(np.uint8)
data = lcjax.data.from_arrays({"train": (images, masks)}, classes=["dark", "bright"])
config = lcjax.config("rasters", tiny=True, validation="none", test="none", crop=32, total="2 steps")
run = lcjax.train(config, "run", data=data)
print(run.step, lcjax.load("run").predict(images[0]).shape)
"""


def test_from_arrays_to_classes_in_python(programs, tmp_path):
    assert said(programs / "python", "-c", LINES, cwd=tmp_path) == "2 (32, 32)\n"


def test_a_clone_called_like_the_package_is_found_from_every_folder(tmp_path):
    """As `make venv` installs it; Python puts the folder that it is started in before all others."""
    clone = copied(tmp_path / "lcjax")
    python = environment(tmp_path / "environment") / "python"
    pip(
        f"--python={python}", "install", "--quiet", "--no-deps", "--config-settings", "editable_mode=compat",
        "--editable", str(clone),
    )  # fmt: skip
    where = "import lcjax, lcjax.configs.dfc2020 as c; print(lcjax.__file__, c.__file__)"
    for folder in (tmp_path, clone, clone / "lcjax", tmp_path / "environment"):
        assert said(python, "-m", "lcjax", "--version", cwd=folder).startswith("lcjax ")
        assert said(python, "-c", where, cwd=folder) == f"{clone}/lcjax/__init__.py {clone}/configs/dfc2020.py\n"
    assert said(python, "launch.py", "--version", cwd=clone) == said(python, "-m", "lcjax", "--version", cwd=clone)
