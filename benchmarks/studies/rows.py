"""What a study has found, as one file that it can begin with elsewhere: its choices, if any, and a row for each run."""

import csv
import io
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence

from data_pipelines.schema.files import write_atomically

OF_PAGES = "benchmarks/studies/ombria.jsonl or transfer.jsonl, which the pages of docs/ are written from"


def sheet(found: Sequence[Mapping], columns: Sequence[str]) -> str:
    """CSV of these columns; numbers to six digits, and nothing where a row lacks one."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in one.items()} for one in found)
    return stream.getvalue()


def text(output: pathlib.Path) -> str:
    """The choices of a study, where they are made, and the rows of all its runs with labels, a line of JSON each."""
    files = [output / "choices.json", *sorted(output.glob("runs/*/row.json"))]
    kept = [path for path in files if path.exists() and not path.parent.name.startswith("pretrain_")]
    told = [{"file": path.relative_to(output).as_posix(), "holds": json.loads(path.read_text())} for path in kept]
    return "".join(json.dumps(one) + "\n" for one in told)


def take(output: pathlib.Path, source: pathlib.Path) -> None:
    """Puts what a file of `text` tells of where a study looks for it; what is there already stays."""
    if not source.is_file():
        sys.exit(f"{source}: no such file; expected one such as {OF_PAGES}")
    for number, line in enumerate(source.read_text().splitlines(), 1):
        try:
            one = json.loads(line)
            name, holds = one["file"], one["holds"]
        except (ValueError, KeyError, TypeError) as error:
            sys.exit(f"{source}, line {number}: {line[:60]!r} ({error}): expected a line as studies write them")
        match pathlib.PurePosixPath(name).parts:
            case ("choices.json",):
                pass
            case ("runs", folder, "row.json") if folder != "..":
                pass
            case _:
                sys.exit(f"{source}, line {number}: {name!r}: expected choices.json or runs/NAME/row.json")
        path = output / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(holds))
