"""`python -m lcjax` is `lcjax`."""

import sys

from lcjax.cli import main as verbs
from lcjax.parallel import cpu


def main() -> int:
    """Runs the verb of the command line; returns the exit code."""
    verb = verbs.VERBS.get(next(iter(sys.argv[1:]), ""))
    if verb and verb.computes:
        cpu.begin_with_large_pages()
    return verbs.main()


if __name__ == "__main__":
    sys.exit(main())
