"""One verb of the command line, run in this process."""

import grain  # noqa: F401  it defines flags of its own, which `command` must not take for those of a verb
import pytest
from absl import flags

from lcjax.cli import main as verbs


@pytest.fixture
def command(monkeypatch, capsys, request):
    """Runs main() and forgets the flags that it defined; returns (exit code, stdout, lines of stderr)."""
    monkeypatch.chdir(request.config.rootpath)

    def run(*arguments: str) -> tuple[int, str, list[str]]:
        before = set(flags.FLAGS)
        # Here the config library looks for --config.FIELD=VALUE.
        monkeypatch.setattr("sys.argv", ["lcjax", *arguments])
        try:
            code = verbs.main(list(arguments))
        finally:
            for name in set(flags.FLAGS) - before:
                delattr(flags.FLAGS, name)
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return run
