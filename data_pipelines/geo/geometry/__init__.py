"""Geometries as arrays: taken apart, asked whether they cross, and made of the areas of a raster."""
