"""Scores that are computed on request: boundary IoU, and the recall of objects by their size.

Both are counts of records that are added up, and so have intervals as all scores do.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from data_pipelines.schema.errors import InputError
from lcjax.evaluation import intervals
from lcjax.ops import bootstrap, boundary_iou, object_recall
from lcjax.parallel import multihost
from lcjax.runs.record_confusions import RecordConfusions
from lcjax.tasks.task import MapCounts


@dataclasses.dataclass(frozen=True)
class Further:
    """What is asked for.

    Attributes:
      boundary: distance of boundary IoU, "2%" of the diagonal of a tile or "3px"; empty: not wanted.
      edges: sizes in pixels at which size classes of objects begin; empty: not wanted.
    """

    boundary: str = ""
    edges: tuple[int, ...] = ()

    @classmethod
    def asked(cls, boundary: str | None, objects: str | None) -> "Further":
        """Reads the flags --boundary and --objects. Raises InputError for what cannot be meant."""
        for flag, given, example in (("boundary", boundary, "2%"), ("objects", objects, "10,100,1000")):
            if given is not None and not given.strip():
                raise InputError(f"--{flag}={given}: empty; expected e.g. --{flag}={example}, or leave it out")
        if boundary:
            boundary_iou.read_distance(boundary)
        return cls(boundary or "", object_recall.size_edges(objects) if objects else ())

    def on_device(self, classes: int) -> MapCounts | None:
        """What is counted, or kept for the host, of the maps of a batch; None where nothing is wanted."""
        if not (self.boundary or self.edges):
            return None

        def count(labels: jax.Array, predictions: jax.Array) -> dict[str, jax.Array]:
            counts = {}
            if self.boundary:
                distance = boundary_iou.distance_in_pixels(self.boundary, *labels.shape[1:])
                counts["boundary"] = boundary_iou.counts_of_each(labels, predictions, classes, distance)
            if self.edges:
                counts |= {"truth": labels, "prediction": predictions.astype(np.uint8)}
            return counts

        return count

    def on_host(self, sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Counts the objects of the maps of a batch in process 0, which alone writes, and forgets the maps."""
        if not self.edges:
            return sums
        classes = sums["confusion"].shape[1]
        rest = {key: value for key, value in sums.items() if key not in ("truth", "prediction")}
        if not multihost.is_main_process():
            return rest
        maps = zip(sums["truth"], sums["prediction"], strict=True)
        objects = [object_recall.object_counts(truth, guess, classes, self.edges) for truth, guess in maps]
        return rest | {"objects": np.array(objects)}

    def fields(
        self, counts: dict[str, np.ndarray], records: RecordConfusions, names: Sequence[str], size: int, hectares: float
    ) -> dict[str, Any]:
        """Makes the fields `boundary` and `objects` of metrics.json.

        Args:
          counts: "boundary" (R, N, 3) and "objects" (R, N, S, 2), as far as they were asked for.
          records: whose groups are the blocks.
          names: of the classes.
          size: height and width of a tile as it was scored, in pixels.
          hectares: of a pixel; NaN where they are not known.
        """
        blocks = bootstrap.blocks(records.ids, records.groups)
        found: dict[str, Any] = {}
        if "boundary" in counts:
            distance = boundary_iou.distance_in_pixels(self.boundary, size, size)
            sums = blocks.sums(counts["boundary"])
            drawn = boundary_iou.score_values(bootstrap.resample(sums), names)
            values = boundary_iou.score_values(sums.sum(axis=0), names)
            found["boundary"] = {"distance": self.boundary, "pixels": distance} | _scores(values, drawn, len(blocks))
        if "objects" in counts:
            sums = blocks.sums(counts["objects"])
            drawn, values = _recalls(bootstrap.resample(sums), names), _recalls(sums.sum(axis=0), names)
            found["objects"] = {
                "edges": list(self.edges),
                "found_from": object_recall.FOUND,
                "counts": {name: sums.sum(axis=0)[i].astype(int).tolist() for i, name in enumerate(names)},
                **_scores(values, drawn, len(blocks)),
            }
            if not np.isnan(hectares):
                found["objects"]["pixel_hectares"] = hectares
        return found


def _recalls(counts: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Recall of objects by class and size class (numbered from 0), and of all sizes; NaN where there is no object."""

    def recall(of_some: np.ndarray) -> np.ndarray:
        found, all_of_them = np.moveaxis(of_some, -1, 0)
        return np.where(all_of_them > 0, found / np.maximum(all_of_them, 1), np.nan)

    values = {}
    for i, name in enumerate(names):
        values[f"{name}/all"] = recall(counts[..., i, :, :].sum(axis=-2))
        values |= {f"{name}/{size}": recall(counts[..., i, size, :]) for size in range(counts.shape[-2])}
    return values


def _scores(values: dict[str, np.ndarray], drawn: dict[str, np.ndarray], blocks: int) -> dict[str, Any]:
    scores = {key: float(value) for key, value in values.items() if not np.isnan(value)}
    return {"scores": scores, "intervals": intervals.known({key: drawn[key] for key in scores}, blocks)}


NOTHING = Further()
