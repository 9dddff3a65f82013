"""How fast records are read: from shards, as they are and otherwise compressed, and from GeoTIFFs, in one run.

Every way (ways.py) reads the same records in random order, in one thread, from a warm page cache. The ways take turns,
so that what else the machine does disturbs all of them alike.

Two rates are measured: records per second of the clock, and per second of CPU time, of all threads and worker
processes. The second is what one core reads; it alone is compared, because some readers use more cores than one.
"""

import dataclasses
import functools
import multiprocessing
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.benchmark import input_variants
from data_pipelines.datasets import registry as datasets
from data_pipelines.prepare import pipeline
from data_pipelines.reading import loader
from data_pipelines.reading.dataset import open_dataset
from data_pipelines.reading.interfaces import Source

TITLES = {
    "shards": "shards, read by the loader",
    "shards_rgb": "the same, red, green and blue alone",
    "shards_tfds": "the same shards, read by TFDS",
    "shards_zstd": "compressed by ArrayRecord (zstd), read by TFDS",
    "shards_snappy": "compressed by ArrayRecord (snappy), read by TFDS",
    "shards_zlib": "compressed by TFDS (ZLIB)",
    "shards_numbers": "numbers, not bytes (TFDS's default, NONE)",
    "geotiff": "GeoTIFF, not compressed, rasterio",
    "geotiff_deflate": "GeoTIFF, deflate, rasterio",
    "geotiff_deflate_bands": "GeoTIFF, deflate, each band one strip, rasterio",
    "torchgeo_style": "GeoTIFF, not compressed, as torchgeo does",
    "torchgeo_style_deflate": "GeoTIFF, deflate, as torchgeo does",
}
_BATCH = 32
_WARM_UP, _BATCHES = 6, 8  # batches before the clock runs, which empty what was read ahead, and those that are timed
LOADERS = ((0, 0), (1, 0), (2, 0), (4, 0), (1, 1), (1, 2))  # threads, worker processes
_DEFAULT = (2, 0)  # config.threads and config.workers
_DEMANDS = (1000, 5000)  # images per second of one accelerator


@dataclasses.dataclass(frozen=True)
class Rate:
    """Records per second of the clock and per second of CPU time, of several repetitions."""

    wall: Sequence[float]
    cpu: Sequence[float]

    def to_json(self) -> dict[str, float | list[float]]:
        """The rates as they stand in the JSON file of figures."""
        return {
            name: value
            for which, values in (("wall", self.wall), ("cpu", self.cpu))
            for name, value in (
                (f"records_per_{which}_second", statistics.median(values)),
                (f"{which}_spread", [min(values), max(values)]),
            )
        }


def measure(
    folder: pathlib.Path,
    *,
    records: int = 64,
    repeats: int = 5,
    kinds: Sequence[str] = tuple(input_variants.KINDS),
    loaders: Sequence[tuple[int, int]] = LOADERS,
) -> dict[str, Any]:
    """The figures of all ways to read, by kind of record; of the "machine" too.

    Args:
      folder: for the files; should be empty. About 12 MB a record and kind.
      records: of each kind.
      repeats: how often every way reads all of them.
      loaders: (threads, worker processes) that batches are loaded with; the default of training among them.

    Of a kind: "records_per_second" of one core (per second of CPU time) by way; "ratio", how many times as many the
    shards give as deflate GeoTIFFs; "ways", "loader" and "prepare" in full; "cores" that feed one accelerator, by its
    images per second. Rates are medians; spreads are the least and the greatest.
    """
    return {"machine": _machine()} | {kind: _of_kind(kind, folder / kind, records, repeats, loaders) for kind in kinds}


