"""Arrays in Zarr stores as rasters: what such a store may hold, and its windows, read through xarray and rioxarray."""
