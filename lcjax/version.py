"""The version of lcjax."""

__version__ = "0.2.0"
