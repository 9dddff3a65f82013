"""Whether `lcjax sweep` finds higher scores than chance in as many trials, on functions whose maximum is known.

  python benchmarks/sweep_against_random.py --trials=30 --seeds=10

A trial is a formula here, Hartmann's in six dimensions or Branin's in two, of fields of a config that run from 0 to 1;
everything else is the real thing: space, storage, sampler, worker. Functions and maxima: Surjanovic and Bingham,
Virtual Library of Simulation Experiments, https://www.sfu.ca/~ssurjano/optimization.html.
"""

import argparse
import math
import pathlib
import statistics
import tempfile

import numpy as np
from absl import logging

import lcjax
from lcjax.configs import registry
from lcjax.runs import config_fields
from lcjax.sweep import check, page, process, worker

FIELDS = [
    *(f"augmentation.{name}" for name in ("brightness", "contrast", "noise", "drop_bands", "cutmix")),
    "class_weights",
]
_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(x: np.ndarray) -> float:
    """Hartmann's function of six numbers from 0 to 1, to be high; at most 3.32237."""
    return float(_ALPHA @ np.exp(-(_A * (x - _P) ** 2).sum(1)))


def branin(x: np.ndarray) -> float:
    """Branin's function of two numbers from 0 to 1, to be high; at most -0.397887."""
    a, b = 15 * x[0] - 5, 15 * x[1]
    curve = b - 5.1 / (4 * math.pi**2) * a**2 + 5 / math.pi * a - 6
    return -float(curve**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10)


FUNCTIONS = {"Hartmann, 6 fields": (hartmann, 6), "Branin, 2 fields": (branin, 2)}


def best_of(function, fields: list[str], sampler: str, seed: int, trials: int) -> float:
    """The highest score of a study."""
    config = lcjax.config("dfc2020", tiny=True, seed=seed)

    def run(folder, seen, _):
        values = config_fields.flat(registry.parse(str(folder / process.CONFIG)))
        seen([function(np.array([values[field] for field in fields]))])
        return process.Outcome("done")

    with tempfile.TemporaryDirectory() as folder:
        best = worker.sweep(
            config,
            pathlib.Path(folder) / "study",
            dict.fromkeys(fields, "uniform 0 1"),
            worker.Limits(trials),
            sampler=sampler,
            pruner="none",
            runner=run,
            look=lambda *_: check.Found("score", 1, False),
        )
    assert best is not None and best.score is not None
    return best.score


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30, help="of each study")
    parser.add_argument("--seeds", type=int, default=10, help="studies with each sampler")
    options = parser.parse_args()
    logging.set_verbosity(logging.WARNING)
    page.render = lambda *_: {}  # type: ignore[assignment]  # nobody looks
    print(f"| function | sampler | best of {options.trials}, mean of {options.seeds} seeds | least to most |")
    print("|---|---|---|---|")
    for name, (function, dimensions) in FUNCTIONS.items():
        fields = FIELDS[:dimensions]
        for sampler in ("tpe", "random"):
            best = [best_of(function, fields, sampler, seed, options.trials) for seed in range(options.seeds)]
            print(
                f"| {name} | {sampler} | {statistics.mean(best):.3f} | {min(best):.3f} to {max(best):.3f} |", flush=True
            )


if __name__ == "__main__":
    main()
