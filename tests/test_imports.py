"""Every module imports, the packages are all declared, and each room keeps to itself."""

import ast
import configparser
import importlib
import pathlib
import pkgutil
import runpy

import pytest

ROOT = pathlib.Path(__file__).parent.parent
TOPS = ("lcjax", "data_pipelines")
MODULES = sorted(
    name
    for top in TOPS
    for name in [top, *(info.name for info in pkgutil.walk_packages([str(ROOT / top)], prefix=f"{top}."))]
)


@pytest.mark.parametrize("name", [*MODULES, "launch"])
def test_module_imports_and_says_what_it_is_for(name):
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").rglob("*.py")), ids=lambda path: path.name)
def test_benchmark_script_imports(path, monkeypatch):
    monkeypatch.syspath_prepend(str(path.parent))
    if path.name.startswith("torch_") or path.name == "swin_t.py":
        pytest.importorskip("torch")
    assert runpy.run_path(str(path), run_name="imported")["__doc__"]


def test_setup_cfg_lists_all_packages():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    there = {
        ".".join(path.parent.relative_to(ROOT).parts) for top in TOPS for path in (ROOT / top).rglob("__init__.py")
    } | {".".join(("lcjax", *path.parent.relative_to(ROOT).parts)) for path in (ROOT / "configs").rglob("__init__.py")}
    assert set(parser["options"]["packages"].split()) == there
    # A folder with modules but without __init__.py would be left out of an installation.
    folders = {path.parent for top in (*TOPS, "configs") for path in (ROOT / top).rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)
    assert "py_modules" not in parser["options"]


def imports_of(path: pathlib.Path) -> set[str]:
    """Full names of all that a file imports, anywhere in it: "a.b" for `import a.b` and for `from a import b`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def importers(top: str, *libraries: str) -> set[str]:
    """The files below `top` that import one of the libraries or anything in it."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / top).rglob("*.py")
        if any(name == library or name.startswith(library + ".") for name in imports_of(path) for library in libraries)
    }


def test_imports_of_sees_what_it_must(tmp_path):
    (tmp_path / "x.py").write_text("import a.b as c\ndef f():\n    from d.e import f, g\n")
    assert imports_of(tmp_path / "x.py") == {"a.b", "d.e.f", "d.e.g"}


