"""Servers are asked that the command line names, whole name and port, and no others."""

import pytest

from data_pipelines.remote import hosts
from data_pipelines.schema.errors import InputError


@pytest.fixture(autouse=True)
def nobody(monkeypatch):
    monkeypatch.setattr(hosts, "_allowed", {})


def may(url: str) -> bool:
    try:
        hosts.check(url, "x")
    except InputError:
        return False
    return True


def test_a_name_is_that_server_on_the_usual_ports():
    hosts.allow("Data.Example.org", "localhost:8000", "[::1]:90")
    for url in (
        "https://data.example.org/a.tif",
        "http://data.example.org:80/a",
        "https://DATA.example.org:443/",
        "https://data.example.org./a",
        "http://localhost:8000/a",
        "http://[::1]:90/a",
        "https://data.example.org/a%20b.tif?x=../y",
    ):
        assert may(url), url
    for url in (
        "https://data.example.org:8443/a",
        "https://example.org/a",
        "https://evil.data.example.org/a",
        "https://data.example.org.evil.org/a",
        "https://data.example.org@evil.org/a",
        "https://u:p@data.example.org/a",
        "https://evil.org/data.example.org",
        "https://evil.org#@data.example.org/",
        "https://dataXexample.org/a",
        "http://localhost/a",
        "http://[::1]/a",
        "ftp://data.example.org/a",
        "file:///etc/passwd",
        "/etc/passwd",
        "https:///a",
        "https://data.example.org/x/../a",
        "https://data.example.org/x/%2e%2E/a",
        "https://data.example.org/x/..%5ca/..\\b",
        "https://data.example.org/a b",
        "https://data.example.org/a\n",
        "https://data.example.org:x/a",
        "https://[::1/a",
    ):
        assert not may(url), url


def test_a_bucket_is_that_bucket_alone():
    hosts.allow("s3://maps", "gs://maps/")
    for url in (
        "https://maps.s3.amazonaws.com/a",
        "https://maps.s3.eu-central-1.amazonaws.com/a",
        "https://maps.s3-us-west-2.amazonaws.com/a",
        "https://storage.googleapis.com/maps/a",
    ):
        assert may(url), url
    for url in (
        "https://other.s3.amazonaws.com/a",
        "https://maps.s3.evil.com/a",
        "https://maps.s3.a.b.amazonaws.com/a",
        "https://s3.amazonaws.com/maps/a",
        "https://storage.googleapis.com/maps2/a",
        "https://storage.googleapis.com/maps/../other/a",
    ):
        assert not may(url), url


def test_a_bucket_with_a_dot_is_a_folder_for_no_certificate_is_of_its_name():
    hosts.allow("s3://my.maps")
    assert may(hosts.of_bucket("s3", "my.maps") + "a") and may("https://s3.eu-central-1.amazonaws.com/my.maps/a")
    for url in (
        "https://s3.amazonaws.com/my.maps2/a",
        "https://s3.amazonaws.com/myxmaps/a",
        "https://s3.amazonaws.com/other/my.maps/a",
        "https://s3.evil.com/my.maps/a",
        "https://my.maps.s3.amazonaws.com/a",
    ):
        assert not may(url), url


@pytest.mark.parametrize(
    "text", ["", "a b", "https://x", "x/", "*.org", "x:0", "x:99999", "s3://", "gs://A_/b", "x..\n"]
)
def test_what_names_no_server_is_refused(text):
    with pytest.raises(InputError, match="expected names of servers"):
        hosts.allow(text)


def test_the_line_says_what_to_add():
    with pytest.raises(
        InputError, match=r"x: lies on the server a\.org:8000, and --remote names none; .*--remote=a\.org:8000$"
    ):
        hosts.check("http://a.org:8000/x.tif", "x")
    hosts.allow("b.org")
    with pytest.raises(InputError, match=r"--remote names b\.org; expected"):
        hosts.check("http://a.org/x.tif", "x")
