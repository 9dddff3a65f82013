"""Names to configs: on the command line, from Python, from one's own files and packages."""

import importlib.metadata
import pathlib

import ml_collections
import pytest

from data_pipelines.schema.errors import InputError
from lcjax.configs import base, dfc2020, flair1, pretrain, rasters, registry

ROOT = pathlib.Path(__file__).parent.parent
TINY = "model=unet,data=sample,tiny=true"

OWN = '''"""My own configs.

More about them.
"""
import ml_collections

ARGUMENTS = {"model": "mine", "deep": False}


def get_config(text=""):
    if text == "broken":
        raise KeyError("no such key")
    if text == "nothing":
        return None
    return ml_collections.ConfigDict({"model": {"name": "mine"}, "text": text, "rate": 0.5, "sizes": (1, 2)})
'''


@pytest.fixture
def own(tmp_path, monkeypatch) -> pathlib.Path:
    """A config file of one's own in another folder, also importable as a module and as one in a package."""
    (tmp_path / "my_configs.py").write_text(OWN)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").touch()
    (tmp_path / "my_package" / "recipes.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("module", [dfc2020, flair1, pretrain, rasters], ids=lambda module: module.__name__)
def test_built_in_names_and_paths_mean_the_same_from_any_folder(module, own):
    name = module.__name__.rpartition(".")[2]
    expected = module.get_config("model=unet,tiny=true").to_json()
    assert registry.parse(f"{name}:model=unet,tiny=true").to_json() == expected
    assert registry.parse(f"{ROOT}/configs/{name}.py:model=unet,tiny=true").to_json() == expected
    assert registry.parse(f"lcjax.configs.{name}:get_config:model=unet,tiny=true").to_json() == expected
    assert registry.parse(name).to_json() == registry.parse(f"{name}:").to_json() == module.get_config().to_json()


def test_every_config_file_is_registered():
    files = {path.stem for path in (ROOT / "configs").glob("*.py") if "def get_config" in path.read_text()}
    assert set(registry.REGISTRY.built_in) == files
    assert all(len(registry.find(name).line.split()) > 3 for name in files)


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("my_configs.py", ""),
        ("my_configs.py:a:b=c,d", "a:b=c,d"),
        ("./my_configs.py:x", "x"),
        ("my_configs:get_config", ""),
        ("my_configs:get_config:x=1", "x=1"),
        ("my_package.recipes:get_config:get_config", "get_config"),
    ],
)
def test_own_files_and_functions(own, text, argument):
    assert registry.parse(text).text == argument


def test_an_entry_point(own, monkeypatch):
    point = importlib.metadata.EntryPoint("mine", "my_package.recipes:get_config", "lcjax.configs")
    monkeypatch.setattr(
        "data_pipelines.schema.plugins.metadata.entry_points",
        lambda group: [point] if group == "lcjax.configs" else [],
    )
    assert registry.parse("mine:deep=true").text == "deep=true"
    assert registry.parse("mine:deep").text == "deep"  # as of a name that there is, no function of a module
    family = registry.find("mine")
    assert (family.line, family.arguments) == ("My own configs.", {"model": "mine", "deep": False})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "dfc2021:model=unet",
            "config='dfc2021': did you mean 'dfc2020'[?] expected one of dfc2020, flair1, pretrain, ",
        ),
        ("dfc2021", "config='dfc2021': did you mean 'dfc2020'[?] expected one of"),
        ("", "config='': expected one of"),
        ("missing.py:x=1", "--config=missing.py: no such file; .* or one of dfc2020, flair1"),
        ("empty.py", "--config=empty.py: has no function get_config"),
        ("unreadable.py", r"--config=unreadable.py: SyntaxError: .* \(unreadable.py, line 2\)$"),
        ("failing.py", r"--config=failing.py: ZeroDivisionError: division by zero \(line 3 of .*failing.py\)$"),
        ("my_configs:get_conf", "the module my_configs has no get_conf"),
        ("my_configs:ARGUMENTS", "config=my_configs:ARGUMENTS: is a dict; expected a function"),
        ("my_configs.py:broken", r"config my_configs.py: KeyError: 'no such key' \(line 12 of .*my_configs.py\)"),
        ("my_configs.py:nothing", "config my_configs.py: returned NoneType; expected an ml_collections.ConfigDict"),
        ("no_such.module:get_config:x=1", "no_such.module cannot be imported"),
    ],
)
def test_what_is_no_config_is_refused_by_name(own, text, says):
    (own / "empty.py").touch()
    (own / "unreadable.py").write_text("\ndef get_config(:\n")
    (own / "failing.py").write_text("\n\n1 / 0\n")
    with pytest.raises(InputError, match=says) as raised:
        registry.parse(text)
    assert "\n" not in str(raised.value)


