"""The report of 2024 beside our runs."""
