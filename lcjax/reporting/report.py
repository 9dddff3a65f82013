"""The verb `report`: finished runs and maps in, one self-contained page of tables and figures out."""

import os
import pathlib

from data_pipelines.schema.errors import InputError

HELP = """Compare finished runs and show maps on one page.

  lcjax report --workdirs='runs/*' --output=runs/report
  lcjax report --workdirs=runs/unet,runs/swin_unet --maps='maps/*.tif' --output=runs/report
  lcjax report --maps='maps/*.tif' --output=maps/report

Reads the config, the metric curves and the evaluations of every workdir (run `lcjax evaluate --workdir=...` first;
pre-training runs need none: they appear in the curves) and writes OUTPUT/index.html, which holds all its pictures and
opens without a network, with OUTPUT/scores.csv (every score in full precision) and OUTPUT/scores.md.

Runs that were scored on another split, class set, data set or size of tiles stand in tables of their own.

Runs whose config names a cell of the 2024 report's tables (config.cell=flair/unet; docs/report.md has the names) are
laid beside the printed figures too: on the page and in OUTPUT/paper.md, paper.csv and paper.tex.

Of maps, the page shows the picture and the pixels, percent and hectares of each class that `lcjax predict` left beside
them; OUTPUT/areas.csv has the tables of all maps below each other.
"""
_EXAMPLE = "e.g. lcjax report --workdirs='runs/*' --output=runs/report"


def define_flags(flags) -> None:
    """Defines --workdirs, --maps and --output on the absl.flags module that is given."""
    flags.DEFINE_list(
        "workdirs", None, "workdirs of runs: folders or patterns, separated by commas; ** matches any depth (quote it)"
    )
    flags.DEFINE_list("maps", None, "maps made by `lcjax predict`: files or patterns, separated by commas (quote them)")
    flags.DEFINE_string("output", None, "folder for index.html and the tables as files; made where it is missing")


def run(flags) -> None:
    """Writes the page and the tables. Raises InputError, before anything is written, where input is wrong."""
    workdirs, maps = ([pattern for pattern in given or () if pattern] for given in (flags.workdirs, flags.maps))
    if not workdirs and not maps:
        raise InputError(f"--workdirs is missing, and so is --maps: expected at least one of them, {_EXAMPLE}")
    if not flags.output:
        raise InputError(f"--output is missing: expected a folder for the page, {_EXAMPLE}")
    files = render(workdirs, maps)
    page = write(files, pathlib.Path(flags.output))
    print(files.get("scores.md", ""), end="")
    print(f"page: {page}")


def render(workdirs: list[str], maps: list[str]) -> dict[str, str]:
    """File name -> text of everything that a report consists of, for the workdirs and maps that match."""
    # matplotlib is behind them: `--help` need not wait for it
    from lcjax.reporting import map_reader, page, run_reader, tables
    from lcjax.reporting.report2024 import compare, text

    found = run_reader.read(run_reader.find(workdirs)) if workdirs else []
    shown = map_reader.read(map_reader.find(maps)) if maps else []
    compared, laid = tables.tables(found), compare.lay(found)
    files = {"index.html": page.html(found, compared, shown, laid)}
    if found:
        files |= {"scores.csv": tables.to_csv(compared), "scores.md": tables.to_markdown(compared)}
    if laid:
        files |= {name: written(laid) for name, written in text.FILES.items()}
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
