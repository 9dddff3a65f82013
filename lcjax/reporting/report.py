"""A report: finished runs and maps in, one self-contained page and its tables as files out."""

import os
import pathlib

from data_pipelines.schema.errors import InputError
from lcjax.reporting import map_reader, page, run_reader, tables
from lcjax.reporting.report2024 import compare, writers


def render(workdirs: list[str], maps: list[str]) -> dict[str, str]:
    """File name -> text of everything that a report consists of, for the workdirs and maps that match."""
    found = run_reader.read(run_reader.find(workdirs)) if workdirs else []
    shown = map_reader.read(map_reader.find(maps)) if maps else []
    compared, laid = tables.tables(found), compare.lay(found)
    files = {"index.html": page.html(found, compared, shown, laid)}
    if found:
        files |= {"scores.csv": tables.to_csv(compared), "scores.md": tables.to_markdown(compared)}
    if laid:
        files |= {name: written(laid) for name, written in writers.FILES.items()}
    if shown:
        files["areas.csv"] = map_reader.to_csv(shown)
    return files


def write(files: dict[str, str], output: pathlib.Path) -> pathlib.Path:
    """Writes each file under a temporary name and renames it, so that an old report is whole until the new one is.

    Returns the path of the page. Raises InputError where the folder cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        temporary = {name: output / f".{name}.{os.getpid()}.tmp" for name in files}
        try:
            for name, text in files.items():
                temporary[name].write_text(text, encoding="utf-8")
            for name, path in temporary.items():
                path.replace(output / name)
        finally:
            for path in temporary.values():
                path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"--output={output}: cannot write there ({error.strerror}); expected a folder that you may write to"
        ) from error
    return output / "index.html"