def _of_kind(
    name: str, folder: pathlib.Path, records: int, repeats: int, loaders: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    kind = input_variants.KINDS[name]
    input_variants.write_geotiffs(kind, folder, records)
    with _Clock() as preparing:
        pipeline.write(datasets.dataset(name), folder / "geotiff_deflate", folder)  # with checksums to check
    found = input_variants.ways_of(name, folder, records)
    rates = _in_turns({key: functools.partial(_read_all, way) for key, way in found.items()}, repeats)
    source = input_variants.source_of(open_dataset(folder, name))
    batches = {pair: functools.partial(_load, source, kind.crop, *pair) for pair in loaders}
    loaded = _in_turns(batches, min(repeats, 3))
    one_core = {key: statistics.median(rate.cpu) for key, rate in rates.items()}
    return {
        "title": kind.title,
        "records": records,
        "repeats": repeats,
        "records_per_second": one_core,
        "ratio": one_core["shards"] / one_core["geotiff_deflate"],
        "prepare": preparing.rate(records).to_json(),
        "ways": {
            key: rates[key].to_json()
            | {
                "megabytes_per_cpu_second": one_core[key] * way.raw / 1e6,
                "megabytes": way.raw / 1e6,
                "disk_to_raw": way.disk / way.raw,
            }
            for key, way in found.items()
        },
        "loader": [
            {"threads": threads, "workers": workers} | rate.to_json() for (threads, workers), rate in loaded.items()
        ],
        "cores": {str(demand): demand / statistics.median(loaded[_DEFAULT].cpu) for demand in _DEMANDS},
    }


def _in_turns(passes: Mapping[Any, Callable[[int], Rate]], repeats: int) -> dict[Any, Rate]:
    """Every pass `repeats` times, there and back, after each has run once for nothing: caches are warm then."""
    for run in passes.values():
        run(0)
    found: dict[Any, list[Rate]] = {key: [] for key in passes}
    for repeat in range(repeats):
        for key in list(passes)[:: -1 if repeat % 2 else 1]:
            found[key].append(passes[key](repeat))
    return {
        key: Rate([wall for rate in rates for wall in rate.wall], [cpu for rate in rates for cpu in rate.cpu])
        for key, rates in found.items()
    }


def _read_all(way: input_variants.Way, seed: int) -> Rate:
    """Every record once, in random order."""
    order = np.random.default_rng(seed).permutation(way.count).tolist()
    with _Clock() as clock:
        for number in order:
            way.read(number)
    return clock.rate(way.count)


def _load(source: Source, crop: int, threads: int, workers: int, seed: int) -> Rate:
    """Some batches of all sensors and the label."""
    keys = tuple(input_variants.images(source[0]))
    batches: Iterator[dict[str, np.ndarray]] = loader.train_batches(
        source, batch_size=_BATCH, seed=seed, position=0, keys=keys, crop=crop, threads=threads, workers=workers
    )
    for _ in range(_WARM_UP):
        next(batches)
    with _Clock() as clock:
        for _ in range(_BATCHES):
            next(batches)
    return clock.rate(_BATCHES * _BATCH)


class _Clock:
    """What passes between entry and exit, by the clock and in CPU time."""

    def __enter__(self) -> "_Clock":
        self._wall, self._cpu = time.perf_counter(), cpu_seconds()
        return self

    def __exit__(self, *_) -> None:
        self._wall, self._cpu = time.perf_counter() - self._wall, cpu_seconds() - self._cpu

    def rate(self, count: int) -> Rate:
        return Rate([count / self._wall], [count / self._cpu])


def cpu_seconds() -> float:
    """CPU time of this process with all its threads, and of its living worker processes (on Linux)."""
    ticks = os.sysconf("SC_CLK_TCK")
    seconds = time.process_time()
    for child in multiprocessing.active_children():
        fields = pathlib.Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / ticks  # utime and stime: proc(5), fields 14 and 15
    return seconds


def _machine() -> dict[str, Any]:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]}


def table(figures: Mapping[str, Any]) -> str:
    """The figures as text: a table of ways and one of loaders for each kind of record."""
    machine = figures["machine"]
    lines = [f"{machine['cores']} cores, {machine['cpu']}; load {machine['load']:.1f} at the start"]
    for of_kind in [figures[name] for name in input_variants.KINDS if name in figures]:
        base = of_kind["records_per_second"]["geotiff_deflate"]
        lines += [
            "",
            f"{of_kind['title']}; {of_kind['records']} records, {of_kind['repeats']} times",
            "| read from | records per CPU second (spread) | records/s | MB per CPU s | disk / raw | times deflate |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {TITLES[key]} | {_spread(way)} | {way['records_per_wall_second']:,.0f} | "
            f"{way['megabytes_per_cpu_second']:,.0f} | {way['disk_to_raw']:.2f} | "
            f"{way['records_per_cpu_second'] / base:.1f} |"
            for key, way in of_kind["ways"].items()
        ]
        lines += [
            "",
            "| threads | worker processes | images per CPU second (spread) | images/s |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {row['threads']} | {row['workers']} | {_spread(row)} | {row['records_per_wall_second']:,.0f} |"
            for row in of_kind["loader"]
        ]
        lines += ["", f"prepare: {of_kind['prepare']['records_per_cpu_second']:,.1f} records per CPU second"]
        lines += [f"{float(rate):,.0f} images/s need {cores:.1f} cores" for rate, cores in of_kind["cores"].items()]
    return "\n".join(lines)


def _spread(row: Mapping[str, Any]) -> str:
    low, high = row["cpu_spread"]
    return f"{row['records_per_cpu_second']:,.0f} ({low:,.0f} to {high:,.0f})"
