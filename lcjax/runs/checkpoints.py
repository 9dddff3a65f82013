"""Checkpoints; the only module that knows Orbax.

A checkpoint is one folder with three items and the checksums of their files: `model` (parameters and statistics, all
that evaluation needs), `optimizer` (all else that training needs), and `meta` (JSON: the card, the data position, the
state of evaluation). It appears under its name only when it is complete. `last` and `best` are two folders of copies.
All processes of a run call these functions; each writes and reads its part of the arrays.
"""

import contextlib
import dataclasses
import pathlib
import shutil
from collections.abc import Iterator

import jax
import orbax.checkpoint as ocp

from data_pipelines.schema import schema_version
from data_pipelines.schema.errors import InputError
from lcjax.parallel import multihost
from lcjax.runs import SCHEMA_VERSION, checksums, loggers
from lcjax.runs import model_card as cards
from lcjax.runs.progress import Progress

KINDS = ("last", "best")
_OTHER = "take another checkpoint (--checkpoint), or train again"

# A replicated array below this size is written by its first device alone: cutting it into a slice for each device takes
# longer than writing it.
_MIN_SLICE = 16 << 20  # bytes
_ARRAYS = ocp.type_handlers.create_type_handler_registry(
    (jax.Array, ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=_MIN_SLICE))
)


