"""Checkpoints come back exact, are copies, appear whole, and are found or said to be missing."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding
from networks import smallest

from data_pipelines.schema.errors import InputError
from lcjax.engine import optimizer as optimizers
from lcjax.parallel import mesh as meshes
from lcjax.runs import checkpoints
from lcjax.runs.progress import Progress

META = Progress(position=96, window={"loss": [0.1, 1.0]}, steps=1)


def arrays(seed, mesh=None):
    """(model, optimiser state) with values of their own, on the mesh."""
    generator = np.random.default_rng(seed)
    parameters = {
        "encoders/s1/kernel": generator.standard_normal((256, 256), np.float32),
        "head/bias": generator.standard_normal(8, np.float32),
    }
    transformation = optimizers.make_optimizer(smallest("unet").optimizer)
    moments = jax.tree.map(
        lambda leaf: (100 * generator.standard_normal(leaf.shape)).astype(leaf.dtype),
        jax.eval_shape(transformation.init, parameters),
    )
    model = {"parameters": parameters, "statistics": {"encoders/s1/mean": np.full(8, seed, np.float32)}}
    both = model, moments
    mesh = mesh or meshes.make_mesh(2, 4, 8)
    return meshes.place(both, meshes.shardings(both, mesh))


def equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_what_was_saved_comes_back_exact_and_where_it_lay(tmp_path):
    model, moments = arrays(1)
    there = checkpoints.Checkpoints(tmp_path, "last")
    there.save(12, model=model, optimizer=moments, meta=META)
    there.wait()
    there.close()
    again = checkpoints.Checkpoints(tmp_path, "last")
    assert again.latest() == 12
    assert again.restore_meta(12) == META
    (meta,) = [path for path in (there.folder / "12" / "meta").rglob("*") if b"schema_version" in path.read_bytes()]
    meta.write_text(meta.read_text().replace('"schema_version": 2', '"schema_version": 3'))
    with pytest.raises(
        InputError, match=r"last/12/meta/metadata: schema_version 3, and this lcjax reads 2; use the newer"
    ):
        again.restore_meta(12)
    equal(found := again.restore_model(12, model), model)
    equal(again.restore_optimizer(12, moments), moments)
    spread = found["parameters"]["encoders/s1/kernel"]
    assert spread.sharding == model["parameters"]["encoders/s1/kernel"].sharding
    assert not spread.sharding.is_fully_replicated
    again.close()


def test_a_small_array_is_written_as_one_device_holds_it(tmp_path, caplog):
    """No program is compiled that cuts what lies whole on eight devices; there would be one for each shape."""
    there = checkpoints.Checkpoints(tmp_path, "last")
    flat = {"a": np.ones((24, 13), np.float32)}
    whole = meshes.place(flat, meshes.shardings(flat, meshes.make_mesh(8, 1, 8)))
    with jax.log_compiles():
        there.save(1, model=whole, optimizer=whole, meta=META)
        there.wait()
    there.close()
    assert "compil" not in caplog.text.lower()


def test_it_comes_back_on_another_mesh_and_on_one_device(tmp_path):
    model, moments = arrays(1)
    there = checkpoints.Checkpoints(tmp_path, "best")
    there.save(3, model=model, optimizer=moments, meta=META)
    there.wait()
    other, _ = arrays(2, meshes.make_mesh(4, 2, 8))
    equal(there.restore_model(3, other), model)
    here = SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), model)
    found = there.restore_model(3, like)
    equal(found, model)
    assert {leaf.sharding for leaf in jax.tree.leaves(found)} == {here}
    there.close()


def test_best_and_last_are_copies_of_donated_arrays(tmp_path):
    kept = arrays(1)  # not a look at what is saved: that would hold its buffers
    lying = jax.tree.map(lambda leaf: leaf.sharding, kept)
    overwrite = jax.jit(lambda tree: jax.tree.map(lambda leaf: -leaf - 1, tree), donate_argnums=0, out_shardings=lying)
    kinds = {kind: checkpoints.Checkpoints(tmp_path, kind) for kind in checkpoints.KINDS}
    taken = False
    for step in range(5, 15):
        model, moments = arrays(1)
        with jax.transfer_guard("disallow"):
            for there in kinds.values():
                there.save(step, model=model, optimizer=moments, meta=META)
            # Not waited for: the next step may run and take the buffers.
            like, moments_like = overwrite((model, moments))
        # A save that is slow still holds them: then it is tried again. (jax 0.11.2 spares a scalar of the moments.)
        taken = all(leaf.is_deleted() for leaf in jax.tree.leaves(model))
        for there in kinds.values():
            there.wait()
            equal(there.restore_model(step, like), kept[0])
            equal(there.restore_optimizer(step, moments_like), kept[1])
        if taken:
            break
    assert taken  # the premise
    for there in kinds.values():
        there.close()


def test_a_step_that_is_there_stays_and_old_ones_go(tmp_path):
    first, moments = arrays(1)
    second, _ = arrays(2)
    there = checkpoints.Checkpoints(tmp_path, "last", keep=2)
    for step, model in ((2, first), (2, second), (4, second), (6, first)):
        there.save(step, model=model, optimizer=moments, meta=dataclasses.replace(META, position=step))
        there.wait()
        if step == 2:
            equal(there.restore_model(2, first), first)
    folders = {path.name for path in (tmp_path / "checkpoints" / "last").iterdir()}
    assert folders == {"4", "6"}
    there.close()


def test_forget_after(tmp_path):
    model, moments = arrays(1)
    there = checkpoints.Checkpoints(tmp_path, "best", keep=3)
    for step in (2, 4, 6):
        there.save(step, model=model, optimizer=moments, meta=META)
    there.wait()
    there.forget_after(6)
    assert there.latest() == 6
    there.forget_after(3)
    assert there.latest() == 2
    there.save(4, model=arrays(2)[0], optimizer=moments, meta=META)  # made again
    there.wait()
    equal(there.restore_model(4, model), arrays(2)[0])
    there.close()


def test_what_a_kill_left_of_a_checkpoint_is_in_nobodys_way(tmp_path):
    model, moments = arrays(1)
    folder = tmp_path / "checkpoints" / "last"
    there = checkpoints.Checkpoints(tmp_path, "last")
    there.save(2, model=model, optimizer=moments, meta=META)
    there.wait()
    there.close()
    for name in ("3.orbax-checkpoint-tmp", "4.orbax-checkpoint-tmp"):
        shutil.copytree(folder / "2", folder / name)
    looked, _ = checkpoints.find(tmp_path, "last")  # as one may while another process saves
    looked.close()
    assert (folder / "4.orbax-checkpoint-tmp").is_dir()
    there = checkpoints.Checkpoints(tmp_path, "last")
    there.forget_after(2)
    there.save(4, model=model, optimizer=moments, meta=META)
    there.wait()
    there.close()
    assert {path.name for path in folder.iterdir()} == {"2", "4"}
    assert there.damage(4) == ""


def test_find(tmp_path):
    model, moments = arrays(1)
    there = checkpoints.Checkpoints(tmp_path, "last", keep=2)
    for step in (2, 10):
        there.save(step, model=model, optimizer=moments, meta=META)
    there.wait()
    there.close()
    found, step = checkpoints.find(tmp_path, "last")
    assert step == 10
    equal(found.restore_model(step, model), model)
    found.close()


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="--checkpoint=newest: expected one of last, best"):
        checkpoints.find(tmp_path, "newest")
    with pytest.raises(InputError, match=r"best: no such folder; train first: lcjax train --config=\.\.\. --workdir="):
        checkpoints.find(tmp_path, "best")
    assert list(tmp_path.iterdir()) == []  # asking leaves nothing behind
    (tmp_path / "checkpoints" / "best").mkdir(parents=True)
    with pytest.raises(InputError, match="no whole checkpoint yet"):
        checkpoints.find(tmp_path, "best")


def test_half_a_checkpoint_is_none(tmp_path):
    model, moments = arrays(1)
    there = checkpoints.Checkpoints(tmp_path, "last")
    there.save(2, model=model, optimizer=moments, meta=META)
    there.wait()
    there.close()
    # What a kill in the middle of a save leaves.
    half = tmp_path / "checkpoints" / "last" / "4.orbax-checkpoint-tmp"
    half.mkdir()
    (half / "model").mkdir()
    found, step = checkpoints.find(tmp_path, "last")
    assert step == 2
    found.close()


def test_a_checkpoint_half_deleted_says_nothing_where_a_later_one_is_taken(tmp_path, caplog):
    """What a kill in the middle of a deletion leaves; Orbax warns of it each time."""
    model, moments = arrays(1)
    there = checkpoints.Checkpoints(tmp_path, "last")
    for step in (2, 4):
        there.save(step, model=model, optimizer=moments, meta=META)
        there.wait()
    there.close()
    (tmp_path / "checkpoints" / "last" / "2" / "_CHECKPOINT_METADATA").unlink()
    caplog.clear()
    found, step = checkpoints.find(tmp_path, "last")
    assert step == 4 and not [one for one in caplog.records if one.levelname == "WARNING"]
    found.close()