def test_an_argument_wins_over_a_field():
    config = registry.create("rasters", model="unet", validation="none", tiny=True, total="200 steps")
    expected = rasters.get_config("model=unet,validation=none,tiny=true")
    assert (expected.model.name, expected.split.validation) == ("unet", "")
    expected.total = "200 steps"
    assert config.to_json() == expected.to_json()


def test_fields_by_dotted_name_and_as_dictionaries():
    dotted = registry.create("dfc2020", **{"optimizer.learning_rate": 1, "split.train": "a", "split.test": "b"})
    nested = registry.create("dfc2020", optimizer={"learning_rate": 1.0}, split={"train": "a", "test": "b"})
    expected = dfc2020.get_config()
    base.assign(expected, {"optimizer.learning_rate": 1.0, "split.train": "a", "split.test": "b"})
    assert dotted.to_json() == nested.to_json() == expected.to_json()
    assert type(dotted.optimizer.learning_rate) is float


def test_arguments_in_the_text_and_by_name():
    text = registry.create(f"dfc2020:{TINY}", fusion="s2", init=pathlib.Path("runs/x"))
    assert text.to_json() == dfc2020.get_config(f"{TINY},fusion=s2,init=runs/x").to_json()


def test_a_list_becomes_a_tuple(own):
    config = registry.create("my_configs.py", sizes=[3, 4], rate=1, data_free={}, model="other")
    assert (config.sizes, config.rate, config.text) == ((3, 4), 1.0, "model=other")
    assert type(config.rate) is float


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"modle": "unet"}, "config dfc2020 has no 'modle': did you mean 'model'\\? arguments are model, size, fusion"),
        ({"learning_rat": 1.0}, "has no 'learning_rat': did you mean 'optimizer.learning_rate'\\?"),
        ({"optimizer.learning_rat": 1.0}, "did you mean 'optimizer.learning_rate'\\?"),
        ({"qqqqqq": 1}, "has no 'qqqqqq': arguments are .*fields .*optimizer.clip"),
        ({"total": 200}, "config.total=200: expected text, such as '100 epochs'"),
        ({"batch_size": 2.5}, "config.batch_size=2.5: expected a whole number, such as 32"),
        ({"batch_size": True}, "config.batch_size=True: expected a whole number"),
        ({"jitter": "much"}, "config.jitter='much': expected a number, such as 0.0"),
        ({"dihedral": 1}, "config.dihedral=1: expected True or False"),
        ({"tiny": "yes"}, "config argument tiny='yes': expected True or False"),
        ({"model": 3}, "config argument model=3: expected text"),
        ({"model": "a,b"}, "config argument model='a,b': arguments are separated by commas"),
        ({"split": {"trian": "x"}}, "has no 'split.trian': did you mean 'split.train'\\?"),
        ({"optimizer": 3}, "has no 'optimizer'"),
    ],
)
def test_values_that_are_refused(values, says):
    with pytest.raises(InputError, match=says):
        registry.create("dfc2020", **values)


def test_a_network_that_an_argument_names_may_be_imported(own, monkeypatch):
    """Who gives the argument names what is imported; it needs no leave beside that."""
    (own / "my_nets.py").write_text("def build(bands, classes, *, rngs, width=8):\n    return None\n")
    monkeypatch.setattr("data_pipelines.schema.plugins._allowed", set())
    config = registry.parse("dfc2020:model=my_nets:build,tiny=true")
    assert config.model.to_dict() == {"name": "my_nets:build", "width": 8}
    assert config.crop == dfc2020.get_config("tiny=true").crop
    assert registry.create("dfc2020", model="my_nets:build", **{"model.width": 4}).model.width == 4


def test_configs_share_nothing():
    first = registry.create("dfc2020")
    first.optimizer.learning_rate = 7.0
    assert registry.create("dfc2020").optimizer.learning_rate != 7.0
    assert isinstance(first, ml_collections.ConfigDict)
