"""What is printed in a context, for tests that cannot ask capsys."""

import contextlib
import io
from collections.abc import Iterator


class Printed:
    """What was printed, once the context is left."""

    text = ""

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


@contextlib.contextmanager
def printed() -> Iterator[Printed]:
    """Catches what is printed in the context, and so what is logged (see conftest.py)."""
    result, stdout = Printed(), io.StringIO()
    try:
        with contextlib.redirect_stdout(stdout):
            yield result
    finally:
        result.text = stdout.getvalue()
