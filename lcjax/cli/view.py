"""`lcjax view`: a map of any size as a page on this machine."""

import signal
import webbrowser

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError

HELP = """Look at a map, whatever its size, in the browser.

  lcjax view maps/town.tif
  lcjax view maps/town.tif --scene=optical.tif --truth=labels.tif
  lcjax view maps/town.tif --scene=optical.tif --bands=B8,B4,B3 --port=8800

Prints the address of a page, and serves it until Ctrl-C. The page shows the map beside the scene and the truth, or one
under the other with a swipe between them; classes can be switched off, the map made see-through, and what is seen
saved as a PNG. Under the cursor stand the class, the numbers of the scene, the place and, where MAP_confidence.tif lies
beside the map, the confidence. MAP.areas.csv gives the areas of the legend.

Pixels are read where somebody looks, from the overviews of the file: maps of lcjax have them, and other rasters get
them by `gdal_translate -of COG`. Scene and truth may have another grid or CRS than the map; the nearest pixels are
shown. Truth is a raster with the numbers of the map's classes.

The page is for this machine alone: it is served on 127.0.0.1 under an address that cannot be guessed, and holds these
files and no other. From a machine elsewhere: `ssh -L 8800:localhost:8800 MACHINE`, there `lcjax view ... --port=8800`,
and here the address that it prints.
"""

_EXAMPLE = "e.g. lcjax view map.tif --scene=scene.tif"


def define_flags(flags) -> None:
    """Defines the verb's flags on `flags` (absl.flags)."""
    flags.DEFINE_string("map", None, "Map to look at, as `lcjax predict` writes it.")
    flags.DEFINE_string("scene", None, "Image of the same ground.")
    flags.DEFINE_string("truth", None, "Raster of labels of the same ground, with the numbers of the map's classes.")
    flags.DEFINE_list("bands", [], "The one or three bands of the scene to show; by default true colour, or the first.")
    flags.DEFINE_string("legend", None, "CSV with id,name,colour, for a map that has no legend of its own.")
    flags.DEFINE_integer("port", 0, "To serve on; 0 for any that is free.", lower_bound=0, upper_bound=65_535)
    flags.DEFINE_bool("open", False, "Open the page in the browser.")


def run(flags) -> None:
    """Serves the page. Raises InputError, before anything is served, where something does not fit."""
    if not flags.map:
        raise InputError(f"--map is missing; expected a map, {_EXAMPLE}")
    if flags.bands and not flags.scene:
        raise InputError(
            f"--bands={','.join(flags.bands)}: are of --scene, which is missing; expected both, {_EXAMPLE}"
        )
    from lcjax.viewing import ground, server

    given = {
        name: paths.given(getattr(flags, name), f"--{name}") if getattr(flags, name) else None
        for name in ("scene", "truth", "legend")
    }
    shown = ground.opened(paths.given(flags.map, "--map"), bands=flags.bands, **given)
    # A shell has what it starts in the background ignore Ctrl-C: what ends that ends as quietly.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server.serve(server.Server(shown, flags.port), _opened if flags.open else _told)


def _told(url: str) -> None:
    print(f"page: {url}\nCtrl-C ends it", flush=True)


def _opened(url: str) -> None:
    _told(url)
    webbrowser.open(url)