# Rooms from the top floor down: each imports from itself and from floors below it alone. Figures are a leaf: every room
# above lcjax.ops may draw.
FLOORS = (
    ("lcjax.cli",),
    ("lcjax.sweep", "lcjax.hub", "lcjax.viewing"),
    ("lcjax.configs",),
    ("lcjax.training", "lcjax.reporting", "lcjax.profiling"),
    ("lcjax.assessment",),
    ("lcjax.mapping", "lcjax.evaluation", "lcjax.export"),
    ("lcjax.engine",),
    ("lcjax.tasks",),
    ("lcjax.runs", "lcjax.weights"),
    ("lcjax.plotting",),
    ("lcjax.ops",),
    ("lcjax.models", "lcjax.parallel"),
    ("lcjax.data",),
    ("data_pipelines.benchmark",),
    ("data_pipelines.prepare",),
    ("data_pipelines.reading",),
    ("data_pipelines.datasets",),
    ("data_pipelines.geo",),
    ("data_pipelines.remote",),
    ("data_pipelines.schema",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = {
    name: path
    for top, prefix in (("lcjax", ""), ("data_pipelines", ""), ("configs", "lcjax."))
    for path in (ROOT / top).rglob("*.py")
    if (name := prefix + ".".join(path.relative_to(ROOT).with_suffix("").parts)).partition(".__init__")[0]
}


def room_of(name: str) -> str:
    return ".".join(name.split(".")[:2])


@pytest.mark.parametrize("room", FLOOR_OF)
def test_a_room_imports_only_from_floors_below(room):
    up = {
        f"{name} imports {other}"
        for name, path in FILES.items()
        if room_of(name) == room
        for other in imports_of(path)
        if room_of(other) in FLOOR_OF and room_of(other) != room and FLOOR_OF[room_of(other)] <= FLOOR_OF[room]
    }
    assert not up


def test_every_module_is_in_a_room():
    fronts = {"lcjax", "lcjax.__main__", "lcjax.version", "data_pipelines"}
    alone = {name for name in FILES if room_of(name.removesuffix(".__init__")) not in FLOOR_OF}
    assert {name.removesuffix(".__init__") for name in alone} <= fronts


def test_no_room_comes_in_by_the_python_door():
    """lcjax/__init__.py stands above the rooms: what they need of it (the version) has a file of its own."""
    door = {f"lcjax.{name}" for name in ("config", "data", "evaluate", "load", "train", "__version__")}
    rooms = {name: path for name, path in FILES.items() if name != "lcjax.__init__"}
    assert not {f"{name} imports {other}" for name, path in rooms.items() for other in imports_of(path) & door}


def test_data_sets_do_not_import_each_other():
    prefix = "data_pipelines.datasets."
    folders = {path.name for path in (ROOT / "data_pipelines" / "datasets").iterdir() if path.is_dir()}

    def of(name: str) -> str:
        return name.removeprefix(prefix).split(".")[0] if name.startswith(prefix) else ""

    across = {
        f"{name} imports {other}"
        for name, path in FILES.items()
        if of(name) in folders
        for other in imports_of(path)
        if of(other) in folders - {of(name)}
    }
    assert not across


@pytest.mark.parametrize("top", [*TOPS, "configs"])
def test_no_folder_holds_more_than_twenty_modules(top):
    folders = {path.parent for path in (ROOT / top).rglob("*.py")}
    assert max(len(list(folder.glob("*.py"))) for folder in folders) <= 21  # with its __init__.py


@pytest.mark.parametrize(
    ("top", "libraries", "only"),
    [
        ("data_pipelines", ("lcjax", "jax", "flax", "optax", "orbax"), set()),
        (
            "lcjax",
            ("rasterio",),
            {f"lcjax/mapping/{name}.py" for name in ("map_writer", "scene", "scene_area", "sieve")},
        ),
        (
            "data_pipelines",
            ("rasterio",),
            {
                "data_pipelines/geo/burning.py",
                "data_pipelines/geo/cubes/cube.py",
                "data_pipelines/geo/exclusions.py",
                "data_pipelines/geo/geometry/bending.py",
                "data_pipelines/geo/geometry/clipping.py",
                "data_pipelines/geo/geometry/outlines.py",
                "data_pipelines/geo/geotiff.py",
                "data_pipelines/geo/geodesy.py",
                "data_pipelines/geo/composites.py",
                "data_pipelines/geo/grids.py",
                "data_pipelines/geo/quiet.py",
                "data_pipelines/geo/raster_io.py",
                "data_pipelines/geo/resampling.py",
                "data_pipelines/geo/vectors.py",
                "data_pipelines/geo/virtual.py",
                "data_pipelines/datasets/rasters/builder.py",
                "data_pipelines/datasets/rasters/masks.py",
                "data_pipelines/datasets/rasters/init_blocks.py",
                "data_pipelines/datasets/rasters/init_vectors.py",
                "data_pipelines/datasets/rasters/inspect.py",
                "data_pipelines/datasets/rasters/vector_labels.py",
                "data_pipelines/datasets/sample/make.py",
                "data_pipelines/benchmark/input_variants.py",
                "data_pipelines/benchmark/made_up_scene.py",
            },
        ),
        ("data_pipelines", ("pyogrio",), {"data_pipelines/geo/geopackage.py"}),
        ("lcjax", ("pyogrio",), set()),
        # Servers are asked in one place, and searches by the library that knows how.
        ("data_pipelines", ("urllib.request", "http.client", "ftplib"), {"data_pipelines/remote/servers.py"}),
        ("data_pipelines", ("requests", "pystac_client"), {"data_pipelines/geo/stac_search.py"}),
        ("data_pipelines", ("xarray", "rioxarray", "zarr"), {"data_pipelines/geo/cubes/cube.py"}),
        ("data_pipelines", ("apache_beam",), {"data_pipelines/prepare/beam.py"}),
        ("lcjax", ("orbax",), {"lcjax/runs/checkpoints.py"}),
        ("lcjax", ("optuna", "sqlalchemy"), {"lcjax/sweep/storage.py"}),
        ("lcjax", ("bokeh", "jinja2"), {"lcjax/reporting/markup.py"}),
        ("lcjax", ("configs", "launch", "tests", "benchmarks"), set()),
        ("lcjax/models", ("pathlib", "os", "json", "jax.sharding"), set()),
        # Pallas is nowhere else.
        (
            "lcjax/models",
            ("jax.experimental",),
            {f"lcjax/models/kernels/{name}.py" for name in ("attention", "calls", "head", "mlp", "traffic", "windows")},
        ),
        ("configs", ("jax", "flax"), set()),
        (".", ("tensorflow",), set()),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_libraries(top, libraries, only):
    if top == ".":
        assert set().union(*(importers(name, *libraries) for name in (*TOPS, "configs", "benchmarks"))) == only
    else:
        assert importers(top, *libraries) == only


# They open what they have just written, make data of their own, or open for data_pipelines.geo.raster_io what it was
# given an address of; all others ask that.
WRITERS = {
    "data_pipelines/benchmark/input_variants.py",
    "data_pipelines/benchmark/made_up_scene.py",
    "data_pipelines/datasets/sample/make.py",
    "data_pipelines/geo/raster_io.py",
    "data_pipelines/geo/virtual.py",
    "lcjax/mapping/map_writer.py",
}


def test_rasters_are_opened_in_one_place():
    def modes(path: pathlib.Path) -> set[str]:
        """The modes in which a module has rasterio open files."""
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        opening = [call for call in calls if ast.unparse(call.func) in ("rasterio.open", "rasterio.DatasetReader")]
        return {ast.literal_eval(call.args[1]) if len(call.args) > 1 else "r" for call in opening}

    asked = {str(path.relative_to(ROOT)): found for path in FILES.values() if (found := modes(path))}
    assert set(asked) == WRITERS
    assert asked["lcjax/mapping/map_writer.py"] == asked["data_pipelines/datasets/sample/make.py"] == {"w"}


def test_networks_import_nothing_of_the_pipelines_but_errors():
    paths = (ROOT / "lcjax" / "models").rglob("*.py")
    ours = {name for path in paths for name in imports_of(path) if name.split(".")[0] in TOPS}
    assert {name for name in ours if not name.startswith("lcjax.models.")} <= {
        "data_pipelines.schema.errors.InputError",
        "data_pipelines.schema.plugins",
        "data_pipelines.schema.plugins.Registry",
    }
