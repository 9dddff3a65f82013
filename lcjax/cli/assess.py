"""`lcjax assess`: a random sample of a map for people to label; then its accuracy and areas, with intervals."""

import logging

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError

_log = logging.getLogger("lcjax.assess")

HELP = """Ask people what is really there, and tell what a map is worth.

  lcjax assess --map=maps/town.tif --sample --size=400 --training=runs/unet --scene=town.tif --output=assess/town
  (label the points in QGIS or in a spreadsheet)
  lcjax assess --labels=assess/town/points.gpkg

Counting the pixels of a map says how much it calls forest, not how much forest there is. A random sample of its pixels,
looked at by people who do not know what the map says there, tells both how often the map is right and what areas the
classes have, with 95 % intervals (Olofsson et al. 2014).

1. --sample draws it: from each class of the map (or from each stratum of --strata) a simple random sample without
   replacement, the same for the same --seed. OUTPUT then holds
     points.gpkg, points.csv   the points to label, in a random order: column label
     points.qml, classes.csv   a form for QGIS (the GeoPackage has it inside), and what labels can be
     chips/                    with --scene: a picture for each point, its pixel marked
     design.json               what the map says there. Do not open it before the points are labelled
   The sample is shared out by --allocation: in proportion to area with at least --minimum for each class, equal, or
   optimal. In place of --size, --standard_error=0.02 with --users_accuracy=0.8,Water=0.95 (guessed) says how sure
   overall accuracy shall be. Points may not lie on tiles that the network has learned from: --training names them.
2. Write into label, for each point, the name of a class, "cannot say", or nothing yet. Go by the order of the numbers:
   then the points that are done are a random sample at any time.
3. --labels=FILE reads them back, from CSV or GeoPackage, and writes the error matrix in shares of the area, user's,
   producer's and overall accuracy and the area of each class, with intervals: index.html, accuracy.csv,
   error_matrix.csv and assessment.json, in the folder assessment beside FILE.

Labels are never replaced: started again, --sample writes what is missing and leaves the rest. docs/assess.md goes the
whole way in ten minutes."""

_OF_SAMPLES = (
    *("size", "standard_error", "users_accuracy", "allocation", "minimum", "points", "strata", "legend", "seed"),
    *("training", "on_training", "scene", "bands"),
)
_EXAMPLE = "lcjax assess --map=MAP.tif --sample --size=400, or lcjax assess --labels=FILE"


def define_flags(flags) -> None:
    """The flags of the verb."""
    flags.DEFINE_string("map", None, "The map: made by `lcjax predict`, or any raster of class ids with --legend.")
    flags.DEFINE_bool("sample", False, "Draw a sample of the map.")
    flags.DEFINE_string(
        "labels", None, "The labelled points, CSV or GeoPackage: estimate accuracy and areas from them."
    )
    flags.DEFINE_string(
        "output", None, "Folder of the sample (by default MAP_sample beside the map), or of the result (assessment)."
    )
    flags.DEFINE_integer("size", None, "Number of points.")
    flags.DEFINE_float("standard_error", None, "In place of --size: the standard error of overall accuracy, e.g. 0.02.")
    flags.DEFINE_list(
        "users_accuracy", [], "What is guessed of the map: 0.8 for all classes, or 0.8,Water=0.95,Built-up=0.6."
    )
    flags.DEFINE_enum(
        "allocation", "proportional", ["proportional", "equal", "optimal"],
        "How the points are shared out: by area, equally, or by area times what is guessed to vary (Neyman).",
    )  # fmt: skip
    flags.DEFINE_integer("minimum", 50, "Points of each class, at least.")
    flags.DEFINE_list("points", [], "Points of single classes, whatever the rest says: Water=20,Wetlands=75.")
    flags.DEFINE_string("strata", None, "A raster on the grid of the map whose numbers are the strata (Stehman 2014).")
    flags.DEFINE_string("legend", None, "CSV with id,name,colour, for a map that has no legend of its own.")
    flags.DEFINE_integer("seed", 0, "Of the random numbers.")
    flags.DEFINE_string(
        "training", "", "Workdir of the run that made the map, or folder of its prepared data set. none: no tile of it "
        "lies on the map.",
    )  # fmt: skip
    flags.DEFINE_enum(
        "on_training", "refuse", ["refuse", "exclude", "allow"],
        "What to do about points on training tiles; exclude draws from all that lies elsewhere.",
    )  # fmt: skip
    flags.DEFINE_string("scene", None, "Images of the ground, separated by commas, for pictures of each point.")
    flags.DEFINE_list("bands", [], "The one or three bands that pictures show; by default true colour, or the first.")
    flags.DEFINE_string("design", None, "design.json of the sample, if it does not lie beside --labels.")


