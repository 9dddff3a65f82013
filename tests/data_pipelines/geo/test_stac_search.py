"""Searches of a small STAC API on this machine, which answers in pages."""

import pytest
from range_server import asset, item

from data_pipelines.geo import stac_search
from data_pipelines.remote import ranges
from data_pipelines.schema.errors import InputError

pytest.importorskip("pystac_client", reason="the extra `cloud` is not installed")

SEARCH = "search?collections=s2&bbox=10,46,11,47&datetime=2020-08-01/2020-08-31"


@pytest.fixture
def api(file_server):
    """An API of three items, on two pages."""
    url = file_server.url

    def found(name):
        links = [{"rel": "self", "href": url(f"items/{name[-1]}")}]
        return item({"red": asset("r.tif", ("B04", "red"))}) | {"id": name, "links": links, "collection": "s2"}

    conforms = [
        f"https://api.stacspec.org/v1.0.0/{part}"
        for part in ("core", "item-search", "item-search#query", "collections")
    ]
    links = [{"rel": rel, "href": url("")} for rel in ("self", "root")]
    links.append({"rel": "search", "href": url("search"), "type": "application/geo+json", "method": "GET"})
    file_server.files[""] = {
        "type": "Catalog", "stac_version": "1.0.0", "id": "api", "description": "x", "conformsTo": conforms,
        "links": links,
    }  # fmt: skip
    next_page = {"rel": "next", "href": url("page2"), "method": "GET"}
    file_server.files["search"] = {
        "type": "FeatureCollection",
        "features": [found("a"), found("b")],
        "links": [next_page],
    }
    file_server.files["page2"] = {"type": "FeatureCollection", "features": [found("c/../d")], "links": []}
    return file_server


def refusal(text) -> str:
    with pytest.raises(InputError) as caught:
        stac_search.items(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_search_finds_items_by_their_names(api):
    found = stac_search.items(api.url(SEARCH))
    assert {name: address.text for name, address in found.items()} == {
        "a": api.url("items/a"), "b": api.url("items/b"), "c_.._d": api.url("items/d")
    }  # fmt: skip
    asked = next(path for path, _ in api.asked if path.startswith("/search"))
    assert "collections=s2" in asked and "bbox=10.0%2C46.0%2C11.0%2C47.0" in asked and "2020-08-31" in asked


def test_the_first_of_many(api, monkeypatch):
    assert list(stac_search.items(api.url(SEARCH + "&max_items=2"))) == ["a", "b"]
    monkeypatch.setattr("data_pipelines.schema.limits.SEARCH_ITEMS", 2)
    assert "finds more than 2 items; narrow it" in refusal(api.url(SEARCH))


def test_no_other_server_is_asked(api):
    api.files["search"]["links"][0]["href"] = "http://169.254.169.254/next"
    assert "http://169.254.169.254/next: lies on the server 169.254.169.254" in refusal(api.url(SEARCH))
    api.files["search"]["links"] = []
    api.files["search"]["features"][0]["links"][0]["href"] = "http://localhost/items/a"
    assert "item a=http://localhost/items/a: lies on the server localhost" in refusal(api.url(SEARCH))
    api.moved["search"] = "http://localhost:1/search"
    assert "lies on the server localhost:1" in refusal(api.url(SEARCH))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("search?colour=red", "'colour'; expected each of collections, ids, bbox"),
        ("search?bbox=1,2,x", "expected numbers in bbox and limit"),
        ("search?collections=a&collections=b", "expected each of"),
    ],
)
def test_what_is_asked_wrongly(api, text, said):
    assert said in refusal(api.url(text))


def test_nothing_found_and_no_api(api):
    api.files["search"] = {"type": "FeatureCollection", "features": [], "links": []}
    assert "the search finds nothing" in refusal(api.url(SEARCH))
    api.files["search"] = b"<html>"
    assert "the search fails" in refusal(api.url(SEARCH))
    api.files.pop("")
    assert "the search fails" in refusal(api.url(SEARCH))


def test_what_is_a_search():
    assert stac_search.is_search("https://a.org/v1/search?x=1") and stac_search.is_search("https://a.org/search")
    assert not stac_search.is_search("search?x=1") and not stac_search.is_search("https://a.org/search/a.tif")


@pytest.mark.parametrize(
    ("page", "change"),
    [
        ("search", {"links": None}),
        ("search", {"links": [None]}),
        ("search", {"links": ["next"]}),
        ("search", {"links": [{"rel": "next"}]}),
        ("search", {"links": [{"rel": "next", "href": "file:///etc/passwd"}]}),
        ("search", {"links": [{"rel": "next", "href": "/etc/passwd"}]}),
        ("search", {"links": [{"rel": "next", "href": "http://127.0.0.1/x", "method": "POST"}]}),
        ("search", {"links": [{"rel": "next", "href": "http://127.0.0.1/x", "method": [5]}]}),
        ("search", {"features": ["x"]}),
        ("search", {"features": "x"}),
        ("search", {"features": [{"id": "x", "links": None}]}),
        ("search", {"features": [{"id": 5, "links": []}]}),
        ("search", []),
        ("search", b"[" * 100_000),
        ("search", b"\xff"),
        ("", []),
        ("", b"[" * 100_000),
        ("", {"links": None}),
        ("", {"conformsTo": 5}),
        ("", {"type": "Collection"}),
        ("", {"type": 5}),
        ("", {"stac_version": 5}),
        ("", {"stac_extensions": 5}),
        ("", {"id": None}),
        ("", {"links": [{"rel": "search", "href": "file:///etc/passwd", "type": "application/geo+json"}]}),
    ],
)
def test_a_hostile_page_is_one_line(api, page, change):
    api.files[page] = api.files[page] | change if isinstance(change, dict) else change
    assert "the search fails" in refusal(api.url(SEARCH))


def test_a_search_reads_no_file_here(api, tmp_path):
    (tmp_path / "page.json").write_text('{"features": []}')
    for href in (f"file://{tmp_path}/page.json", f"{tmp_path}/page.json"):
        for links in (api.files[""]["links"], api.files["search"]["links"]):
            before, links[-1]["href"] = links[-1]["href"], href
            assert "the search fails" in refusal(api.url(SEARCH))
            links[-1]["href"] = before


def test_a_page_has_bounds_in_bytes_and_in_time(api, monkeypatch):
    monkeypatch.setattr("data_pipelines.schema.limits.SEARCH_BYTES", 3000)
    api.files["search"]["more"] = "x" * 3000
    assert "more than 3,000 bytes" in refusal(api.url(SEARCH))
    monkeypatch.setattr(ranges, "SILENCE", 0.05)
    api.trickle = 0.02
    assert "expected an answer in 5 tries" in refusal(api.url(SEARCH))
