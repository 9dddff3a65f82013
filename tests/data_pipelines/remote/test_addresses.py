"""An address stands where a path stands: named, sorted, sent to other processes, never with its secrets."""

import pathlib
import pickle

import pytest

from data_pipelines.remote import addresses, hosts
from data_pipelines.remote.addresses import Address, Asset, given
from data_pipelines.schema.errors import InputError


@pytest.fixture(autouse=True)
def named(monkeypatch):
    monkeypatch.setattr(hosts, "_allowed", {})
    hosts.allow("h.org", "s3://b", "gs://b", "s3://b.c")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://h.org/d/a.tif", "https://h.org/d/a.tif"),
        ("HTTP://h.org/d/a.tif?k=1", "http://h.org/d/a.tif?k=1"),
        ("/vsicurl/https://h.org/d/a.tif", "https://h.org/d/a.tif"),
        ("s3://b/d/a.tif", "https://b.s3.amazonaws.com/d/a.tif"),
        ("/vsis3/b/d/a b.tif", "https://b.s3.amazonaws.com/d/a%20b.tif"),
        ("https://H.org:443/D/%61%2d%2Ftif?K=%61", "https://h.org/D/a-%2Ftif?K=%61"),
        ("http://h.ORG.:80/a.tif", "http://h.org/a.tif"),
        ("https://h.org:/a", "https://h.org/a"),
        ("s3://b/%61%c3", "https://b.s3.amazonaws.com/a%C3"),
        ("s3://b.c/d/a.tif", "https://s3.amazonaws.com/b.c/d/a.tif"),
        ("gs://b/d/a?.tif", "https://storage.googleapis.com/b/d/a%3F.tif"),
        ("/vsigs/b/d/a.tif", "https://storage.googleapis.com/b/d/a.tif"),
    ],
)
def test_what_is_asked_for(text, url):
    found = given(text, "--scene")
    assert isinstance(found, Address) and found.is_remote and found.file.url == url and found.assets == ()


def test_it_is_like_a_path_and_tells_no_secret():
    address = given("https://h.org/d/a.b.tif?sig=SECRET", "--scene")
    assert str(address) == "https://h.org/d/a.b.tif" == f"{address}" and "SECRET" not in repr(str(address))
    assert (address.name, address.stem, address.suffix) == ("a.b.tif", "a.b", ".tif")
    for same in (pickle.loads(pickle.dumps(address)), Address.of(address.text)):
        assert same == address and hash(same) == hash(address) and same.file.url.endswith("SECRET")
    held = Address.of(address.text, '"etag" 12')
    assert held.version == '"etag" 12' and str(held) == str(address) and pickle.loads(pickle.dumps(held)).version
    assert sorted([address, pathlib.Path("a")])[0] in (address, pathlib.Path("a"))
    assert not address.exists() and not address.is_dir()


@pytest.mark.parametrize("last", ["..%2F..%2Fx.tif", "%2e%2e", ".hidden.tif", "", "a%00b.tif", "a%0Ab", "é.tif"])
def test_its_name_is_one_that_a_file_here_can_have(last):
    name = Address.of(f"https://h.org/d/{last}").name
    assert name and "/" not in name and not name.startswith(".") and name.isprintable()


def test_assets_of_an_item():
    address = given("https://h.org/i.json?x=1#red,B8=nir08,R+G=image%2C1", "--scene")
    assert address.assets == (Asset("red"), Asset("nir08", ("B8",)), Asset("image,1", ("R", "G")))
    assert address.item.text == "https://h.org/i.json?x=1"
    assert address.item.with_assets(address.assets).assets == address.assets
    assert str(address) == "https://h.org/i.json#red,B8=nir08,R+G=image%2C1"


def test_assets_of_an_item_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = given("x/i.json#red,nir", "--scene")
    assert not address.is_remote and address.path == tmp_path / "x/i.json" and address.name == "i.json"
    assert [asset.key for asset in address.assets] == ["red", "nir"]
    (tmp_path / "j.json#red").touch()  # what is there under the very name is meant
    assert given("j.json#red", "--scene") == pathlib.Path("j.json#red") and type(given("j.json", "x")) is type(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://evil.org/a.tif?k=SECRET", "--scene=https://evil.org/a.tif: lies on the server evil.org"),
        ("s3://c/a.tif", "lies on the server c.s3.amazonaws.com"),
        ("https://u:pw@h.org/a.tif", "not an address that can be asked"),
        ("https://h.org/" + "a" * 5000, "5,014 letters; expected at most 4,000"),
        ("https://h.org/?SECRET" + "a" * 5000, "--scene=https://h.org/...: 5,0"),
        ("ftp://u:pw@h.org/a.tif?SECRET", "--scene=ftp://h.org/a.tif: addresses are not opened"),
        ("ftp://h.org/a.tif", "addresses are not opened"),
        ("file:///etc/passwd", "addresses are not opened"),
        ("az://b/a.tif", "buckets are not opened"),
        (None, "expected a path"),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(InputError) as caught:
        given(text, "--scene")
    assert said in str(caught.value) and "SECRET" not in str(caught.value) and "pw" not in str(caught.value)


def test_a_plain_path_stays_one(tmp_path):
    assert given("a.tif", "x", tmp_path) == tmp_path / "a.tif" and addresses.remote_text("a.tif") == ""
