"""Runs compared with the printed tables of the 2024 report."""
