"""`lcjax report`: finished runs and maps in, one self-contained page of tables and figures out."""

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError

HELP = """Compare finished runs and show maps on one page.

  lcjax report --workdirs='runs/*' --output=runs/report
  lcjax report --workdirs=runs/unet,runs/swin_unet --maps='maps/*.tif' --output=runs/report
  lcjax report --maps='maps/*.tif' --output=maps/report

Reads the config, the metric curves and the evaluations of every workdir (run `lcjax evaluate --workdir=...` first;
pre-training runs need none: they appear in the curves) and writes OUTPUT/index.html, which holds all its pictures and
opens without a network, with OUTPUT/scores.csv (every score in full precision) and OUTPUT/scores.md.

Runs that were scored on another split, class set, data set or size of tiles stand in tables of their own. Runs that
differ in nothing but their seed are one line: mean, deviation, number of seeds; also in OUTPUT/seeds.csv.

"Is 0.62 better than 0.60?": each run is compared with the best one of its table, or with --reference=WORKDIR, on the
same records: difference, 95 % interval, how often each wins; also in OUTPUT/differences.csv. docs/scores.md says how to
read it. Runs that cannot be compared with --reference are refused.

Runs whose config names a cell of the 2024 report's tables (config.cell=flair/unet; docs/report.md has the names) are
laid beside the printed figures too: on the page and in OUTPUT/paper.md, paper.csv and paper.tex.

Of maps, the page shows the picture and the pixels, percent and hectares of each class that `lcjax predict` left beside
them; OUTPUT/areas.csv has the tables of all maps below each other.
"""


_EXAMPLE = "e.g. lcjax report --workdirs='runs/*' --output=runs/report"


def define_flags(flags) -> None:
    """Defines --workdirs, --maps, --reference and --output on the absl.flags module that is given."""
    flags.DEFINE_string(
        "workdirs", None, "workdirs of runs: folders or patterns, separated by commas; ** matches any depth (quote it)"
    )
    flags.DEFINE_string(
        "maps", None, "maps made by `lcjax predict`: files or patterns, separated by commas (quote them)"
    )
    flags.DEFINE_string(
        "reference", None, "workdir of the run that the others are compared with (default: the best of each table)"
    )
    flags.DEFINE_string("output", None, "folder for index.html and the tables as files; made where it is missing")


def run(flags) -> None:
    """Writes the page and the tables. Raises InputError, before anything is written, where input is wrong."""
    workdirs, maps = paths.several(flags.workdirs, "--workdirs"), paths.several(flags.maps, "--maps")
    if not workdirs and not maps:
        raise InputError(f"--workdirs is missing, and so is --maps: expected at least one of them, {_EXAMPLE}")
    if not flags.output:
        raise InputError(f"--output is missing: expected a folder for the page, {_EXAMPLE}")
    output = paths.given(flags.output, "--output")
    # matplotlib is behind them: `--help` need not wait for it
    from lcjax.reporting import report

    files = report.render(workdirs, maps, flags.reference or "")
    page = report.write(files, output)
    print(files.get("scores.md", ""), end="")
    print(f"page: {page}")
