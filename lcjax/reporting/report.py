"""Reports on finished runs and maps: one self-contained page, and its tables as files."""

import logging
import os
import pathlib

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError
from lcjax.reporting import differences, map_reader, page, patch_tables, run_reader, tables
from lcjax.reporting.report2024 import compare, writers

_log = logging.getLogger(__name__)


def render(workdirs: list[str], maps: list[str], reference: str = "") -> dict[str, str]:
    """Makes the files of a report.

    Args:
      workdirs: patterns of workdirs.
      maps: patterns of maps.
      reference: workdir of the run that the others are compared with; by default the best one of each table.

    Returns:
      Name of each file that a report may have -> its text; "" of one that this report does not have.

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
    against = _reference(reference, runs) if reference else ""
    compared = [differences.of_table(table, against) for table in score_tables]
    numbered = [(number, found) for number, (found, _) in enumerate(compared, 1)]
    scores = tables.to_markdown(score_tables) + differences.to_markdown(numbered)
    return {
        "index.html": page.html(runs, score_tables, land_maps, comparison, refused, compared, patches),
        "patches.csv": patch_tables.to_csv(patches) if patches else "",
        "patches.md": patch_tables.to_markdown(patches) if patches else "",
        "scores.csv": tables.to_csv(score_tables) if runs else "",
        "scores.md": scores if runs else "",
        "seeds.csv": tables.seeds_to_csv(score_tables),
        "differences.csv": differences.to_csv(numbered) if any(found for found, _ in compared) else "",
        "areas.csv": map_reader.to_csv(land_maps) if land_maps else "",
    } | {name: to_text(comparison) if comparison else "" for name, to_text in writers.FILES.items()}


def _reference(workdir: str, runs: list[run_reader.Run]) -> str:
    """Name of the run that the others are compared with.

    Raises:
      InputError: it is none of the runs, or another run cannot be compared with it.
    """
    named = [run for run in runs if paths.real(run.workdir) == paths.real(paths.given(workdir, "--reference"))]
    if not named:
        raise InputError(f"--reference={workdir}: none of the runs of --workdirs; expected one of them")
    if not named[0].evaluations:
        raise InputError(
            f"--reference={workdir}: has no scores of land cover; expected a segmentation run that was evaluated"
        )
    for run in runs:
        if run is named[0] or not run.evaluations:
            continue
        unlike = []
        for e in run.evaluations:
            for base in named[0].evaluations:
                try:
                    differences.check(base, e)
                except InputError as error:
                    unlike.append(error)
        if len(unlike) == len(run.evaluations) * len(named[0].evaluations):
            raise InputError(f"--reference={workdir}: {unlike[0]}")
    return named[0].name


def write(files: dict[str, str], output: pathlib.Path) -> pathlib.Path:
    """Writes all files under temporary names and then renames them, so that an old report stays whole until then.

    Args:
      files: name -> text; a file whose text is "" is not written, and one of its name that an older report left is
        removed.
      output: folder to write to.

    Returns:
      The path of the page.

    Raises:
      InputError: the folder cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        temporary = {name: output / f".{name}.{os.getpid()}.tmp" for name, text in files.items() if text}
        try:
            for name, path in temporary.items():
                path.write_text(files[name], encoding="utf-8")
            for name, path in temporary.items():
                path.replace(output / name)
            for name in files.keys() - temporary.keys():
                (output / name).unlink(missing_ok=True)
        finally:
            for path in temporary.values():
                path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"--output={output}: cannot write there ({error.strerror}); expected a folder that you may write to"
        ) from error
    return output / "index.html"
