"""Where SEN12MS can be had: one archive for each season and sensor, at the media library of TU Munich."""

from data_pipelines.schema.spec import Downloads, RemoteFile

_SEASONS = {"spring": "ROIs1158", "summer": "ROIs1868", "fall": "ROIs1970", "winter": "ROIs2017"}
# User and password are those that the public record tells everybody.
_SERVER = "ftp://m1474000:m1474000@dataserv.ub.tum.de"

DOWNLOADS = Downloads(
    source="https://mediatum.ub.tum.de/1474000",
    listed="2026-11-22",
    files=tuple(
        RemoteFile(part=f"{season}/{sensor}", url=f"{_SERVER}/{region}_{season}_{sensor}.tar.gz")
        for season, region in _SEASONS.items()
        for sensor in ("s1", "s2", "lc")
    ),
    note="All together are about 510 GB; one season is enough to begin with (--part=spring). For pairs without labels "
    "leave lc out (--part=spring/s1,spring/s2).",
)
