"""Our side of a scene: from its GeoTIFFs to the map and all that lies beside it, as `lcjax predict` goes."""

import itertools
import logging
import pathlib
import sys
import tempfile

import worker
from cases import CASES, SCENE
from lcjax_worker import config_of

from data_pipelines.benchmark import made_up_scene
from lcjax.engine import experiment as experiments
from lcjax.mapping import scene
from lcjax.mapping.mapper import Mapper
from lcjax.mapping.options import Options
from lcjax.profiling import inference


def _build(case, precision: str, batch: int, folder: pathlib.Path):
    experiment = experiments.build_without_data(config_of(case, precision, batch, "jit"))
    trained = inference.untrained(experiment)
    mapper, card = Mapper.of_trained(trained, "made up"), experiment.card
    files = {one.name: made_up_scene.write(folder / f"{one.name}.tif", one, SCENE) for one in card.sensors}
    logging.getLogger("lcjax.mapping").setLevel(logging.WARNING)
    names = (folder / f"map_{number}.tif" for number in itertools.count())

    def call() -> None:
        with scene.open_scene(card, files, offset=0.0) as opened:  # random numbers tell nothing of a baseline
            mapper.map(opened, next(names), Options(batch_size=batch))

    return call, sum(value.size for value in trained.parameters.values())


def main(name: str, mode: str, precision: str, batch: str, output: str, how: str) -> None:
    """Serves a side of a case."""
    with tempfile.TemporaryDirectory() as folder:
        worker.serve(lambda: _build(CASES[name], precision, int(batch), pathlib.Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
