"""What the verbs print of what is logged: each line once, as it is, and of other processes warnings alone."""

import logging
import subprocess
import sys

import pytest

from lcjax.cli import console

LOG = logging.getLogger("lcjax")


@pytest.fixture(autouse=True)
def as_in_a_fresh_process(monkeypatch):
    """Without the console that every test has."""
    monkeypatch.setattr(LOG, "handlers", [logging.NullHandler()])
    monkeypatch.setattr(LOG, "propagate", True)
    monkeypatch.setattr(LOG, "level", logging.NOTSET)


def test_process_0_prints_lines_as_they_are(capsys):
    with console.attached():
        LOG.info("step 3/4  100% of 'water'\n  second line")
        LOG.warning("%s is empty", "train")
        LOG.error("lost")
        LOG.debug("not this")
    assert capsys.readouterr() == (
        "step 3/4  100% of 'water'\n  second line\nwarning: train is empty\nerror: lost\n",
        "",
    )


def test_other_processes_print_warnings_with_their_number(capsys):
    with console.attached(process=3):
        LOG.info("step 3/4")
        LOG.warning("disk is slow")
    assert capsys.readouterr() == ("process 3: warning: disk is slow\n", "")


def test_loggers_below_print_too(capsys):
    with console.attached():
        logging.getLogger("lcjax.training.loop").info("below")
    assert capsys.readouterr().out == "below\n"


def test_nothing_is_printed_twice_or_afterwards(capsys, monkeypatch):
    """As with absl, which Orbax brings: it prints what reaches the root logger."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [*root.handlers, logging.StreamHandler()])
    before = (LOG.level, LOG.propagate, list(LOG.handlers))
    with console.attached():
        pass
    with console.attached():
        LOG.info("once")
    assert capsys.readouterr() == ("once\n", "")
    assert (LOG.level, LOG.propagate, list(LOG.handlers)) == before
    LOG.info("afterwards")
    assert capsys.readouterr() == ("", "")


def test_one_within_another_takes_its_place(capsys):
    with console.attached():
        with console.attached(process=2):
            LOG.info("unseen")
            LOG.warning("seen")
        LOG.info("again")
    assert capsys.readouterr().out == "process 2: warning: seen\nagain\n"


def test_a_stdout_that_is_gone_ends_the_verb(monkeypatch):
    def gone(*_, **__):
        raise BrokenPipeError("Broken pipe")

    monkeypatch.setattr("builtins.print", gone)
    with console.attached(), pytest.raises(BrokenPipeError):
        LOG.info("nobody reads this")


def test_as_a_library_it_prints_nothing_of_its_own():
    script = "import logging, lcjax; logging.getLogger('lcjax').warning('not shown')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
