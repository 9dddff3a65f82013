"""Rasters and places on the ground."""
