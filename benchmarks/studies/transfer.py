"""What ImageNet weights are worth on aerial images: every tile held out in turn, beside a random forest and our UNet.

  python benchmarks/studies/transfer.py --source=DIR --output=DIR

--source holds tile_N/images/*.jpg and tile_N/masks/*.png, N in 1, 3, 6, 7, 8: the 45 annotated images of Dubai (Humans
in the Loop and MBRSC, CC0). For every tile all arms learn from the four others and are scored on every labelled pixel
of the one that is held out, with their last weights: no held-out label chooses anything. Every network is trained as
long as the others, --minutes on a machine on which its step takes what `ARMS` says; as many steps on any machine. Two
arms alone have the length of their recipe. Which network is best is chosen for each tile by the mean over the four
others (`chosen`): that score is of a recipe that was not chosen on the tile, though its networks that were scored on
the others have learned from the tile.

Writes transfer.csv, a row for each run, transfer.md, and transfer.jsonl, what each run has found. --rows=FILE takes
such a file: what it tells of does not run again. transfer.jsonl beside this script is that of docs/transfer.md. Runs
stand side by side, one on each core. Stopped and started again with the same command the study goes on where it was;
--output is for one version of the configs. --plan only says what would run, and how long, by what runs of the same arm
took.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import cores
import rows
from intervals import interval

from data_pipelines.schema.files import write_atomically
from lcjax.runs import goodput

TILES = (1, 3, 6, 7, 8)
LEGEND = """id,name,colour,ignore
1,building,#3c1098,
2,land,#8429f6,
3,road,#6ec1e4,
4,vegetation,#fedd3a,
5,water,#e2a929,
6,unlabeled,#9b9b9b,1
"""
CLASSES = ("building", "land", "road", "vegetation", "water")
SCORES = ("mIoU_5", "OA", *(f"IoU/{name}" for name in CLASSES))
COLUMNS = ("arm", "tile", "seed", "steps", "minutes", *SCORES)
UNET, LITE0 = "model=unet,laptop=true", "model=efficientnet_lite0_unet,laptop=true"
SAME_NUMBERS = "--config.scaling=inception"  # what is shown to the network from scratch is what the others see
# Brightness, colour and scale are what differs from tile to tile.
AUGMENTED = (
    "--config.augmentation.scale=0.5,2",
    "--config.augmentation.aspect=1.25",
    "--config.augmentation.brightness=0.2",
    "--config.augmentation.contrast=0.3",
    "--config.augmentation.gamma=0.3",
    "--config.augmentation.group_jitter=0.1",
)
SCORING = 0.2  # minutes of an evaluation
EACH = 4.0  # minutes of a run on a core, until one of its arm has ended


@dataclasses.dataclass(frozen=True)
class Arm:
    """A way to learn.

    Attributes:
      title: for the table.
      config: arguments of the config rasters; empty for the forest.
      fields: further ones.
      seconds: of one step, on two cores that do nothing else.
      steps: of a recipe whose length is its own; 0 takes as many as --minutes gives.
    """

    title: str
    config: str = ""
    fields: tuple[str, ...] = ()
    seconds: float = 0.0
    steps: int = 0


ARMS = {
    "forest": Arm("random forest"),
    "unet_laptop": Arm("UNet", UNET, (), 0.066),
    "lite0_random": Arm("Lite0, random", LITE0, (SAME_NUMBERS,), 0.315),
    "lite0_frozen": Arm("Lite0, ImageNet, frozen", f"{LITE0},init=imagenet,freeze=encoder", (), 0.143),
    "lite0_finetuned": Arm("Lite0, ImageNet, fine-tuned", f"{LITE0},init=imagenet", (), 0.315),
}
ARMS |= {
    f"{name}_augmented": dataclasses.replace(arm, title=f"{arm.title}, augmented", fields=arm.fields + AUGMENTED)
    for name, arm in ARMS.items()
    if name.startswith("lite0")
}
ARMS["unet_whole"] = Arm("UNet, all of its 5,000 steps", UNET, (), 0.066, steps=5000)
ARMS["lite0_frozen_whole"] = dataclasses.replace(
    ARMS["lite0_frozen"], title="Lite0, ImageNet, frozen, all of its 2,500 steps", steps=2500
)
CHOSEN = "chosen"  # the network that is best on the four other tiles
TITLES = {name: arm.title for name, arm in ARMS.items()} | {CHOSEN: "the network that is best on the four other tiles"}
# (arm, arm that it is compared with).
PAIRS = (
    ("lite0_frozen", "lite0_random"),
    ("lite0_finetuned", "lite0_random"),
    ("lite0_finetuned", "forest"),
    ("lite0_frozen", "forest"),
    ("lite0_frozen", "unet_laptop"),
    ("lite0_frozen_whole", "forest"),
    ("lite0_frozen_whole", "unet_whole"),
    (CHOSEN, "forest"),
    (CHOSEN, "unet_whole"),
    (CHOSEN, "lite0_random"),
    ("lite0_random_augmented", "lite0_random"),
    ("lite0_frozen_augmented", "lite0_frozen"),
    ("lite0_finetuned_augmented", "lite0_finetuned"),
    ("lite0_finetuned_augmented", "lite0_random_augmented"),
    ("lite0_finetuned_augmented", "forest"),
    ("lite0_finetuned_augmented", "unet_whole"),
)
Key = tuple[str, int, int]  # arm, held-out tile, seed


def run(*command: str) -> None:
    """Runs a Python module or script, and ends the study where it fails."""
    subprocess.run([sys.executable, *command], check=True)


def steps(options: argparse.Namespace, arm: Arm) -> int:
    """Length of each run of an arm; a multiple of ten."""
    return options.steps or arm.steps or max(10, 10 * round(options.minutes * 6 / arm.seconds))


def name_of(tile: int) -> str:
    """The data set in which a tile is held out."""
    return f"rasters/dubai_without_{tile}"


def prepare(options: argparse.Namespace, tile: int) -> None:
    """Prepares the data set in which a tile is the test split, or goes on with it; statistics are of the others."""
    if any((options.output / "data" / name_of(tile)).glob("[0-9]*/dataset_info.json")):  # written last
        return
    lines = ["image,mask,split,group"]
    for other in TILES:
        folder = options.source.absolute() / f"tile_{other}"
        images = sorted((folder / "images").glob("*.jpg"))
        if not images:
            sys.exit(f"transfer: {folder}/images: no *.jpg; expected --source to hold tile_1/images, ...")
        split = "test" if other == tile else "train"
        lines += [f"{image},{folder}/masks/{image.stem}.png,{split},tile_{other}" for image in images]
    source = options.output / "source" / f"without_{tile}"
    source.mkdir(parents=True, exist_ok=True)
    write_atomically(source / "rasters.csv", "\n".join(lines) + "\n")
    write_atomically(source / "legend.csv", LEGEND)
    where = (f"--source={source}", f"--data_dir={options.output / 'data'}")
    run("-m", "launch", "prepare", f"--dataset={name_of(tile)}", *where, "--max_refused=0")


def forest(options: argparse.Namespace, folder: pathlib.Path, tile: int, seed: int) -> dict:
    """Trains and scores a forest; returns what the row says of it beside the scores."""
    began = time.monotonic()
    data = (f"--data_dir={options.output / 'data'}", f"--dataset={name_of(tile)}", "--train=train", "--test=test")
    kind = ("--fusion=image", "--models=random_forest", "--windows=5,15,31", f"--seed={seed}")
    run("benchmarks/pixel_baseline.py", *data, *kind, f"--output={folder}")
    return {"steps": 0, "minutes": (time.monotonic() - began) / 60}


def network(options: argparse.Namespace, folder: pathlib.Path, arm: Arm, tile: int, seed: int) -> dict:
    """Trains and scores a network, or goes on with it; returns what the row says of it beside the scores."""
    length = steps(options, arm)
    config = f"--config=rasters:data={name_of(tile)},validation=none,{arm.config}"
    fields = (f"--config.data_dir={options.output / 'data'}", f"--config.seed={seed}", f"--config.total={length} steps")
    run("-m", "launch", "train", config, f"--workdir={folder}", *fields, *arm.fields)
    if not metrics_of("", folder).exists():
        run("-m", "launch", "evaluate", f"--workdir={folder}")
    return {"steps": length, "minutes": goodput.summary(folder / goodput.FILE).kept / 60}


def metrics_of(arm: str, folder: pathlib.Path) -> pathlib.Path:
    """Where the scores of a run lie."""
    return folder / ("random_forest" if arm == "forest" else "") / "evaluation" / "test" / "metrics.json"


def row(options: argparse.Namespace, key: Key) -> dict:
    """The row of a run, which runs first where it has not."""
    arm, tile, seed = key
    folder = options.output / "runs" / "_".join(map(str, key))
    kept = folder / "row.json"
    if not kept.exists():
        told = (
            forest(options, folder, tile, seed) if arm == "forest" else network(options, folder, ARMS[arm], tile, seed)
        )
        scores = json.loads(metrics_of(arm, folder).read_text())["scores"]
        shown = {name: scores[name] for name in SCORES}
        write_atomically(kept, json.dumps({"arm": arm, "tile": tile, "seed": seed} | told | shown))
    found: dict = json.loads(kept.read_text())
    wanted = 0 if arm == "forest" else steps(options, ARMS[arm])
    if found["steps"] != wanted:
        sys.exit(
            f"transfer: {folder}: a run of {found['steps']} steps, and {wanted} are asked for; take another "
            "--output for another length"
        )
    return found


def rows_of(output: pathlib.Path) -> list[dict]:
    """The rows of all runs in a folder that have ended, those of other starts of the study, too."""
    return [json.loads(path.read_text()) for path in sorted(output.glob("runs/*/row.json"))]


def by_tile(found: Sequence[Mapping], arm: str) -> dict[int, float]:
    """Scores mIoU_5 of an arm by tile, each the mean over the seeds; of the tiles that it has."""
    scores: dict[int, list[float]] = {}
    for one in found:
        if one["arm"] == arm:
            scores.setdefault(one["tile"], []).append(one["mIoU_5"])
    return {tile: statistics.mean(values) for tile, values in sorted(scores.items())}


def chosen_of(found: Sequence[Mapping]) -> Iterator[dict]:
    """Rows of `CHOSEN`: on each tile those of the network whose mean over the four others is the highest.

    Only networks that have all tiles are chosen from; where there is none, nothing is.
    """
    means = {name: by_tile(found, name) for name in ARMS if name != "forest"}
    means = {name: tiles for name, tiles in means.items() if len(tiles) == len(TILES)}
    for tile in TILES if means else ():
        others = {
            name: statistics.mean(tiles[other] for other in TILES if other != tile) for name, tiles in means.items()
        }
        best = max(others, key=lambda name: others[name])
        yield from ({**one, "arm": CHOSEN} for one in found if (one["arm"], one["tile"]) == (best, tile))


def arms_table(found: Sequence[Mapping]) -> Iterator[str]:
    """Markdown lines: each arm by tile, mean and deviation over the tiles, and over the seeds of a tile."""
    yield "| arm | steps | runs | " + " | ".join(f"tile {tile}" for tile in TILES) + " | mean | tiles | seeds |"
    yield "|---|--:|--:|" + "--:|" * (len(TILES) + 3)
    for name, title in TITLES.items():
        of_arm = [one for one in found if one["arm"] == name]
        if not of_arm:
            continue
        tiles = by_tile(found, name)
        seeds = [[one["mIoU_5"] for one in of_arm if one["tile"] == tile] for tile in tiles]
        spread = [statistics.stdev(values) for values in seeds if len(values) > 1]
        deviation = f"{statistics.stdev(tiles.values()):.3f}" if len(tiles) > 1 else ""
        cells = [f"{tiles[tile]:.3f}" if tile in tiles else "" for tile in TILES]
        lengths = {one["steps"] for one in of_arm} - {0}
        yield (
            f"| {title} | {f'{lengths.pop():,}' if len(lengths) == 1 else ''} | {len(of_arm)} | {' | '.join(cells)} "
            f"| {statistics.mean(tiles.values()):.3f} | {deviation} "
            f"| {f'{statistics.mean(spread):.3f}' if spread else ''} |"
        )


def differences_of(found: Sequence[Mapping], one: str, other: str) -> list[float]:
    """How much higher the score of an arm is on each tile, the mean over the seeds that both arms have there."""
    scores = {(row["arm"], row["tile"], row["seed"]): row["mIoU_5"] for row in found}
    tiles: dict[int, list[float]] = {}
    for (arm, tile, seed), score in scores.items():
        if arm == one and (other, tile, seed) in scores:
            tiles.setdefault(tile, []).append(score - scores[other, tile, seed])
    return [statistics.mean(values) for values in tiles.values()]


def pairs_table(found: Sequence[Mapping]) -> Iterator[str]:
    """Markdown lines: differences of pairs of arms on the tiles that both have."""
    yield "| arm | less | mean difference | 95 % interval | tiles | better on |"
    yield "|---|---|--:|--:|--:|--:|"
    for one, other in PAIRS:
        differences = differences_of(found, one, other)
        if differences:
            mean, low, high = interval(differences)
            better = sum(difference > 0 for difference in differences)
            yield (
                f"| {TITLES[one]} | {TITLES[other]} | {mean:+.3f} | {low:+.3f} to {high:+.3f} "
                f"| {len(differences)} | {better} |"
            )


def table(found: Sequence[Mapping]) -> str:
    """Markdown: mIoU of five classes by arm and tile, and the differences of pairs."""
    found = [*found, *chosen_of(found)]
    text = [
        "mIoU of five classes on the tile that was held out, mean of the seeds; mean and deviation over the tiles, and",
        "deviation over the seeds of a tile:",
        "",
        *arms_table(found),
        "",
        "Differences tile by tile, of the seeds that both have, with the interval of Student's t over the tiles:",
        "",
        *pairs_table(found),
    ]
    return "\n".join(text) + "\n"


def sheet(found: Sequence[Mapping]) -> str:
    """CSV: a row for each run."""
    return rows.sheet(found, COLUMNS)


def write_tables(output: pathlib.Path) -> None:
    """Writes the tables of what has run, and its rows as one file."""
    found = rows_of(output)
    write_atomically(output / "transfer.csv", sheet(found))
    write_atomically(output / "transfer.md", table(found))
    write_atomically(output / "transfer.jsonl", rows.text(output))


def plan(options: argparse.Namespace, keys: Sequence[Key]) -> str:
    """What would run, and for how long, by the median of what runs of the arm took; what has run is left out."""
    done = rows_of(options.output)
    ended = {(one["arm"], one["tile"], one["seed"]) for one in done}
    lines, total = [], 0.0
    for name in options.arms:
        left = sum(key[0] == name and key not in ended for key in keys)
        took = [one["minutes"] for one in done if one["arm"] == name and "minutes" in one]
        each = statistics.median(took) + SCORING if took else EACH
        total += each * left
        length = steps(options, ARMS[name]) if name != "forest" else 0
        measured = "" if took else " (not measured yet)"
        lines.append(f"{name:28} {left:3} runs of {length:5} steps, {each:5.1f} minutes each{measured}")
    return "\n".join([*lines, f"{total / options.jobs / 60:.1f} hours in all, {options.jobs} at a time"])


def chosen(kind: Callable, known: Sequence) -> Callable[[str], tuple]:
    """What reads "a,b" of the command line, where each must be known."""

    def read(text: str) -> tuple:
        values = tuple(kind(part) for part in text.split(","))
        if known and not set(values) <= set(known):
            raise argparse.ArgumentTypeError(f"{text}: expected some of {', '.join(map(str, known))}")
        return values

    return read


def main() -> None:
    """Runs the study, or what is left of it, and writes its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=pathlib.Path, required=True, help="holds tile_1, tile_3, ...")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--arms", type=chosen(str, tuple(ARMS)), default=tuple(ARMS), help=", ".join(ARMS))
    parser.add_argument("--tiles", type=chosen(int, TILES), default=TILES, help="that are held out, e.g. 1,8")
    parser.add_argument("--seeds", type=chosen(int, ()), default=(0, 1, 2), help="e.g. 0,1,2")
    parser.add_argument("--minutes", type=float, default=2.5, help="of training, of each network")
    parser.add_argument("--steps", type=int, default=0, help="of each network, instead of --minutes")
    parser.add_argument("--jobs", type=int, default=len(cores.known()), help="runs at a time, each on its core")
    parser.add_argument("--rows", type=pathlib.Path, help="transfer.jsonl of a study whose runs are not to run again")
    parser.add_argument("--plan", action="store_true", help="only say what would run")
    options = parser.parse_args()
    if options.jobs < 1:
        parser.error(f"--jobs={options.jobs}: expected 1 or more")
    if options.rows:
        rows.take(options.output, options.rows)
    # The first seed of all arms and tiles comes first: a table of all arms is there after a third of the time.
    keys = [(arm, tile, seed) for seed in options.seeds for tile in options.tiles for arm in options.arms]
    if options.plan:
        print(plan(options, keys))
        return
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str((options.output / "compiled").absolute()))
    # Pages of 2 MB: more steps in a second for a network on one core, and the same numbers.
    os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    for tile in options.tiles:
        prepare(options, tile)
    write_tables(options.output)
    for _ in cores.side_by_side(lambda key: row(options, key), keys, options.jobs):
        write_tables(options.output)
    print((options.output / "transfer.md").read_text(), end="")


if __name__ == "__main__":
    main()
