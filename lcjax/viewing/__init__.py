"""A map of any size as a page on this machine: its pixels are read where somebody looks."""
