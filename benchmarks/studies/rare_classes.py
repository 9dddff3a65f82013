"""Which losses and samplers help a class that is rare in training, and what they cost the others.

  python -m data_pipelines.datasets.sample.make SAMPLE --tiles=study
  python benchmarks/studies/rare_classes.py --source=SAMPLE --output=DIR

Wetlands are made rare: in all but every eighth training tile their pixels lose their label, so that 13 of 100 tiles
tell of them. Nothing else changes, and the tiles that choose and those that are scored keep all labels. Each arm
trains the same network on the same data for the same steps from three seeds; its checkpoint is chosen by the mIoU of
validation tiles, and the test tiles are scored once, by that one. Writes rare_classes.csv and rare_classes.md. Stopped
and started again it goes on where it was; --output is for one version of the configs.
"""

import argparse
import concurrent.futures
import csv
import io
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

import rasterio

from data_pipelines.schema.files import write_atomically

RARE, NAME, UNSCORED = 5, "Wetlands", 3  # ids of DFC2020; the last is Savanna, which is not scored
EVERY = 8  # so many tiles to one that keeps its labels of the class
CONFIG = "dfc2020:data=sample,tiny=true,model=unet"
SPLITS = {"train": "validation", "validation": "test[:50%]", "test": "test[50%:]"}
BASE = "cross_entropy"
# Arm -> what it sets; the first one is what the others are compared with.
ARMS: dict[str, list[str]] = {
    BASE: [],
    "class_weights 0.5": ["--config.class_weights=0.5"],
    "class_weights 1": ["--config.class_weights=1.0"],
    "effective_number": ["--config.class_weights=0.999999", "--config.class_weights_rule=effective_number"],
    "focal": ["--config.loss=focal"],
    "ohem_cross_entropy": ["--config.loss=ohem_cross_entropy"],
    "cross_entropy + dice": ["--config.loss=cross_entropy + dice"],
    "dice": ["--config.loss=dice"],
    "cross_entropy + tversky": ["--config.loss=cross_entropy + tversky(alpha=0.3, beta=0.7)"],
    "cross_entropy + lovasz": ["--config.loss=cross_entropy + lovasz"],
    "cross_entropy + dice with class_weights 0.5": ["--config.loss=cross_entropy + dice", "--config.class_weights=0.5"],
    "class_presence 1": ["--config.sampling.name=class_presence", "--config.sampling.strength=1.0"],
    "rarity 0.5": ["--config.sampling.name=rarity", "--config.sampling.strength=0.5"],
    "rarity 1": ["--config.sampling.name=rarity", "--config.sampling.strength=1.0"],
    "rarity 0.5 with cross_entropy + dice": ["--config.sampling.name=rarity", "--config.loss=cross_entropy + dice"],
}


def lcjax(*arguments: str) -> None:
    """Runs `lcjax` with a pool of one thread, since several of them share the machine."""
    subprocess.run([sys.executable, "-m", "launch", *arguments], check=True, env=os.environ | {"NPROC": "1"})


def hidden(number: int) -> bool:
    """Whether a training tile loses its labels of the rare class."""
    return number % EVERY != 0


