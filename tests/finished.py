"""Workdirs as finished runs leave them, and the page of a report taken apart."""

import dataclasses
import html.parser
import json
import pathlib
import types

import numpy as np

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.schema.schema_version import stamp
from data_pipelines.schema.sensors import S1, S2
from lcjax.cli import report as report_verb
from lcjax.configs import dfc2020, pretrain
from lcjax.evaluation import intervals
from lcjax.ops import metrics
from lcjax.runs import SCHEMA_VERSION, checksums, record_confusions
from lcjax.runs.model_card import Card
from lcjax.runs.record_confusions import RecordConfusions
from lcjax.tasks.fusion import sensors_of


class Page(html.parser.HTMLParser):
    """The rows of every table by the id of its section and its class, the texts of notes, the tags and the links."""

    def __init__(self, text: str):
        super().__init__()
        self.tables: dict[tuple[str, str], list[list[str]]] = {}
        self.bold: list[str] = []
        self.notes: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self._section = self._table = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, f"unclosed: {self._open}"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.fetched += [v for k, v in attributes.items() if k in ("src", "href") and not v.startswith(("data:", "#"))]
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)
        if tag == "section":
            self._section = attributes["id"]
        elif tag == "table":
            self._table = attributes["class"]
        elif tag == "tr":
            self.tables.setdefault((self._section, self._table), []).append([])
        elif tag in ("td", "th"):
            self.tables[self._section, self._table][-1].append("")
        elif tag == "p" and attributes.get("class") == "note":
            self.notes.append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "td" in self._open or "th" in self._open:
            self.tables[self._section, self._table][-1][-1] += data
        if "b" in self._open and "td" in self._open:
            self.bold.append(data)
        if self._open and self._open[-1] == "p" and self.notes:
            self.notes[-1] += data


def score(confusion: np.ndarray, names: list[str]) -> dict:
    hits, true, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    iou = hits / np.maximum(true + predicted - hits, 1)
    scores = {"OA": hits.sum() / confusion.sum(), "mCA_8": 0.5, "mIoU_8": float(iou.mean()), "kappa": 0.25}
    for i, name in enumerate(names):
        scores |= {f"IoU/{name}": iou[i], f"Acc/{name}": hits[i] / max(true[i], 1)}
        scores |= {
            f"Precision/{name}": hits[i] / max(predicted[i], 1),
            f"F1/{name}": 2 * hits[i] / (true + predicted)[i],
        }
    return scores


def make_run(folder: pathlib.Path, seed: int, *, legend=DFC2020, samples=True, baseline=False, role="test", **changes):
    """A workdir as training and evaluation leave it; a baseline's holds its evaluation only."""
    draw = np.random.default_rng(seed)
    names, ids = [c.name for c in legend.scored], [c.id for c in legend.scored]
    counts = draw.integers(1, 200, (len(names),) * 2) + 300 * np.eye(len(names), dtype=int)
    evaluation = folder / "evaluation" / role
    evaluation.mkdir(parents=True)
    fields = {
        "run": folder.name,
        "model": "random_forest" if baseline else "unet",
        "fusion": "early",
        "init": "runs/pretrain" if "/ssl_" in changes.get("cell", "") else "random",
        "freeze": "",
        "dataset": "sample 1.0.0",
        "scores": score(counts, names),
        "class_set": names,
        "class_ids": ids,
        "absent": [],
        "ignored_ids": list(legend.ignored),
        "pixels": 4096,
        "ignored_pixels": 12,
        "records": 2,
        "split": {"role": role, "spec": role, "id": f"{role}-1"},
        "checkpoint": None if baseline else {"kind": "best", "step": 40},
        "confusion": counts.tolist(),
        "distribution": {role: {name: 10 + i for i, name in enumerate(names)}, "unlabelled": dict.fromkeys(names, 0)},
    } | changes
    fields = {name: value for name, value in fields.items() if value is not None or name == "checkpoint"}
    (evaluation / "metrics.json").write_text(json.dumps(stamp(fields, SCHEMA_VERSION)))
    if samples and not baseline:
        truth = draw.choice([*ids, 255], (2, 16, 16)).astype(np.uint8)
        image = draw.integers(0, 255, (2, 16, 16, 3)).astype(np.uint8)
        np.savez(evaluation / "samples.npz", ids=np.array(["p0", "p1"]), image=image, truth=truth, prediction=truth)
    seal(evaluation)
    if baseline:
        return folder
    of_validation = {"spec": "validation", "records": 2, "id": "val-1", "class_pixels": {"1": 9}, "warnings": []}
    splits = {"validation": of_validation}
    card = Card("unet", "early", sensors_of("early", (S1, S2)), legend, 256, fields["dataset"], splits, {})
    (folder / "card.json").write_text(card.to_json())
    write_config(folder, dfc2020.get_config("model=unet,data=sample"))
    write_history(folder, "mIoU_8")
    return folder


def keep_records(run: pathlib.Path, confusion: np.ndarray, groups=(), role="test", seed=0, **changes) -> pathlib.Path:
    """Gives a run the counts of its records, (R, N, N), its config a seed, and the scores and intervals of both."""
    evaluation = run / "evaluation" / role
    fields = json.loads((evaluation / "metrics.json").read_text())
    names, count = fields["class_set"], len(confusion)
    records = RecordConfusions(
        ids=np.array([f"p{place}" for place in range(count)]),
        groups=np.array(groups or [""] * count),
        bounds=np.full((count, 4), np.nan),
        confusion=np.asarray(confusion, np.uint32),
        other=np.zeros(confusion.shape[:2], np.uint32),
        ignored=np.zeros(count, np.uint32),
    )
    records = dataclasses.replace(records, **changes)
    total = records.confusion.sum(axis=0, dtype=np.int64)
    scores, absent = metrics.scores(total, names)
    fields |= {"records": count, "confusion": total.tolist(), "pixels": int(total.sum()), "scores": scores}
    fields |= {"absent": absent, "intervals": intervals.of_records(records, names)}
    (evaluation / "metrics.json").write_text(json.dumps(fields))
    record_confusions.write(evaluation, records)
    seal(evaluation)
    config = dfc2020.get_config("model=unet,data=sample")
    config.seed = seed
    write_config(run, config)
    return run


def make_pretraining(folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir(parents=True)
    write_config(folder, pretrain.get_config("data=sample"))
    write_history(folder, "retrieval")
    return folder


def seal(evaluation: pathlib.Path) -> None:
    """Notes the checksums of what was changed by hand."""
    checksums.write(evaluation, [path.name for path in sorted(evaluation.iterdir()) if path.name != checksums.FILE])


def write_config(folder: pathlib.Path, config) -> None:
    (folder / "config.json").write_text(json.dumps(stamp(json.loads(config.to_json()), SCHEMA_VERSION)))


def write_history(folder: pathlib.Path, key: str) -> None:
    rows = [{"step": s, "split": "train", "loss": 3 / s, "learning_rate": 1e-3} for s in range(1, 9)]
    rows += [{"step": s, "split": "validation", "loss": 3 / s, key: s / 10} for s in (4, 8)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_report(workdirs: str, output: pathlib.Path) -> Page:
    given = types.SimpleNamespace(workdirs=workdirs.split(","), reference=None, maps=None, output=str(output))
    report_verb.run(given)
    return Page((output / "index.html").read_text())
