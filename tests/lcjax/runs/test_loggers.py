"""A logger is quiet for a while, and then as it was, whatever happened."""

import logging

import pytest

from lcjax.runs import loggers


def test_lines_below_a_level_are_left_out_for_a_while(caplog):
    caplog.set_level(logging.INFO, "of_others")
    logger = logging.getLogger("of_others")
    with pytest.raises(ZeroDivisionError), loggers.quiet("of_others", logging.WARNING):
        logger.info("of no interest")
        logger.warning("a warning")
        _ = 1 / 0
    logger.info("again")
    assert [record.message for record in caplog.records] == ["a warning", "again"]
