"""Reports on finished runs and maps: one self-contained page, and its tables as files."""

import logging
import os
import pathlib

from data_pipelines.schema.errors import InputError
from lcjax.reporting import map_reader, page, patch_tables, run_reader, tables
from lcjax.reporting.report2024 import compare, writers

_log = logging.getLogger(__name__)


def render(workdirs: list[str], maps: list[str]) -> dict[str, str]:
    """Makes the files of a report.

    Args:
      workdirs: patterns of workdirs.
      maps: patterns of maps.

    Returns:
      File name -> text.

    Raises:
      InputError: nothing matches, or a file cannot be read.
    """
    refused: list[str] = []
    runs = run_reader.read(run_reader.find(workdirs), refused) if workdirs else []
    for line in refused:
        _log.warning("left out: %s", line)
    land_maps = map_reader.read(map_reader.find(maps)) if maps else []
    score_tables, comparison = tables.tables(runs), compare.compare(runs)
    patches = patch_tables.tables(runs)
    files = {"index.html": page.html(runs, score_tables, land_maps, comparison, refused, patches)}
    if patches:
        files |= {"patches.csv": patch_tables.to_csv(patches), "patches.md": patch_tables.to_markdown(patches)}
    if runs:
        files |= {"scores.csv": tables.to_csv(score_tables), "scores.md": tables.to_markdown(score_tables)}
    if comparison:
        files |= {name: to_text(comparison) for name, to_text in writers.FILES.items()}
    if land_maps:
        files["areas.csv"] = map_reader.to_csv(land_maps)
    return files


def write(files: dict[str, str], output: pathlib.Path) -> pathlib.Path:
    """Writes all files under temporary names and then renames them, so that an old report stays whole until then.

    Args:
      files: name -> text.
      output: folder to write to.

    Returns:
      The path of the page.

    Raises:
      InputError: the folder cannot be written.
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
