"""SEN12MS: Sentinel-1, Sentinel-2 and MODIS land cover of four seasons."""
