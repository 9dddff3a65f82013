"""The one exception for what a user can put right."""


class InputError(ValueError):
    """A file, an option or a folder is not what it should be.

    The message is one line: what was found and where, what was expected, and what to do next. `launch.py` prints it
    without a traceback and exits with code 2.
    """
