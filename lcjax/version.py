"""The version of lcjax."""

__version__ = "0.1.0"
