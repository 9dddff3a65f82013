"""Published protocols by name: what a config takes from one, and whether a run still follows it."""

import pathlib
from collections.abc import Mapping

from data_pipelines.datasets import registry
from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import DatasetFamily, Protocol
from data_pipelines.schema.splits import LIST


def of_dataset(dataset: str) -> tuple[Protocol, ...]:
    """Returns the protocols of a data set. Raises InputError for one that is unknown."""
    entry = registry.entry(dataset)
    return () if isinstance(entry, DatasetFamily) else entry.protocols


def named(dataset: str, name: str) -> Protocol:
    """Returns a protocol of a data set. Raises InputError where it has none of this name."""
    known = {protocol.name: protocol for protocol in of_dataset(dataset)}
    if name not in known:
        expected = f"expected one of {', '.join(known)}" if known else "it has none"
        raise InputError(f"config.protocol={name!r}: no protocol of {dataset}; {expected} (`lcjax info protocols`)")
    return known[name]


def splits(protocol: Protocol, lists: str) -> dict[str, str]:
    """Returns role -> split, with the files of lists in the folder `lists`.

    Raises:
      InputError: the protocol has lists and no folder is given, or the other way round.
    """
    if protocol.lists_from and not lists:
        files = ", ".join(file_of(spec) for spec in protocol.splits.values() if spec)
        raise InputError(
            f"config.protocol={protocol.name!r}: its records stand in {files}, which lcjax does not carry; take them "
            f"out of {protocol.lists_from}, and give their folder as lists=DIR"
        )
    if lists and not protocol.lists_from:
        raise InputError(f"lists={lists}: the protocol {protocol.name} has no lists; leave it out")
    return {
        role: f"{LIST}{pathlib.Path(lists) / file_of(spec)}" if spec.startswith(LIST) else spec
        for role, spec in protocol.splits.items()
    }


def file_of(spec: str) -> str:
    """Returns the name of the file of a list, "list:FILE"; of another split the split."""
    return pathlib.PurePath(spec.removeprefix(LIST)).name if spec.startswith(LIST) else spec


def check_asked(dataset: str, name: str, asked: Mapping[str, str], legend: str) -> None:
    """Raises InputError where a config names a protocol and other splits or classes, or a list is not there.

    Args:
      dataset: of the config.
      name: of the protocol; nothing is looked at where it is empty.
      asked: role -> split, of the config.
      legend: of the config.
    """
    if not name:
        return
    protocol = named(dataset, name)
    stored = registry.dataset(dataset).legend.name
    fields = {"legend": (legend, legend or stored, protocol.legend or stored)}
    for role, wanted in protocol.splits.items():
        spec = asked.get(role, "").strip()
        fields[f"split.{role}"] = (spec, file_of(spec), file_of(wanted))
    for field, (given, found, wanted) in fields.items():
        if found != wanted:
            raise InputError(
                f"config.{field}={given!r}: the protocol {name} has {wanted!r}; the argument protocol={name} of the "
                "config sets all that belongs to it, and config.protocol='' goes by no protocol"
            )
    for role, number in zip(protocol.splits, protocol.records, strict=True):
        if not protocol.splits[role].startswith(LIST):
            continue
        path = paths.given(asked[role].strip().removeprefix(LIST), f"config.split.{role}")
        if not path.is_file():
            raise InputError(
                f"{path}: no such file; expected the list of the {number:,} records for {role} of the protocol {name}; "
                f"take it out of {protocol.lists_from}, and give its folder as lists=DIR"
            )


def check_records(dataset: str, name: str, records: Mapping[str, int]) -> None:
    """Raises InputError where the roles of a run (role -> records) are not as many as the protocol says."""
    if not name:
        return
    protocol = named(dataset, name)
    for role, wanted in zip(protocol.splits, protocol.records, strict=True):
        if records.get(role, 0) != wanted:
            raise InputError(
                f"config.protocol={name!r}: {role} holds {records.get(role, 0):,} records, the protocol {wanted:,}; "
                "were records refused (refused.csv), or is the download or the list not whole? Put that right, or set "
                "config.protocol='' for scores that do not go by its name"
            )


def warnings(dataset: str, name: str) -> list[str]:
    """Returns what a reader of the scores of a protocol must know."""
    warning = named(dataset, name).warning if name else ""
    return [f"protocol {name}: {warning}"] if warning else []
