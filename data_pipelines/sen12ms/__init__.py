"""SEN12MS: Sentinel-1 and Sentinel-2 pairs of four seasons with MODIS land cover."""
