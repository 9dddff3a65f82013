"""The verb `report`: finished runs in, one self-contained page of tables and figures out."""

import os
import pathlib

from data_pipelines.errors import InputError

HELP = """Compare finished runs on one page.

  lcjax report --workdirs='runs/*' --output=runs/report
  lcjax report --workdirs=runs/unet,runs/swin_unet --output=runs/report

Reads the config, the metric curves and the evaluations of every workdir (run `lcjax evaluate --workdir=...` first;
pre-training runs need none: they appear in the curves) and writes OUTPUT/index.html, which holds all its pictures and
opens without a network, with OUTPUT/scores.csv (every score in full precision) and OUTPUT/scores.md.

Runs that were scored on another split, class set or data set stand in tables of their own.
"""


def define_flags(flags) -> None:
    """Defines --workdirs and --output on the absl.flags module that is given."""
    flags.DEFINE_list(
        "workdirs", None, "workdirs of runs: folders or patterns, separated by commas; ** matches any depth (quote it)"
    )
    flags.DEFINE_string("output", None, "folder for index.html, scores.csv and scores.md; made where it is missing")


def run(flags) -> None:
    """Writes the page and the tables. Raises InputError, before anything is written, where input is wrong."""
    example = "e.g. lcjax report --workdirs='runs/*' --output=runs/report"
    if not flags.workdirs:
        raise InputError(f"--workdirs is missing: expected folders or a quoted pattern, {example}")
    if not flags.output:
        raise InputError(f"--output is missing: expected a folder for the page, {example}")
    files = render([pattern for pattern in flags.workdirs if pattern])
    page = write(files, pathlib.Path(flags.output))
    print(files["scores.md"])
    print(f"page: {page}")


def render(patterns: list[str]) -> dict[str, str]:
    """File name -> text of everything that a report consists of, for the workdirs that match."""
    from lcjax import page, runs, tables  # matplotlib is behind them: `--help` need not wait for it

    found = runs.read(runs.find(patterns))
    compared = tables.tables(found)
    return {
        "index.html": page.html(found, compared),
        "scores.csv": tables.to_csv(compared),
        "scores.md": tables.to_markdown(compared),
    }


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
