"""The server of a page: on this machine alone, for those who know the address, and of the named files alone.

It listens on 127.0.0.1. Other people of the machine do not know the secret that each address begins with; a page of a
stranger, whose name leads to this machine, asks for another host than this one, and is refused. No part of an address
is a path: layers have names, tiles and pixels have numbers.
"""

import contextlib
import gzip
import http.server
import json
import logging
import re
import secrets
import sys
import urllib.parse
from collections.abc import Callable

from data_pipelines.geo import raster_io
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused
from lcjax.viewing import page
from lcjax.viewing.ground import Ground

_log = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
HOSTS = (ADDRESS, "localhost")
_SECONDS = 60  # that a connection may be silent
_TILE = re.compile(r"tile/([a-z]+)/(\d{1,2})/(\d{1,7})/(\d{1,7})")
_VALUES = re.compile(r"values/(\d{1,7})/(\d{1,7})")


class Server(http.server.ThreadingHTTPServer):
    """Serves one ground.

    Attributes:
      ground: what is shown.
      secret: what each address begins with.
    """

    daemon_threads = True

    def __init__(self, ground: Ground, port: int):
        """Listens at once. Raises InputError where it cannot; port 0 is any that is free."""
        self.ground, self.secret = ground, secrets.token_urlsafe(16)
        self.text = page.html(ground).encode()
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise InputError(
                f"--port={port}: cannot be listened on ({error.strerror}); expected a port that is free, from 1024 on; "
                "without --port one is found"
            ) from error

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of readers that are gone; the rest is a defect, and shown whole."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{ADDRESS}:{self.server_port}/{self.secret}/"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "lcjax", ""
    timeout = _SECONDS

    def do_GET(self) -> None:
        """Answers with the page, a tile, or the values of a pixel."""
        if _hostname(self.headers.get("Host", "")) not in HOSTS:
            return self._refuse(403, "another host is asked for")
        asker, how, goal = (self.headers.get(f"Sec-Fetch-{name}", "none") for name in ("Site", "Mode", "Dest"))
        # The link may be followed in a terminal that is a page itself; that page can read nothing of what is opened.
        if asker not in ("none", "same-origin") and (how, goal) != ("navigate", "document"):
            return self._refuse(403, "another page asks")
        place, mark, _ = self.path.partition("?")
        secret, slash, rest = place.removeprefix("/").partition("/")
        if not secrets.compare_digest(secret.encode(), self.server.secret.encode()):
            return self._refuse(404, "no such page; the whole address stands where lcjax view was started")
        if not slash:  # what the page asks for would be looked for beside it
            return self._answer("text/plain; charset=utf-8", b"", 308, Location=f"/{self.server.secret}/")
        if rest == "":
            return self._answer("text/html; charset=utf-8", self.server.text)
        for pattern, answer in () if mark else ((_TILE, self._tile), (_VALUES, self._values)):
            if match := pattern.fullmatch(rest):
                return self._read(answer, *match.groups())
        return self._refuse(404, "no such page")

    def _read(self, answer: Callable[..., None], *words: str) -> None:
        try:
            answer(*words)
        except (Refused, OSError) as error:  # it was changed, or is gone
            _log.warning(f"{error}")
            self._refuse(500, str(error))

    def _tile(self, name: str, *numbers: str) -> None:
        ground, (level, column, row) = self.server.ground, map(int, numbers)
        if name not in ground.layers or level >= ground.levels or 0 in ground.tile_shape(level, column, row):
            return self._refuse(404, "no such tile")
        return self._answer("application/octet-stream", ground.tile(name, level, column, row))

    def _values(self, *numbers: str) -> None:
        ground, (column, row) = self.server.ground, map(int, numbers)
        if column >= ground.width or row >= ground.height:
            return self._refuse(404, "no such pixel")
        found = {"values": ground.values(column, row), "place": ground.place(column + 0.5, row + 0.5)}
        return self._answer("application/json", json.dumps(found).encode())

    def _refuse(self, code: int, why: str) -> None:
        self._answer("text/plain; charset=utf-8", f"{why}\n".encode(), code)

    def _answer(self, kind: str, content: bytes, code: int = 200, **more: str) -> None:
        content = gzip.compress(content, 1)
        self.send_response(code)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Content-Encoding": "gzip",
            "Cache-Control": "no-store",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            **more,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the reader is gone
            self.wfile.write(content)

    def log_message(self, format: str, *values: object) -> None:
        """Says nothing of what is asked for."""


def _hostname(host: str) -> str:
    """The name in a Host header, without the port; "" of what is none."""
    try:
        return urllib.parse.urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def serve(server: Server, told: Callable[[str], None]) -> None:
    """Serves until it is interrupted.

    Args:
      server: that listens.
      told: is called with the address of the page.
    """
    with raster_io.anywhere(), server, contextlib.suppress(KeyboardInterrupt):
        told(server.url)
        server.serve_forever()
