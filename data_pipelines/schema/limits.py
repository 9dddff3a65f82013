"""The sizes that files and flags from elsewhere may have: what is larger is refused before memory or time is taken.

Each limit lies well above what people are known to have, and well below what harms the machine. docs/security.md lists
them; a test compares.
"""

# ---- rasters --------------------------------------------------------------------------------------------------------

MAX_PIXELS = 40_000_000_000  # of one raster, width x height: 200,000 x 200,000
MAX_BANDS = 1024
MAX_SENSORS = 64  # columns of images in a CSV: each of their files is opened for every place
MAX_BLOCK_BYTES = 2**29  # of one strip or tile, all that are decoded together: 512 MB
MAX_EXPANSION = 10_000  # bytes of pixels for each of a file, from `SMALL_BYTES` of pixels on: no codec does more
SMALL_BYTES = 2**32
TILE_EDGE = 16_384  # pixels, of a tile of a published data set, which is read whole
SIDECAR_BYTES = 2**25  # of a text that GDAL reads beside a raster: 32 MB
VRT_BYTES = 2**26  # 64 MB: some 100,000 sources
VRT_SOURCES = 100_000
VRT_DEPTH = 4  # VRTs within VRTs
XML_DEPTH = 32
VECTOR_BYTES = 2**30  # of a file of polygons, lines or points, which is read whole: 1 GB
VECTOR_FEATURES = 5_000_000
VECTOR_POINTS = 50_000_000  # of all of them together: 800 MB of memory
# What the command line switches off in GDAL before it starts: a second lock behind the one reader of rasters, which
# opens none of this. GDAL warns of names that it does not know, so these are some that every usual GDAL has.
GDAL_OFF = {
    "GDAL_SKIP": "MRF,WMS,WMTS,WCS,HTTP,STACIT",
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",  # the one address that may be fetched
    "GDAL_VRT_ENABLE_PYTHON": "NO",
}

# ---- rasters on servers ---------------------------------------------------------------------------------------------

REMOTE_CACHE_BYTES = 2**28  # of what was fetched and is kept in memory, of all files together: 256 MB
REMOTE_PART_BYTES = 2**24  # of one request: 16 MB
ITEM_BYTES = 2**22  # of a STAC item: 4 MB; those of Sentinel-2 have some 50 KB
ITEM_ASSETS = 1000  # of a STAC item
SEARCH_ITEMS = 1000  # that a search may find
SEARCH_BYTES = 2**26  # of a page of a search: 64 MB; 1,000 items of Sentinel-2 have some 50 MB

# ---- texts ----------------------------------------------------------------------------------------------------------

MAX_NAME = 200  # letters of a name (class, band, data set, array of weights): longer ones fit no figure, and no table
MAX_CELL = 10_000  # letters of one cell of a CSV
TABLE_BYTES = 2**28  # of a CSV: 256 MB, some millions of rows
JSON_BYTES = 2**28  # of a JSON file: the metadata of FLAIR-1 is 40 MB
JSON_DEPTH = 50  # lists and objects within each other

CONFUSIONS_BYTES = 2**30  # of the confusion counts of the records of an evaluation: 1 GB, 700,000 records of 19 classes

# ---- archives and folders -------------------------------------------------------------------------------------------

FOLDER_DEPTH = 64  # folders within each other, in an archive or below --source: far below what a path may hold
NAME_BYTES = 240  # of the name of a member, in UTF-8: file systems take 255, of which a temporary name takes some
LISTING_BYTES = 2**27  # of a zip's table of contents: 128 MB, a million members; each takes 700 bytes of memory
HEADER_BYTES = 2**20  # of one header of a tar: holds long names; read whole
UNPACKED_EXPANSION = 250  # bytes unpacked for each of an archive, from `UNPACKED_SMALL` on: images shrink 2 to 20 fold
UNPACKED_SMALL = 2**32  # bytes: 4 GB

# ---- weights --------------------------------------------------------------------------------------------------------

WEIGHTS_BYTES = 2**33  # of a file of weights, and of its arrays in memory: 8 GB, twice the largest encoders in float32
WEIGHTS_EXPANSION = 20  # bytes of arrays for each of a file, from `WEIGHTS_SMALL` on: weights hardly shrink
WEIGHTS_SMALL = 2**28  # 256 MB
WEIGHTS_ARRAYS = 100_000  # of one file, with the single values beside them: those of the largest encoders have 3,000
WEIGHTS_HEADER = 2**25  # bytes of names and shapes before or beside the numbers: 32 MB
WEIGHTS_DEPTH = 16  # dictionaries and lists within each other
WEIGHTS_AXES = 8  # of one array

# ---- flags and fields of a config -----------------------------------------------------------------------------------

MAX_TILE = 4096  # pixels, edge of a tile of `prepare`
RECORD_BYTES = 2**30  # of the image of one record: 1 GB; what holds it on disk ends at 2 GB
MAX_WORKERS = 1024  # processes
MAX_BATCH = 65_536  # tiles or images in one call of the network
STRIP_BYTES = 2**33  # of memory that `predict` takes for one row of tiles, unless --max_memory says another: 8 GB
