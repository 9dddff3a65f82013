"""The one exception for what a user can put right, and what may have been meant."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A file, an option or a folder is not what it should be.

    The message is one line: what was found and where, what was expected, and what to do next. `launch.py` prints it
    without a traceback and exits with code 2.
    """


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Returns a question for a message, with a space after it: "did you mean 'focal'? "; empty where no name is near.

    Args:
      word: that is none of the names.
      known: the names.
      cutoff: how alike the two must be at least, from 0 to 1 (difflib.get_close_matches).
    """
    near = difflib.get_close_matches(word, known, 1, cutoff)
    return f"did you mean {near[0]!r}? " if near else ""
