"""Our networks beside the same ones in PyTorch, by turns, in one run.

  make peers
  python benchmarks/peers/compare.py --output=DIR --cases=swin_unet --precisions=f32

Each side is a process of its own that computes only when it is asked to (worker.py), so that what else the machine does
touches all alike: a round asks each for a few calls, one after the other, and the ratio of a round is that of their
medians. The table gives the median of the rounds' ratios and their range. All sides have the same network (held entry
by entry against ours by tests/parity), batch, loss, optimiser, clipping, and all cores. Beside the networks alone
("training", "forward") there is the way from a scene to its map ("scene"), and the reading of records ("reading"). It
takes the environment of `make parity`, which holds PyTorch and ours; with a GPU both use it, and float32 is TF32 in
products of both there.

Writes DIR/peers.json after each case and DIR/peers.md. Started again it goes on with the cases that are missing; what
was measured with fewer sides, or other batches, rounds and calls, is measured anew. For a GPU there is gpu.sh.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence

from cases import CASES, MODES, PRECISIONS, SIDES, Side, amount, modes, sides

from data_pipelines.schema.files import write_atomically

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REFERENCES = tuple(name for name in SIDES if name.startswith("torch"))


@contextlib.contextmanager
def started(side: Side, *words: str) -> Iterator[subprocess.Popen]:
    """A side, for the time of the context."""
    # All sides are there at once, and on a GPU no one of JAX may take three quarters of its memory beforehand.
    environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | os.environ
    environment |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"}
    command = [sys.executable, str(HERE / side.script), *words, side.how]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def heard(process: subprocess.Popen):
    """What a side says next. Ends the run where it died."""
    assert process.stdout
    for line in process.stdout:
        if line.startswith("\x1e"):
            return json.loads(line[1:])
    sys.exit(f"peers: {process.args!r} ended; what it said stands above")


def asked(process: subprocess.Popen, calls: int) -> list[float]:
    """Milliseconds of so many calls of a side."""
    assert process.stdin
    process.stdin.write(f"{calls}\n")
    process.stdin.flush()
    found: list[float] = heard(process)
    return found


def measured(
    name: str,
    mode: str,
    precision: str,
    wanted: Sequence[str],
    *,
    output: pathlib.Path,
    batch: int,
    rounds: int,
    calls: int,
) -> dict:
    """The times of the sides of a case, by turns."""
    with contextlib.ExitStack() as stack:
        running, about = {}, {}
        for side in wanted:
            running[side] = stack.enter_context(
                started(SIDES[side], name, mode, precision, str(batch), str(output.absolute()))
            )
            about[side] = heard(running[side])  # one after the other: compiling takes all cores
            seconds = about[side]["ready"]
            print(f"{_how(name, mode, precision)}: {side} ready after {seconds:.0f} s", file=sys.stderr, flush=True)
        times: dict[str, list[list[float]]] = {side: [] for side in wanted}
        for _ in range(rounds):
            for side, process in running.items():
                times[side].append(asked(process, calls))
    return {
        "case": name,
        "mode": mode,
        "precision": precision,
        "batch": batch,
        "edge": CASES[name].edge,
        "parameters": {side: one["parameters"] for side, one in about.items()},
        "build_seconds": {side: one["ready"] for side, one in about.items()},
        "milliseconds": times,
    }


def ratios(row: dict, side: str) -> list[float]:
    """How many times as fast a side is as the fastest of PyTorch, by round."""
    medians = {name: [statistics.median(one) for one in rounds] for name, rounds in row["milliseconds"].items()}
    peers = [medians[name] for name in REFERENCES if name in medians]
    # The fastest of them over all rounds, not the luckiest of each.
    best = min(peers, key=statistics.median)
    return [theirs / ours for theirs, ours in zip(best, medians[side], strict=True)]


def table(rows: Sequence[dict]) -> str:
    """Markdown, a table for each unit: how much each side does in a second, and how many times that of PyTorch."""
    lines = []
    for unit in dict.fromkeys(MODES.values()):
        found = [row for row in rows if MODES[row["mode"]] == unit]
        names = [name for name in SIDES if any(name in row["milliseconds"] for row in found)]
        if not found:
            continue
        lines += [
            f"{unit[0].upper()}{unit[1:]} per second, medians; in brackets how many times as fast as the fastest of "
            "PyTorch, median and range of the rounds.",
            "",
            "| | | " + " | ".join(names) + " |",
            "|---|---|" + "--:|" * len(names),
            *(
                f"| {row['case']} | {_how(row['mode'], row['precision'])} | {' | '.join(_cells(row, names))} |"
                for row in found
            ),
            "",
        ]
    return "\n".join(lines)


def _how(*words: str) -> str:
    return ", ".join(filter(None, words))  # reading has no precision


def _cells(row: dict, names: Sequence[str]) -> Iterator[str]:
    times = row["milliseconds"]
    for name in names:
        if name not in times:
            yield ""
            continue
        median = statistics.median(statistics.median(one) for one in times[name])
        cell = f"{1e3 * amount(row['mode'], row['batch']) / median:.2f}"
        if name not in REFERENCES and any(other in times for other in REFERENCES):
            found = ratios(row, name)
            cell += f" ({statistics.median(found):.2f}, {min(found):.2f} to {max(found):.2f})"
        yield cell


def key_of(row: dict) -> tuple[str, str, str]:
    """What a row is of."""
    return row["case"], row["mode"], row["precision"]


def is_of(row: dict, key: tuple[str, str, str], wanted: Sequence[str], options: argparse.Namespace) -> bool:
    """Whether a row holds what is asked for: all sides, as many images, rounds and calls."""
    times = row["milliseconds"]
    return (key_of(row), row["batch"]) == (key, options.batch) and all(
        side in times and [len(calls) for calls in times[side]] == [options.calls] * options.rounds for side in wanted
    )


def _asked_for(options: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """Case, mode and precision of each row; reading has no precision."""
    for name in options.cases:
        for mode in modes(CASES[name]):
            if mode in options.modes:
                yield from ((name, mode, one) for one in (options.precisions if mode != "reading" else ("",)))


def _listed(known: Sequence[str]):
    def read(text: str) -> tuple[str, ...]:
        values = tuple(text.split(","))
        if not set(values) <= set(known):
            raise argparse.ArgumentTypeError(f"{text}: expected some of {', '.join(known)}")
        return values

    return read


def main() -> None:
    """Measures what is missing, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    for name, known in (
        ("cases", tuple(CASES)),
        ("modes", tuple(MODES)),
        ("precisions", PRECISIONS),
        ("sides", tuple(SIDES)),
    ):
        parser.add_argument(f"--{name}", type=_listed(known), default=known, help=", ".join(known))
    parser.add_argument("--batch", type=int, default=8, help="images of a step")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=3, help="of each side in a round")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    kept = options.output / "peers.json"
    rows = json.loads(kept.read_text()) if kept.exists() else []
    for name, mode, precision in _asked_for(options):
        wanted = [side for side in sides(CASES[name], mode) if side in options.sides]
        key = (name, mode, precision)
        if not wanted or any(is_of(row, key, wanted, options) for row in rows):
            continue
        rows = [row for row in rows if key_of(row) != key]
        how = {"output": options.output, "batch": options.batch, "rounds": options.rounds, "calls": options.calls}
        rows.append(measured(name, mode, precision, wanted, **how))
        write_atomically(kept, json.dumps(rows, indent=1))
        write_atomically(options.output / "peers.md", table(rows))
    print(table(rows), end="")


if __name__ == "__main__":
    main()
