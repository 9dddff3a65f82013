"""Some thousand hostile or damaged inputs, each given to a verb that must not be harmed by it.

    python tests/hostile/hostile.py              # all of them
    python tests/hostile/hostile.py --count=60   # some of each kind, as `make test` does
    python tests/hostile/hostile.py --only=zip   # those whose name holds a word

A fault is one line: the input, and what is wrong. Its folder is then kept. No fault is exit code 0.
"""

import argparse
import collections
import importlib
import os
import pathlib
import shutil
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "data_pipelines"), str(HERE.parents[1])]
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["MPLBACKEND"] = "agg"
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"


def main() -> int:
    """Runs the corpus; returns 0 where nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=0, help="how many, evenly over the kinds; 0 is all")
    parser.add_argument("--only", default="", help="those whose name holds this")
    parser.add_argument("--beside", type=int, default=len(os.sched_getaffinity(0)), help="how many run side by side")
    parser.add_argument("--keep", default="", help="a folder for the world and what had faults; else a temporary one")
    parser.add_argument("--verbose", action="store_true", help="also what was said of each")
    asked = parser.parse_args()

    import corpus
    import runner
    import world

    for name in runner.PRELOADED:
        importlib.import_module(name)
    root = pathlib.Path(asked.keep or tempfile.mkdtemp(prefix="hostile-")).resolve()
    root.mkdir(parents=True, exist_ok=True)
    begun, faulty, outcomes, slowest, largest = time.monotonic(), 0, collections.Counter(), (0.0, ""), (0, "")
    try:
        with runner.server(root / "requests") as port:
            made = world.make(root / "world", port)
            cases = [case for case in corpus.every() if asked.only in case.name]
            cases = corpus.sample(cases, asked.count) if asked.count else cases
            print(f"{len(cases)} inputs; the world was made in {time.monotonic() - begun:.0f} s", flush=True)
            for case, given, outcome, faults in runner.run(
                cases, made, root / "cases", root / "requests", asked.beside
            ):
                outcomes[outcome.code] += 1
                slowest = max(slowest, (outcome.seconds, case.name))
                largest = max(largest, (outcome.memory, case.name))
                if faults:
                    faulty += 1
                    print(f"FAULT {case.name} ({given.command[0]}): {'; '.join(faults)}", flush=True)
                elif asked.verbose:
                    said = [line for line in outcome.err.splitlines() if line.startswith("lcjax ")] or ["taken"]
                    print(f"{case.name}: {outcome.code}, {outcome.seconds:.1f} s: {said[0][:300]}", flush=True)
    finally:
        if not asked.keep and not faulty:
            shutil.rmtree(root, ignore_errors=True)
    codes = ", ".join(f"{number} of exit code {code}" for code, number in outcomes.items())
    print(f"{faulty} faults in {sum(outcomes.values())} inputs ({codes}), {time.monotonic() - begun:.0f} s; slowest ")
    print(f"{slowest[0]:.1f} s {slowest[1]}, most memory {largest[0] / 1e9:.2f} GB {largest[1]}")
    if faulty and not asked.keep:
        print(f"kept: {root}")
    return int(bool(faulty))


if __name__ == "__main__":
    sys.exit(main())
