"""Runs compared: tables, figures, one page."""