def make_rare(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a sample, without the labels of the rare class in most training tiles; does nothing where that is done."""
    if target.is_dir():
        return
    begun = target.with_name(f"{target.name}.begun")
    shutil.rmtree(begun, ignore_errors=True)
    shutil.copytree(source, begun)
    for path in sorted((begun / "ROIs0000_validation" / "dfc_0").glob("*.tif")):
        if hidden(int(path.stem.rpartition("_p")[2])):
            with rasterio.open(path, "r+") as file:
                labels = file.read(1)
                labels[labels == RARE] = UNSCORED
                file.write(labels, 1)
    begun.rename(target)


def other_study(options: argparse.Namespace) -> str:
    """What differs between this study and the one in its folder, which is noted where there is none; or nothing."""
    tiles = sorted(path.name for path in (options.source / "ROIs0000_validation" / "dfc_0").glob("*.tif"))
    now = {"steps": options.steps, "sample": (options.source / "sample.json").read_text(), "tiles": tiles, "arms": ARMS}
    path = options.output / "study.json"
    if not path.is_file():
        write_atomically(path, json.dumps(now))
        return ""
    there = json.loads(path.read_text())
    there["arms"] = ARMS | there["arms"]  # further ones may come
    return ", ".join(key for key, value in now.items() if there.get(key) != value)


def score(options: argparse.Namespace, arm: str, seed: int) -> dict[str, float]:
    """Test scores of one arm and seed."""
    folder = options.output / "runs" / f"{''.join(c if c.isalnum() else '_' for c in arm)}_{seed}"
    scores = folder / "evaluation" / "test" / "metrics.json"
    if not scores.exists():
        where = [f"--workdir={folder}", f"--config.data_dir={options.output / 'data'}", f"--config.seed={seed}"]
        roles = [f"--config.split.{role}={spec}" for role, spec in SPLITS.items()]
        length = [f"--config.total={options.steps} steps", "--config.evaluate_every=10 percent"]
        lcjax("train", f"--config={CONFIG}", *where, *roles, *length, *ARMS[arm])
        lcjax("evaluate", f"--workdir={folder}")
    found: dict[str, float] = json.loads(scores.read_text())["scores"]
    return found | {OTHERS: statistics.mean(v for k, v in found.items() if k.startswith("IoU/") and k != RARE_IOU)}


RARE_IOU, OTHERS = f"IoU/{NAME}", "mIoU of the others"
COLUMNS = (RARE_IOU, f"Acc/{NAME}", f"Precision/{NAME}", OTHERS, "mIoU_8", "OA")


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: mean and range over the seeds, and by seed what an arm gains over the first."""
    means = (f"IoU of {NAME}", "its recall", "its precision", "mIoU of the others", "mIoU of all", "OA")
    head = (*means, f"gain in IoU of {NAME}", "gain in mIoU of the others")
    lines = [f"| arm | {' | '.join(head)} |", "|---|" + "---|" * len(head)]
    for arm, seeds in found.items():
        cells = []
        for column in COLUMNS:
            values = [scores[column] for scores in seeds]
            cells.append(f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
        for column in (RARE_IOU, OTHERS):
            gains = [one[column] - base[column] for one, base in zip(seeds, found[BASE], strict=True)]
            cells.append(", ".join(f"{gain:+.3f}" for gain in gains) if arm != BASE else "")
        lines.append(f"| {' | '.join([f'`{arm}`', *cells])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs the study, or what is left of it, and writes its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=pathlib.Path, required=True, help="a sample of --tiles=study")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600, help="of every run")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--arms", default=",".join(ARMS), help="some of them; the first one is always run")
    options = parser.parse_args()
    asked = options.arms.split(",")
    if unknown := [arm for arm in asked if arm not in ARMS]:
        parser.error(f"--arms: there is no {unknown[0]!r}; expected some of {', '.join(ARMS)}")
    if not (options.source / "sample.json").is_file():
        parser.error(f"--source={options.source}: holds no sample.json; expected a sample (see above)")
    arms = [arm for arm in ARMS if arm == BASE or arm in asked]
    options.output.mkdir(parents=True, exist_ok=True)
    if differing := other_study(options):
        parser.error(f"{options.output}: holds a study of other {differing}; choose another --output")
    make_rare(options.source, options.output / "sample")
    lcjax(
        "prepare", "--dataset=sample", f"--source={options.output / 'sample'}", f"--data_dir={options.output / 'data'}"
    )
    cases = [(arm, seed) for seed in range(options.seeds) for arm in arms]
    with concurrent.futures.ThreadPoolExecutor(options.processes) as pool:
        scores = list(pool.map(lambda case: score(options, *case), cases))
    found: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["arm", "seed", *COLUMNS])
    for (arm, seed), values in zip(cases, scores, strict=True):
        found[arm].append(values)
        rows.writerow([arm, seed, *(values[column] for column in COLUMNS)])
    write_atomically(options.output / "rare_classes.csv", text.getvalue())
    write_atomically(options.output / "rare_classes.md", table(found))
    print(table(found), end="")


if __name__ == "__main__":
    main()
