"""The embedded default: small synthetic landscapes as GeoTIFFs in the layouts of SEN12MS, DFC2020 and FLAIR-1."""
