"""A server on this machine that sends files by parts, fails as it is told, and notes what it was asked."""

import contextlib
import http.server
import json
import re
import threading
import time
import urllib.parse

import numpy as np
import rasterio
from rasterio import Affine
from rasterio.io import MemoryFile


class Server(http.server.ThreadingHTTPServer):
    """Files by path.

    Attributes:
      files: path -> bytes, or what is sent as JSON.
      etags: path -> ETag; None is that none is told. Else it is that of the content.
      moved: path -> where it is sent on to.
      statuses: of the next answers, in place of the file.
      cuts: so many bytes are sent of the next answers, and no more; None is all.
      slow: seconds before an answer.
      trickle: seconds before each byte of one.
      parts: whether parts are known.
      asked: (path with query, Range) of each request.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes | dict] = {}
        self.etags: dict[str, str | None] = {}
        self.moved: dict[str, str] = {}
        self.statuses: list[int] = []
        self.cuts: list[int | None] = []
        self.slow = self.trickle = 0.0
        self.parts = True
        self.asked: list[tuple[str, str | None]] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def url(self, path: str) -> str:
        return f"http://{self.host}/{path}"

    def sent(self, path: str) -> int:
        """Bytes of a file that were asked for, each once."""
        seen = set()
        for asked, part in self.asked:
            if asked.partition("?")[0] == f"/{path}" and part:
                first, last = map(int, re.findall(r"\d+", part))
                seen |= set(range(first, min(last + 1, len(self.files[path]))))
        return len(seen)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server: Server = self.server
        server.asked.append((self.path, self.headers["Range"]))
        time.sleep(server.slow)
        path = urllib.parse.unquote(self.path.partition("?")[0]).lstrip("/")
        if server.statuses and (status := server.statuses.pop(0)):
            return self.send_error(status)
        if path in server.moved:
            self.send_response(302)
            return self.tell({"Location": server.moved[path], "Content-Length": "0"})
        if path not in server.files:
            return self.send_error(404)
        data = server.files[path]
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        headers = {"Content-Type": "application/json"} if path.endswith(("json", "search", "/")) or not path else {}
        etag = server.etags.get(path, f'"{hash(data)}"')
        headers |= {"ETag": etag} if etag else {}
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "") if server.parts else None
        if part and int(part[1]) >= len(data):
            self.send_response(416)
            return self.tell(headers | {"Content-Range": f"bytes */{len(data)}"})
        body = data[int(part[1]) : int(part[2]) + 1] if part else data
        if part:
            headers["Content-Range"] = f"bytes {part[1]}-{int(part[1]) + len(body) - 1}/{len(data)}"
        self.send_response(206 if part else 200)
        self.tell(headers | {"Content-Length": str(len(body))})
        cut = server.cuts.pop(0) if server.cuts else None
        with contextlib.suppress(ConnectionError):
            for place in range(len(body) if server.trickle else 0):
                time.sleep(server.trickle)
                self.wfile.write(body[place : place + 1])
            self.wfile.write(b"" if server.trickle else body[:cut])

    def tell(self, headers):
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *words):
        pass


@contextlib.contextmanager
def running():
    server = Server()
    server.daemon_threads, server.block_on_close = False, True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


PLACE = {"crs": "EPSG:32632", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}


def tiff(values: np.ndarray, *, names=(), edge=64, pixel=10.0, mask=None, **profile) -> bytes:
    """A tiled GeoTIFF (bands, H, W), with pixels of so many metres."""
    count, height, width = values.shape
    place = PLACE | {"transform": Affine(pixel, 0, 500_000, 0, -pixel, 5_000_000)}
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    tiles = {"tiled": True, "blockxsize": edge, "blockysize": edge}
    with MemoryFile() as file, rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with file.open(driver="GTiff", **shape, **tiles, **place | profile) as dataset:
            dataset.write(values)
            dataset.descriptions = names or (None,) * count
            if mask is not None:
                dataset.write_mask(mask)
        return file.read()


def image(seed: int, height=200, width=300, bands=3, top=4000, dtype="uint16") -> np.ndarray:
    return np.random.default_rng(seed).integers(1, top, (bands, height, width)).astype(dtype)


def item(assets: dict, **properties) -> dict:
    """A STAC item; assets: key -> what it says."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "S2A_32UMD_20200823",
        "geometry": None,
        "links": [],
        "properties": {"datetime": "2020-08-23T10:15:59Z"} | properties,
        "assets": assets,
    }


def asset(href: str, *bands: tuple[str, str], **fields) -> dict:
    """An asset of a STAC item, with (name, common name) of its bands."""
    named = [{"name": name} | ({"common_name": common} if common else {}) for name, common in bands]
    return {"href": href, "type": "image/tiff; application=geotiff", "roles": ["data"], "eo:bands": named} | fields
