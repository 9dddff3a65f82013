"""Our side of reading: batches of all sensors and the label, as `lcjax train` draws them from its shards."""

import pathlib
import sys

import records
import worker
from cases import BATCHES

from data_pipelines.benchmark import input_variants
from data_pipelines.reading import loader
from data_pipelines.reading.dataset import open_dataset

AHEAD = 6  # batches that empty what was read ahead while others had their turn


def main(name: str, mode: str, precision: str, batch: str, output: str, how: str) -> None:
    """Serves a side of a case."""
    source = input_variants.source_of(open_dataset(records.folder_of(pathlib.Path(output), name), name))
    batches = loader.train_batches(
        source,
        batch_size=int(batch),
        seed=0,
        position=0,
        keys=tuple(input_variants.images(source[0])),
        crop=input_variants.KINDS[name].crop,
        threads=2,  # the default of config.threads
    )
    worker.serve(
        lambda: (lambda: [next(batches) for _ in range(BATCHES)], 0),
        before=lambda: [next(batches) for _ in range(AHEAD)],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
