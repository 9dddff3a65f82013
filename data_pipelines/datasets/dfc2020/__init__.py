"""DFC2020: Sentinel-1, Sentinel-2 and semi-manual land cover at 10 m."""
