"""The data sets that are known, a folder each, and what some of them share."""
