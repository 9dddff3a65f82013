"""The sizes that files from elsewhere may have: what is larger is refused before memory or time is taken for it."""

# ---- rasters --------------------------------------------------------------------------------------------------------

MAX_PIXELS = 40_000_000_000  # of one raster, width x height: 200,000 x 200,000
MAX_BANDS = 1024
MAX_BLOCK_BYTES = 2**29  # of one strip or tile, all that are decoded together: 512 MB
MAX_EXPANSION = 10_000  # bytes of pixels for each of a file, from `SMALL_BYTES` of pixels on: no codec does more
SMALL_BYTES = 2**32
TILE_EDGE = 16_384  # pixels, of a tile of a published data set, which is read whole
SIDECAR_BYTES = 2**25  # of a text that GDAL reads beside a raster: 32 MB
VRT_BYTES = 2**26  # 64 MB: some 100,000 sources
VRT_SOURCES = 100_000
VRT_DEPTH = 4  # VRTs within VRTs
XML_DEPTH = 32
