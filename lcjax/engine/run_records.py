"""The records of a run's splits, opened again after it was trained: the same ones, or none."""

import pathlib

from data_pipelines.reading.dataset import open_dataset
from data_pipelines.reading.interfaces import Dataset, Source
from data_pipelines.schema.errors import InputError
from lcjax.engine import restore
from lcjax.parallel import multihost
from lcjax.runs import model_card as cards


def check_role(card: cards.Card, role: str) -> None:
    """Raises InputError where a run has no split of this role."""
    if role not in card.splits:
        raise InputError(f"--split={role}: expected one of {', '.join(card.splits)}")


def opened(
    folder: pathlib.Path, trained: restore.Trained, role: str, data_dir: str | None = None, data: Dataset | None = None
) -> tuple[Dataset, Source]:
    """Opens the data set of a run, and its records of a role.

    Args:
      folder: workdir of the run.
      trained: its network.
      role: that `check_role` knows.
      data_dir: where the prepared data set lies, if not where it lay in training.
      data: the data set itself, which a run on arrays needs.

    Raises:
      InputError: the data are not there, or hold other records than in training.
    """
    split = trained.card.splits[role]
    with multihost.raise_on_all():
        dataset = data or _prepared(folder, trained, data_dir)
        source = dataset.source(split["spec"])
        if dataset.split_id(split["spec"]) != split["id"]:
            where = "memory" if dataset.folder is None else str(dataset.folder)
            raise InputError(
                f"{dataset.name} in {where}: {split['spec']!r} holds other records, images or labels than in training; "
                "give the data that the run was trained from (--data_dir, or data= in Python)"
            )
    return dataset, source


def _prepared(folder: pathlib.Path, trained: restore.Trained, data_dir: str | None) -> Dataset:
    config = trained.config
    if trained.card.data_in_memory:
        raise InputError(
            f"{folder}: this run was trained on arrays, and its data live in Python: evaluate it there, with "
            "lcjax.evaluate(workdir, data=...)"
        )
    return open_dataset(data_dir or config.data_dir, config.dataset, legend=config.legend, bands=config.bands)
