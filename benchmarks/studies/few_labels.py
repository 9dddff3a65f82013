"""What pre-training is worth where labels are few.

  python benchmarks/studies/few_labels.py --data_dir=DIR --output=DIR

For each seed one pre-training on the unlabelled pairs of the sample; then, with 1, 10 and 100 % of the labelled tiles
(other tiles for each seed), the same network from scratch, fine-tuned, and with frozen encoders: same steps, same
batches, same rate of decoder and head. No held-out labels choose anything: every run is scored with its last weights,
on all test tiles. Writes few_labels.csv, few_labels.md and few_labels.png. Stopped and started again it goes on where
it was; --output is for one version of the configs.
"""

import argparse
import concurrent.futures
import csv
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data_pipelines.schema.files import write_atomically

PRETRAIN = "pretrain:data=sample,tiny=true"
SEGMENT = "dfc2020:data=sample,tiny=true,model=two_stream_swin"
PERCENT = (1, 10, 100)
# Arm -> further arguments of its config, with the pre-training run in place of {}, and its colour (Okabe and Ito).
ARMS = {
    "scratch": ("", "#D55E00"),
    "fine-tuned": (",init={}", "#0072B2"),
    "frozen": (",init={},freeze=encoder", "#009E73"),
}
PRETRAINING = ["--config.total=2000 steps"]


def lcjax(*arguments: str) -> None:
    """Runs `lcjax` with a pool of one thread, since several of them share the machine."""
    subprocess.run([sys.executable, "-m", "launch", *arguments], check=True, env=os.environ | {"NPROC": "1"})


def train(options: argparse.Namespace, folder: pathlib.Path, config: str, seed: int, *fields: str) -> None:
    """Trains one run, or goes on with it."""
    where = (f"--workdir={folder}", f"--config.data_dir={options.data_dir}")
    lcjax("train", f"--config={config}", *where, f"--config.seed={seed}", *fields)


def pretrained(options: argparse.Namespace, seed: int) -> pathlib.Path:
    """The workdir of the pre-training run of a seed."""
    return options.output / f"pretrain_{seed}"


def pretrain(options: argparse.Namespace, seed: int) -> None:
    """The pre-training run of a seed."""
    train(options, pretrained(options, seed), PRETRAIN, seed, *PRETRAINING)


def labelled(percent: int, seed: int) -> str:
    """The split of so many percent of the labels: other tiles for each seed."""
    return "validation" if percent == 100 else f"validation[{seed * percent}%:{(seed + 1) * percent}%]"


def score(options: argparse.Namespace, arm: str, percent: int, seed: int) -> float:
    """Test mIoU of one arm with so many labels."""
    folder = options.output / f"{arm}_{percent}_{seed}"
    scores = folder / "evaluation" / "test" / "metrics.json"
    if not scores.exists():
        config = SEGMENT + ARMS[arm][0].format(pretrained(options, seed))
        labels = (f"--config.split.train={labelled(percent, seed)}", "--config.split.validation=")
        train(options, folder, config, seed, *labels, f"--config.total={options.steps} steps")
        lcjax("evaluate", f"--workdir={folder}")
    return json.loads(scores.read_text())["scores"]["mIoU_8"]


def draw(found: dict[tuple[str, int], list[float]]) -> bytes:
    """Points for the seeds, a line through their means, a band from the lowest to the highest."""
    figure = Figure(figsize=(6.4, 4.0), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for arm, (_, colour) in ARMS.items():
        values = [found[arm, percent] for percent in PERCENT]
        axes.fill_between(
            PERCENT, list(map(min, values)), list(map(max, values)), color=colour, alpha=0.15, linewidth=0
        )
        axes.plot(PERCENT, list(map(statistics.mean, values)), color=colour, label=arm)
        for percent, scores in zip(PERCENT, values, strict=True):
            axes.plot([percent] * len(scores), scores, ".", color=colour)
    axes.set_xscale("log")
    axes.set_xticks(PERCENT, [f"{percent} %" for percent in PERCENT])
    axes.minorticks_off()
    axes.set(xlabel="share of the labelled tiles", ylabel="mIoU of eight classes, test tiles")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def table(found: dict[tuple[str, int], list[float]]) -> str:
    """Markdown: mean and range over the seeds, and what fine-tuning gains over scratch, seed by seed."""
    lines = [
        "| labels | " + " | ".join(ARMS) + " | fine-tuned - scratch, by seed |",
        "|---|" + "---|" * (len(ARMS) + 1),
    ]
    for percent in PERCENT:
        cells = [
            f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
            for values in (found[arm, percent] for arm in ARMS)
        ]
        gains = zip(found["fine-tuned", percent], found["scratch", percent], strict=True)
        shown = ", ".join(f"{one - other:+.3f}" for one, other in gains)
        lines.append("| " + " | ".join([f"{percent} %", *cells, shown]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs the study, or what is left of it, and writes its tables and its figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=pathlib.Path, required=True, help="holds the prepared sample")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="of every run with labels")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    seeds = range(options.seeds)
    with concurrent.futures.ThreadPoolExecutor(options.processes) as pool:
        list(pool.map(lambda seed: pretrain(options, seed), seeds))
        cases = [(arm, percent, seed) for percent in PERCENT for arm in ARMS for seed in seeds]
        scores = list(pool.map(lambda case: score(options, *case), cases))
    found: dict[tuple[str, int], list[float]] = {}
    for (arm, percent, _), value in zip(cases, scores, strict=True):
        found.setdefault((arm, percent), []).append(value)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["arm", "percent", "seed", "mIoU_8"])
    rows.writerows([*case, value] for case, value in zip(cases, scores, strict=True))
    write_atomically(options.output / "few_labels.csv", text.getvalue())
    write_atomically(options.output / "few_labels.md", table(found))
    (options.output / "few_labels.png").write_bytes(draw(found))
    print(table(found), end="")


if __name__ == "__main__":
    main()
