"""STAC searches: the items that an API finds, by pystac-client, the extra `cloud`."""

import re
import urllib.parse
from typing import Any, TypedDict

from data_pipelines.remote import addresses, ranges
from data_pipelines.remote.addresses import Address
from data_pipelines.remote.servers import Unreachable
from data_pipelines.schema import limits, paths, typed_json
from data_pipelines.schema.errors import InputError

_EXAMPLE = "https://HOST/search?collections=NAME&bbox=WEST,SOUTH,EAST,NORTH&datetime=2020-08-01/2020-08-31"
_REMEDY = "is it an answer of a STAC API?"
_LISTS = ("collections", "ids")
_NAMES = (*_LISTS, "bbox", "datetime", "query", "filter", "limit", "max_items")


class _Link(TypedDict):
    """What is read of a link."""

    rel: str
    href: str


class _Item(TypedDict):
    """What is read of an item that is found."""

    id: str
    links: list[_Link]


class _Page(TypedDict, total=False):
    """What is read of a page of an API."""

    links: list[_Link]
    features: list[_Item]


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
        name = re.sub(r"[^\w.-]", "_", item["id"]).lstrip(".") or "item"
        links = [link["href"] for link in item["links"] if link["rel"] == "self"]
        if not links or not addresses.remote_text(links[0]):
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


def _answers(address: Address, root: str, asked: dict[str, Any]) -> list[_Item]:
    try:
        import pystac_client
        from pystac import Link, errors
        from pystac_client.errors import ClientTypeError
        from pystac_client.exceptions import APIError, ParametersError
        from pystac_client.stac_api_io import StacApiIO
    except ImportError as error:
        raise InputError(
            f"{address}: a search needs the package pystac-client, which is not installed: pip install 'lcjax[cloud]'"
        ) from error

    class Asking(StacApiIO):
        """Reads pages as all is read of servers, wherever links lead, and no file of this machine."""

        def read_text(self, source, *words, **options):  # type: ignore[no-untyped-def]
            if not isinstance(source, Link):
                return self.request(str(source), *words, **options)
            return self.request(source.href, source.extra_fields.get("method"))  # what it asks for is in its address

        def request(self, href, method=None, headers=None, parameters=None):  # type: ignore[no-untyped-def]
            return _page(address, href, str(method or "GET").upper(), parameters or {})

    most = asked.pop("max_items", limits.SEARCH_ITEMS + 1)
    failed = f"expected a STAC API with item search, as in {_EXAMPLE}"
    try:
        client = pystac_client.Client.open(root, stac_io=Asking())
        found: list[Any] = list(client.search(**asked, max_items=most, method="GET").items_as_dicts())
    except Unreachable:
        raise
    except InputError as error:
        raise InputError(f"{address}: the search fails ({error}); {failed}") from error
    except (
        APIError,
        ClientTypeError,
        ParametersError,
        errors.STACError,
        errors.STACTypeError,
        errors.RequiredPropertyMissing,
        AttributeError,
        LookupError,
        NotImplementedError,
        OSError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:  # what two libraries run into where pages are no such pages
        raise InputError(f"{address}: the search fails ({' '.join(str(error).split())[:200]}); {failed}") from error
    if len(found) > limits.SEARCH_ITEMS:
        raise InputError(
            f"{address}: finds more than {limits.SEARCH_ITEMS:,} items; narrow it by bbox and datetime, or take the "
            f"first of them with max_items={limits.SEARCH_ITEMS}"
        )
    return found


def _page(address: Address, href: str, method: str, parameters: dict[str, Any]) -> str:
    """A page of an API, as text. Raises InputError where it cannot be had, or is no such page."""
    if method != "GET":
        raise InputError(f"{paths.shown(href)[:200]}: is to be asked by {method[:20]}; expected GET")
    asked = f"{'&' if '?' in href else '?'}{urllib.parse.urlencode(parameters)}" if parameters else ""
    if not (plain := addresses.remote_text(href + asked)):
        raise InputError(f"{href[:80]!r} is no address of a server; expected https://...")
    page = Address.of(plain)
    content = ranges.whole(page, limits.SEARCH_BYTES)
    typed_json.convert(typed_json.parse(content, page, _REMEDY, finite=False), _Page, page, _REMEDY, foreign=True)
    return content.decode()