def run(flags) -> None:
    """Draws a sample, or estimates from labels. Raises InputError where something does not fit."""
    if flags.sample == bool(flags.labels):
        raise InputError(f"--sample, --labels: expected one of them: {_EXAMPLE}")
    (_sample if flags.sample else _estimate)(flags)


def _sample(flags) -> None:
    if not flags.map:
        raise InputError("--map is missing; expected the map, e.g. lcjax assess --map=MAP.tif --sample --size=400")
    if flags.design:
        raise InputError("--design: is of --labels; expected --output for the folder of a sample")
    from lcjax.assessment import sampling

    source = paths.given(flags.map, "--map")
    training = flags.training
    if training and training != sampling.NONE:
        training = str(paths.given(training, "--training"))
    request = sampling.Request(
        map=source,
        legend=paths.given(flags.legend, "--legend") if flags.legend else None,
        strata=paths.given(flags.strata, "--strata") if flags.strata else None,
        allocation=flags.allocation,
        size=flags.size,
        standard_error=flags.standard_error,
        users=_numbers(flags.users_accuracy, "--users_accuracy", float, nameless=True),
        minimum=flags.minimum,
        points=_numbers(flags.points, "--points", int),
        seed=flags.seed,
        training=training,
        on_training=flags.on_training,
        scenes=[paths.given(one, "--scene") for one in paths.several(flags.scene, "--scene")],
        bands=flags.bands,
    )
    output = paths.given(flags.output, "--output") if flags.output else source.with_name(f"{source.stem}_sample")
    sampling.sample(request, output)
    _log.info(f"next: label the points of {output}, then lcjax assess --labels={output}/points.csv (or .gpkg)")


def _estimate(flags) -> None:
    for name in _OF_SAMPLES:
        if flags[name].present:
            raise InputError(f"--{name}: is of --sample, and what was drawn with it stands in the design; leave it out")
    from lcjax.assessment import assess, design
    from lcjax.reporting import assessment_page, report

    labels = paths.given(flags.labels, "--labels")
    file = paths.given(flags.design, "--design") if flags.design else labels.with_name(design.FILE)
    if not file.is_file():
        raise InputError(
            f"--labels={labels}: there is no {file}; expected the {design.FILE} of the sample beside the labels, or "
            "--design=FILE"
        )
    found = assess.assess(labels, file, paths.given(flags.map, "--map") if flags.map else None)
    output = paths.given(flags.output, "--output") if flags.output else labels.with_name("assessment")
    files = {assess.PAGE: assessment_page.html(found)} | assess.tables(found)
    page = report.write(files, output)
    _log.info("%s", assess.summary(found))
    _log.info(f"page: {page}")


def _numbers(words, flag: str, kind, nameless: bool = False) -> dict:
    """Parses NAME=NUMBER words; one may be a number alone, without =, for all others, if `nameless`."""
    found: dict = {}
    for word in words:
        name, equals, number = word.rpartition("=")
        try:
            value = kind(number)
        except ValueError:
            value = None
        named = bool(name.strip()) if equals else nameless
        if value is None or not named or name.strip() in found:
            example = "0.8,Water=0.95" if nameless else "Water=20,Wetlands=75"
            raise InputError(f"{flag}: found {word!r}; expected each class once, e.g. {flag}={example}")
        found[name.strip()] = value
    return found
