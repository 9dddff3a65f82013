"""The cells of the tables of the 2024 report, and how each was trained."""
