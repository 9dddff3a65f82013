"""Checkpoints: the only file that knows Orbax.

A checkpoint is one folder with three items: `model` (parameters and statistics, all that evaluation needs),
`optimizer`, and `meta` (JSON: the card, data position, what evaluation remembers), and the checksums of their files. It
appears under its name only when it is whole. `last` and `best` are two folders of copies. All processes of a run call
these functions; each writes and reads its part of the arrays.
"""

import contextlib
import pathlib
import shutil

import jax
import orbax.checkpoint as ocp

from data_pipelines.schema.errors import InputError
from lcjax.parallel import multihost
from lcjax.runs import checksums

KINDS = ("last", "best")

# An array that lies whole on many devices is written by the first of them unless it is large: to cut it into a piece
# for each device takes longer than to write it.
_PIECE = 16 << 20  # bytes
_ARRAYS = ocp.type_handlers.create_type_handler_registry(
    (jax.Array, ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=_PIECE))
)


class Checkpoints:
    """The checkpoints of one kind of a workdir; saving returns at once and goes on in the background."""

    def __init__(self, workdir: pathlib.Path, kind: str, keep: int = 2):
        """Of the copies `keep` stay: the newest may be damaged, or of a step that a run goes on from before."""
        self.folder = workdir.absolute() / "checkpoints" / kind
        # Orbax calls it in process 0, in the background, when all files are written, and gives them their name then.
        sums = ocp.AsyncOptions(post_finalization_callback=self._note_checksums)
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True, async_options=sums)
        handlers = {
            "model": ocp.PyTreeCheckpointHandler(type_handler_registry=_ARRAYS),
            "optimizer": ocp.PyTreeCheckpointHandler(type_handler_registry=_ARRAYS),
            "meta": ocp.JsonCheckpointHandler(),
        }
        self._manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)

    def latest(self) -> int | None:
        """The step of the newest whole checkpoint."""
        return self._manager.latest_step()

    def latest_undamaged(self) -> tuple[int | None, list[str]]:
        """The step of the newest checkpoint whose files are as they were written, and what was found of newer ones."""
        told: list[str] = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            if not (damage := self.damage(step)):
                return step, told
            told.append(damage)
        return None, told

    def damage(self, step: int) -> str:
        """What is wrong with a checkpoint's files, with its path; "" where nothing is."""
        folder = self.folder / str(step)
        found = checksums.damage(folder) if multihost.is_main_process() else ""
        found = multihost.from_main_process(found)
        return f"{folder} is damaged: {found}" if found else ""

    def save(self, step: int, *, model: dict, optimizer, meta: dict) -> None:
        """Saves a copy of the arrays under `step`; one that is there already is the same and stays.

        To be called when nothing else is being saved any more (`wait`), of this kind or another.
        """
        if step in self._manager.all_steps():
            return
        items = ocp.args.Composite(
            model=ocp.args.PyTreeSave(model),
            optimizer=ocp.args.PyTreeSave(optimizer),
            meta=ocp.args.JsonSave(meta),
        )
        self._check_room(sum(leaf.nbytes for leaf in jax.tree.leaves((model, optimizer))))
        # Orbax copies the arrays to the host itself: the one transfer in the loop that is meant.
        with jax.transfer_guard("allow"), self._told_of(step):
            self._manager.save(step, args=items, force=True)

    def restore_meta(self, step: int) -> dict:
        """What was saved as `meta`."""
        return self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta

    def restore_model(self, step: int, like):
        """The model's arrays, with the shapes and shardings of `like`."""
        return self._manager.restore(step, args=ocp.args.Composite(model=_restored_as(like))).model

    def restore_optimizer(self, step: int, like):
        """The optimiser's arrays, with the shapes and shardings of `like`."""
        return self._manager.restore(step, args=ocp.args.Composite(optimizer=_restored_as(like))).optimizer

    def forget_after(self, step: int) -> None:
        """Deletes the checkpoints of later steps, and what a kill left of one: a run that goes on makes them again."""
        for later in [s for s in self._manager.all_steps() if s > step]:
            self._manager.delete(later)
        if multihost.is_main_process():
            for unfinished in self._unfinished():
                shutil.rmtree(unfinished)

    def wait(self) -> None:
        """Returns when everything saved is on disk. Raises InputError where it is not."""
        with self._told_of(None):
            self._manager.wait_until_finished()

    def _note_checksums(self) -> None:
        # One at a time, see `save`; `forget_after` cleared away what a kill left. Orbax adds to its own file once more.
        (folder,) = self._unfinished()
        checksums.write(folder, but=("_CHECKPOINT_METADATA",))

    def _unfinished(self) -> list[pathlib.Path]:
        return list(self.folder.glob(f"*{ocp.utils.TMP_DIR_SUFFIX}*"))

    def _check_room(self, needed: int) -> None:
        """Raises InputError before anything is written that would not find room."""
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise InputError(
                f"{self.folder}: the disk is full: {free / 1e6:,.1f} MB are free, and a checkpoint needs "
                f"{needed / 1e6:,.1f} MB; {self._kept()}; make room, and the same command goes on from there"
            )

    def _kept(self, but: int | None = None) -> str:
        whole = [int(path.name) for path in self.folder.glob("*") if path.name.isdigit() and int(path.name) != but]
        return f"the one of step {max(whole)} is kept" if whole else "there is none before it"

    @contextlib.contextmanager
    def _told_of(self, step: int | None):
        """Says in one line what went wrong with a file system."""
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

    def close(self) -> None:
        self._manager.close()


def _restored_as(like) -> ocp.args.PyTreeRestore:
    return ocp.args.PyTreeRestore(like, ocp.checkpoint_utils.construct_restore_args(like))


def find(workdir: pathlib.Path, kind: str) -> tuple[Checkpoints, int]:
    """The newest checkpoint of a kind ("best" or "last"). Raises InputError where there is none."""
    if kind not in KINDS:
        raise InputError(f"--checkpoint={kind}: expected one of {', '.join(KINDS)}")
    folder = workdir / "checkpoints" / kind
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; train first: lcjax train --config=... --workdir={workdir}")
    checkpoints = Checkpoints(workdir, kind)
    step = checkpoints.latest()
    if step is None:
        raise InputError(f"{folder}: no whole checkpoint yet; let the training go on: the same train command again")
    return checkpoints, step
