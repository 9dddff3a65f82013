"""A folder that checkpoints could not be read from is refused before anything is computed."""

import pytest

from data_pipelines.schema.errors import InputError
from lcjax.parallel import mesh as meshes
from lcjax.runs import checkpoints, storage


@pytest.mark.parametrize("name", ["run [1]", "run*", "run?", "a\\b", "[a]/run"])
def test_names_that_are_patterns_to_who_writes_checkpoints(tmp_path, name):
    with pytest.raises(InputError, match="and checkpoints written below such a name cannot be read; choose another"):
        storage.check_name(tmp_path / name)


def test_a_checkpoint_below_a_backslash_is_not_sought_elsewhere(tmp_path):
    (tmp_path / "a\\b" / "checkpoints" / "best" / "3").mkdir(parents=True)
    with pytest.raises(InputError, match="holds a backslash, and no checkpoint below can be read; rename it"):
        checkpoints.find(tmp_path / "a\\b", "best")


@pytest.mark.parametrize("name", ["run 1", "{a},'b' #1 %20", "é中😀", "-x", "~", "a]"])
def test_other_names_hold_what_is_saved_and_nothing_is_left(tmp_path, name):
    folder = tmp_path / name
    left = folder / "checkpoints" / ".trial" / "1"
    left.mkdir(parents=True)  # by a kill
    storage.check_name(folder)
    storage.try_out(folder, meshes.make_mesh(4, 2, 8))
    assert list((folder / "checkpoints").iterdir()) == []


def test_storage_that_does_not_give_back_what_it_took_is_told(tmp_path):
    folder = tmp_path / "run [1]"
    with pytest.raises(InputError, match=r"nothing was trained, as a trial of this storage failed: .*cannot be read"):
        storage.try_out(folder, meshes.make_mesh(4, 2, 8))
    assert list((folder / "checkpoints").iterdir()) == []
