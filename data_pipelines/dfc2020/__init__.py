"""DFC2020 and SEN12MS: Sentinel-1, Sentinel-2 and land cover at 10 m."""