class Checkpoints:
    """The checkpoints of one kind ("last" or "best") of a workdir; saving goes on in the background.

    Attributes:
      folder: where they lie.
    """

    def __init__(self, workdir: pathlib.Path, kind: str, keep: int = 2):
        """Opens the folder, or makes it.

        Args:
          workdir: of the run.
          kind: one of `KINDS`.
          keep: how many copies stay. The newest may be damaged, or later than the step that a run resumes from.
        """
        self.folder = workdir.absolute() / "checkpoints" / kind
        # Orbax calls this in process 0, in the background, when all files are written, and then renames the folder.
        sums = ocp.AsyncOptions(post_finalization_callback=self._note_checksums)
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True, async_options=sums)
        handlers = {
            "model": ocp.PyTreeCheckpointHandler(type_handler_registry=_ARRAYS),
            "optimizer": ocp.PyTreeCheckpointHandler(type_handler_registry=_ARRAYS),
            "meta": ocp.JsonCheckpointHandler(),
        }
        # A kill can leave a checkpoint half deleted, which `damage` tells when it matters.
        with loggers.quiet("absl"):
            self._manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)

    def latest(self) -> int | None:
        """Returns the step of the newest complete checkpoint, or None."""
        return self._manager.latest_step()

    def latest_undamaged(self) -> tuple[int | None, list[str]]:
        """Returns the step of the newest undamaged checkpoint, or None, and the damage of each newer one."""
        damages: list[str] = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            if not (damage := self.damage(step)):
                return step, damages
            damages.append(damage)
        return None, damages

    def damage(self, step: int) -> str:
        """Returns what is wrong with the files of a checkpoint, with its path, or "" where nothing is."""
        folder = self.folder / str(step)
        with multihost.raise_on_all() as is_main:
            damage = checksums.damage(folder) if is_main else ""
        damage = multihost.from_main_process(damage)
        return f"{folder} is damaged: {damage}" if damage else ""

    def save(self, step: int, *, model: dict, optimizer, meta: Progress) -> None:
        """Saves a copy of the arrays under `step`, unless there is one, which then is the same.

        Call `wait` first, for both kinds: only one checkpoint may be in the making.

        Args:
          step: number of steps done.
          model: parameters and statistics.
          optimizer: state of the optimiser, and what else only training needs.
          meta: the state of the run.

        Raises:
          InputError: the disk is full, or the folder cannot be written.
        """
        if step in self._manager.all_steps():
            return
        items = ocp.args.Composite(
            model=ocp.args.PyTreeSave(model),
            optimizer=ocp.args.PyTreeSave(optimizer),
            meta=ocp.args.JsonSave(schema_version.stamp(dataclasses.asdict(meta), SCHEMA_VERSION)),
        )
        self._check_room(sum(leaf.nbytes for leaf in jax.tree.leaves((model, optimizer))))
        # Orbax copies the arrays to the host itself: the only intended transfer in the loop.
        with jax.transfer_guard("allow"), self._explain(step):
            self._manager.save(step, args=items, force=True)

    def restore_meta(self, step: int) -> Progress:
        """Returns what was saved as `meta`.

        Raises:
          InputError: it cannot be read, or is of another schema_version.
        """
        return schema_version.read_json(self._meta(step), Progress, SCHEMA_VERSION, _OTHER)

    def restore_card(self, step: int) -> cards.Card:
        """Returns the card that was saved in `meta`: what these parameters were trained with.

        Raises:
          InputError: it cannot be read, or is of another schema_version.
        """
        return cards.from_json(self.restore_meta(step).card, f"{self._meta(step)}: card", _OTHER)

    def _meta(self, step: int) -> pathlib.Path:
        """The file that Orbax keeps `meta` in."""
        return self.folder / str(step) / "meta" / "metadata"

    def restore_model(self, step: int, like):
        """Returns the model's arrays with the shapes and shardings of `like`.

        Raises:
          InputError: the checkpoint holds other arrays, or cannot be read.
        """
        return self._restore(step, "model", like)

    def restore_optimizer(self, step: int, like):
        """Returns the optimiser's arrays with the shapes and shardings of `like`.

        Raises:
          InputError: the checkpoint holds other arrays, or cannot be read.
        """
        return self._restore(step, "optimizer", like)

    def misfit(self, step: int, item: str, like) -> str:
        """Returns the first array of an item ("model" or "optimizer") that is not as in `like`, in words, or ""."""
        with self._explain_reading(step):
            saved = _shapes(self._manager.item_metadata(step)[item].tree)
        wanted = _shapes(like)
        for name in sorted({*saved, *wanted}):
            if saved.get(name) != wanted.get(name):
                there, now = (str(of[name]) if name in of else "absent" for of in (saved, wanted))
                return f"{item} {name} (in the checkpoint {there}, now {now})"
        return ""

    def _restore(self, step: int, item: str, like):
        if misfit := self.misfit(step, item, like):
            raise InputError(
                f"{self.folder / str(step)}: holds other arrays than this network has: {misfit}; was config.json "
                "changed, or the code of the network?"
            )
        with self._explain_reading(step):
            return self._manager.restore(step, args=ocp.args.Composite(**{item: _restored_as(like)}))[item]

    def forget_after(self, step: int) -> None:
        """Deletes the checkpoints of later steps and unfinished ones: a resumed run makes them again."""
        for later in [s for s in self._manager.all_steps() if s > step]:
            self._manager.delete(later)
        if multihost.is_main_process():
            for unfinished in self._unfinished():
                shutil.rmtree(unfinished)

    def wait(self) -> None:
        """Waits until everything saved is on disk.

        Raises:
          InputError: a checkpoint could not be written.
        """
        with self._explain(None):
            self._manager.wait_until_finished()

    def _note_checksums(self) -> None:
        # There is only one, see `save`: `forget_after` removed what a kill left. Orbax still adds to its own file.
        (folder,) = self._unfinished()
        checksums.write(folder, checksums.below(folder, exclude=("_CHECKPOINT_METADATA",)))

    def _unfinished(self) -> list[pathlib.Path]:
        return list(self.folder.glob(f"*{ocp.utils.TMP_DIR_SUFFIX}*"))

    def _check_room(self, needed: int) -> None:
        """Raises InputError where the disk has no room for so many bytes."""
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise InputError(
                f"{self.folder}: the disk is full: {free / 1e6:,.1f} MB are free, and a checkpoint needs "
                f"{needed / 1e6:,.1f} MB; {self._kept()}; make room, and the same command goes on from there"
            )

    def _kept(self, exclude: int | None = None) -> str:
        kept = [step for step in _steps(self.folder) if step != exclude]
        return f"the one of step {max(kept)} is kept" if kept else "there is none before it"

    @contextlib.contextmanager
    def _explain(self, step: int | None) -> Iterator[None]:
        """Turns the errors of a file system into InputErrors of one line."""
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            if multihost.is_peer_failure(error):
                raise
            raise InputError(
                f"{self.folder}: a checkpoint cannot be written ({' '.join(str(error).split())[:300]}); "
                f"{self._kept(step)}; is the disk full, or the folder gone? When that is put right, the same command "
                "goes on from there"
            ) from error

    @contextlib.contextmanager
    def _explain_reading(self, step: int) -> Iterator[None]:
        """Turns what is raised of a checkpoint that cannot be read into InputErrors of one line."""
        try:
            yield
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            if multihost.is_peer_failure(error):
                raise
            raise InputError(
                f"{self.folder / str(step)}: cannot be read ({' '.join(str(error).split())[:300]}); is the folder "
                "whole, and no backslash in its path?"
            ) from error

    def close(self) -> None:
        """Waits for what is being saved, and frees Orbax's threads."""
        self._manager.close()


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    """Name of each array of a tree -> its shape; names are alike for a state and for what Orbax keeps of one."""
    return {
        ".".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", "")))) for key in path): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _restored_as(like) -> ocp.args.PyTreeRestore:
    return ocp.args.PyTreeRestore(like, ocp.checkpoint_utils.construct_restore_args(like))


def find(workdir: pathlib.Path, kind: str) -> tuple[Checkpoints, int]:
    """Finds the newest checkpoint of a kind.

    Args:
      workdir: of the run.
      kind: one of `KINDS`.

    Returns:
      The checkpoints of this kind, and the newest step.

    Raises:
      InputError: the kind is unknown, or there is no complete checkpoint.
    """
    if kind not in KINDS:
        raise InputError(f"--checkpoint={kind}: expected one of {', '.join(KINDS)}")
    folder = workdir / "checkpoints" / kind
    if "\\" in str(folder.absolute()):  # TensorStore reads a slash, and so another folder
        raise InputError(f"{folder.absolute()}: holds a backslash, and no checkpoint below can be read; rename it")
    others = [other for other in KINDS if other != kind and steps(workdir, other)]
    take = f"; take --checkpoint={' or '.join(others)}, or put back what was there" if others else ""
    if not folder.is_dir():
        again = take or f"; train first: lcjax train --config=... --workdir={workdir}"
        raise InputError(f"{folder}: no such folder{again}")
    checkpoints = Checkpoints(workdir, kind)
    step = checkpoints.latest()
    if step is None:
        checkpoints.close()
        again = take or "; let the training go on: the same train command again"
        raise InputError(f"{folder}: no whole checkpoint{'' if take else ' yet'}{again}")
    return checkpoints, step


def steps(workdir: pathlib.Path, kind: str) -> list[int]:
    """Returns the steps of the complete checkpoints of a kind, sorted; of a folder that is not there, none."""
    return _steps(workdir / "checkpoints" / kind)


def _steps(folder: pathlib.Path) -> list[int]:
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())
