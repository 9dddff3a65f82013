"""Names of plug-ins: what is built in, what packages bring along, and what a file may not choose."""

import sys

import ml_collections
import pytest

from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(plugins, "_allowed", set())
    return plugins.Registry("config.model.name", "lcjax.models", {"unet": 1, "resnet": 2})


def install(folder, monkeypatch, points: str, name: str = "trees", module: str = "trees_models", body="NET = 'a net'"):
    """A package as pip leaves it: a module, and the entry points of its distribution."""
    (folder / f"{module}.py").write_text(body)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, module, raising=False)


def refused(registry, name: str) -> str:
    with pytest.raises(InputError) as raised:
        registry.find(name)
    message = str(raised.value)
    assert message.startswith(f"config.model.name={name!r}: ") and "\n" not in message
    return message


def test_what_is_built_in_comes_first_and_reads_no_entry_points(registry, monkeypatch):
    monkeypatch.setattr(plugins.metadata, "entry_points", None)
    assert registry.find("unet") == 1
    assert registry.is_built_in("unet") and not registry.is_built_in("my.models:Net")


def test_entry_points_are_found_and_listed_without_being_imported(registry, monkeypatch, tmp_path):
    points = "[lcjax.models]\nforest = trees_models:NET\nunet = trees_models:OTHER\n[lcjax.tasks]\nfelling = x:y\n"
    install(tmp_path, monkeypatch, points)
    assert registry.names() == {"unet": "built in", "resnet": "built in", "forest": "trees"}
    assert "trees_models" not in sys.modules
    assert registry.find("unet") == 1  # ours, whatever others call so
    assert registry.find("forest") == "a net"  # installed: needs no further leave


def test_the_same_folder_twice_on_the_path_is_one_package(registry, monkeypatch, tmp_path):
    install(tmp_path, monkeypatch, "[lcjax.models]\nforest = trees_models:NET\n")
    monkeypatch.syspath_prepend(f"{tmp_path}/.")
    assert registry.find("forest") == "a net"


def test_two_packages_that_bring_the_same_name_are_told_apart(registry, monkeypatch, tmp_path):
    for name in ("trees", "bushes"):
        (tmp_path / name).mkdir()
        install(tmp_path / name, monkeypatch, f"[lcjax.models]\nforest = {name}_models:NET\n", name, f"{name}_models")
    assert "bushes and trees both bring along something of that name" in refused(registry, "forest")


def test_an_unknown_name_lists_what_there_is(registry, monkeypatch, tmp_path):
    install(tmp_path, monkeypatch, "[lcjax.models]\nforest = trees_models:NET\n")
    assert "expected one of unet, resnet, forest, or package.module:attribute" in refused(registry, "vgg")


@pytest.mark.parametrize("name", ["os:system", "os.path:join", "subprocess:run"])
def test_a_name_from_a_file_does_not_choose_what_is_imported(registry, name):
    package = name.partition(":")[0].partition(".")[0]
    message = refused(registry, name)
    assert "comes from a file" in message and f"if you trust that package, give --allow_plugins={package}" in message


def test_a_module_that_is_not_allowed_is_not_even_imported(registry, monkeypatch, tmp_path):
    install(tmp_path, monkeypatch, "", body="raise SystemExit('was imported')")
    refused(registry, "trees_models:NET")
    plugins.allow("trees")  # another package, whose name begins alike
    refused(registry, "trees_models:NET")
    assert "trees_models" not in sys.modules


def test_what_is_allowed_is_imported(registry, monkeypatch, tmp_path):
    install(tmp_path, monkeypatch, "", body="class Nets:\n    small = 'a small net'\n")
    plugins.allow("trees_models.anything")
    assert registry.find("trees_models:Nets.small") == "a small net"


def test_a_config_at_the_keyboard_allows_what_it_names(registry, monkeypatch, tmp_path):
    install(tmp_path, monkeypatch, "")
    config = {
        "model": {"name": "trees_models:NET"},
        "dataset": "rasters/a",
        "task": "segmentation",
        "init": "os:system",
    }
    plugins.allow_named_in(ml_collections.ConfigDict(config))
    assert plugins._allowed == {"trees_models"}
    assert registry.find("trees_models:NET") == "a net"
    plugins.allow_named_in(config | {"loss": {"name": "a.b:c"}, "dataset": "d:e", "task": "f:g"})
    plugins.allow_named_in({"loss": "h:i"})
    assert plugins._allowed == {"trees_models", "a", "d", "f", "h"}


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("trees_models:OAK", "", "the module trees_models has no OAK"),
        ("trees_models:NET", "raise RuntimeError('two\\nlines')", "cannot be imported (RuntimeError: two lines)"),
        ("trees_models.more:NET", "", "trees_models.more cannot be imported (ModuleNotFoundError: "),
    ],
)
def test_what_cannot_be_had_is_named(registry, monkeypatch, tmp_path, name, body, says):
    install(tmp_path, monkeypatch, "", body=body)
    plugins.allow("trees_models")
    assert says in refused(registry, name)


def test_to_check_a_name_imports_nothing(registry, monkeypatch, tmp_path):
    install(tmp_path, monkeypatch, "[lcjax.models]\nforest = trees_models:OAK\n")
    plugins.allow("trees_models")
    for name in ("unet", "forest", "trees_models:NET"):
        registry.check(name)
    assert "trees_models" not in sys.modules
    for name, says in (("vgg", "expected one of unet"), ("os:system", "comes from a file"), (7, "expected a name")):
        with pytest.raises(InputError, match=f"config.model.name={name!r}: {says}"):
            registry.check(name)


def test_an_entry_point_whose_package_is_broken_is_named(registry, monkeypatch, tmp_path):
    install(tmp_path, monkeypatch, "[lcjax.models]\nforest = trees_models:OAK\n")
    assert "the module trees_models has no OAK" in refused(registry, "forest")


@pytest.mark.parametrize("name", ["trees_models:", ":NET", "a b:c", "a:b:c", "../a:b", "a.:b", "1a:b"])
def test_what_is_no_name_is_refused(registry, name):
    plugins.allow("a", "trees_models")
    assert "expected package.module:attribute" in refused(registry, name)


@pytest.mark.parametrize("package", ["", "a-b", "a:b", "*"])
def test_what_is_no_package_is_not_allowed(registry, package):
    with pytest.raises(InputError, match=r"--allow_plugins=.*: expected names of installed packages"):
        plugins.allow(package)
