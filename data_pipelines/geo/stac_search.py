"""STAC searches: the items that an API finds, by pystac-client, the extra `cloud`."""

import re
import urllib.parse
from typing import Any

from data_pipelines.remote import addresses, hosts
from data_pipelines.remote.addresses import Address
from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError

_TRIES = 5
_SILENCE = 60.0  # seconds without an answer
_EXAMPLE = "https://HOST/search?collections=NAME&bbox=WEST,SOUTH,EAST,NORTH&datetime=2020-08-01/2020-08-31"
_LISTS = ("collections", "ids")
_NAMES = (*_LISTS, "bbox", "datetime", "query", "filter", "limit", "max_items")


def is_search(text: str) -> bool:
    """Whether a text is the address of a STAC search: https://HOST/search?collections=..."""
    plain = addresses.remote_text(text)
    return bool(plain) and urllib.parse.urlsplit(plain).path.rstrip("/").endswith("/search")


def items(text: str) -> dict[str, Address]:
    """The items that a search finds, by name: the id, as a file can be called.

    Raises:
      InputError: pystac-client is not installed; the server fails, may not be asked, or finds nothing, too much, or
        what has no address of its own.
    """
    address = addresses.given(text, "--scene")
    assert isinstance(address, Address)
    url = address.file.url
    root = url.partition("?")[0].rstrip("/").removesuffix("search")
    asked = _asked(address, url)
    found: dict[str, Address] = {}
    for item in _answers(address, root, asked):
        name = re.sub(r"[^\w.-]", "_", str(item.get("id"))).lstrip(".") or "item"
        links = [link.get("href") for link in item.get("links", ()) if link.get("rel") == "self"]
        if not links or not isinstance(links[0], str) or not addresses.remote_text(links[0]):
            raise InputError(f"{address}: the item {name[:60]} has no address of its own; expected a link `self`")
        if name in found:
            raise InputError(f"{address}: two items {name[:60]}; expected one collection: name it with collections=")
        found[name] = addresses.given(links[0], f"{address}: item {name[:60]}")  # type: ignore[assignment]
    if not found:
        raise InputError(f"{address}: the search finds nothing; expected items: widen bbox or datetime")
    return found


def _asked(address: Address, url: str) -> dict[str, Any]:
    """What a search asks for, as pystac-client takes it."""
    asked: dict[str, Any] = {}
    for name, value in urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query):
        if name not in _NAMES or name in asked:
            raise InputError(f"{address}: {name[:60]!r}; expected each of {', '.join(_NAMES)} at most once: {_EXAMPLE}")
        asked[name] = value.split(",") if name in _LISTS else value
    try:
        for name in ("limit", "max_items"):
            if name in asked:
                asked[name] = int(asked[name])
        if "bbox" in asked:
            asked["bbox"] = [float(number) for number in asked["bbox"].split(",")]
    except ValueError as error:
        raise InputError(f"{address}: {error}; expected numbers in bbox and limit: {_EXAMPLE}") from error
    if "query" in asked:  # eo:cloud_cover<20, and more with commas between them
        asked["query"] = asked["query"].split(",")
    return asked


def _answers(address: Address, root: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        import pystac_client
        import requests
        from pystac_client.exceptions import APIError
        from pystac_client.stac_api_io import StacApiIO
    except ImportError as error:
        raise InputError(
            f"{address}: a search needs the package pystac-client, which is not installed: pip install 'lcjax[cloud]'"
        ) from error

    class Checked(requests.adapters.HTTPAdapter):
        """Asks no server that the command line does not name, wherever links and redirects lead."""

        def send(self, request, *words, **options):  # type: ignore[no-untyped-def]
            hosts.check(request.url, f"{address}: {request.url.partition('?')[0]}")
            return super().send(request, *words, **options)

    api = StacApiIO(timeout=_SILENCE)
    retries = requests.adapters.Retry(_TRIES, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504))
    for scheme in ("https://", "http://"):
        api.session.mount(scheme, Checked(max_retries=retries))
    most = asked.pop("max_items", limits.SEARCH_ITEMS + 1)
    try:
        with api.session:
            client = pystac_client.Client.open(root, stac_io=api)
            found = list(client.search(**asked, max_items=most, method="GET").items_as_dicts())
    except InputError:
        raise
    except (APIError, requests.RequestException, NotImplementedError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{address}: the search fails ({' '.join(str(error).split())[:200]}); expected a STAC API with item "
            f"search, as in {_EXAMPLE}"
        ) from error
    if len(found) > limits.SEARCH_ITEMS:
        raise InputError(
            f"{address}: finds more than {limits.SEARCH_ITEMS:,} items; narrow it by bbox and datetime, or take the "
            f"first of them with max_items={limits.SEARCH_ITEMS}"
        )
    return found
