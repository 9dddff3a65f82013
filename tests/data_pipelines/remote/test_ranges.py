"""Files by parts from a server on this machine: broken off, busy, slow, gone, changed, sent elsewhere."""

import re

import numpy as np
import pytest
from printed import printed

from data_pipelines.remote import ranges
from data_pipelines.remote.addresses import Address, given
from data_pipelines.remote.ranges import Ranged
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused

DATA = np.random.default_rng(0).bytes(1_000_000)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(ranges, "_cache", ranges._Cache(10**6))


def opened(server, path="a.bin") -> Ranged:
    server.files.setdefault("a.bin", DATA)
    return Ranged(given(server.url(path), "--scene"))


def refusal(call, kind=InputError) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_parts_are_those_of_the_file_and_no_more_is_asked_for(file_server):
    file = opened(file_server)
    assert file.length == len(DATA)
    wanted = [(10, 20), (300_000, 70_000), (999_990, 50), (2_000_000, 5), (0, 0)]
    assert file.parts(wanted) == [DATA[offset : offset + size] for offset, size in wanted]
    assert file_server.sent("a.bin") <= 5 * 2**16
    asked = len(file_server.asked)
    assert file.parts(wanted[:2]) == [DATA[10:30], DATA[300_000:370_000]] and len(file_server.asked) == asked


def test_the_cache_keeps_its_limit(monkeypatch):
    cache = ranges._Cache(100)
    for number in range(9):
        cache.put(("a", "1", number), bytes(30))
    cache.put(("a", "1", 8), bytes(50))
    assert [number for number in range(9) if cache.get(("a", "1", number))] == [7, 8]


def test_large_reads_are_several_requests(file_server, monkeypatch):
    monkeypatch.setattr("data_pipelines.schema.limits.REMOTE_PART_BYTES", 2**17)
    assert opened(file_server).parts([(0, 10**6)]) == [DATA]
    assert len(file_server.asked) == 1 + 8


@pytest.mark.parametrize("trouble", ["cut", "busy", "empty"])
def test_what_breaks_off_is_asked_again(file_server, trouble):
    file = opened(file_server)
    if trouble == "busy":
        file_server.statuses = [500, 0, 503, 429]
    else:
        file_server.cuts = [1000, None, 0 if trouble == "empty" else 40_000]
    with printed() as said:
        assert file.parts([(100_000, 200_000), (700_000, 10)]) == [DATA[100_000:300_000], DATA[700_000:700_010]]
    assert "trying again" in said.text


def test_what_never_comes_ends_in_one_line(file_server):
    file = opened(file_server)
    file_server.statuses = [500] * 99
    said = refusal(lambda: file.parts([(500_000, 9)]))
    assert "the server answers 500 Internal Server Error; expected an answer in 5 tries" in said
    assert len(file_server.asked) == 1 + 5


def test_a_silent_server_is_given_up(file_server, monkeypatch):
    monkeypatch.setattr(ranges, "SILENCE", 0.05)
    monkeypatch.setattr(ranges, "TRIES", 2)
    file_server.slow = 0.2
    assert "timed out; expected an answer in 2 tries" in refusal(lambda: opened(file_server))


def test_a_server_that_sends_a_byte_now_and_then_is_given_up(file_server, monkeypatch):
    file = opened(file_server)
    monkeypatch.setattr(ranges, "SILENCE", 0.2)
    monkeypatch.setattr(ranges, "TRIES", 2)
    file_server.trickle = 0.02
    assert re.search(r"[1-9]\d* of 65,536 bytes came in 0 s; expected", refusal(lambda: file.parts([(500_000, 9)])))


@pytest.mark.parametrize(("status", "phrase"), [(404, "404 Not Found"), (403, "403 Forbidden")])
def test_what_is_not_there_is_said_at_once(file_server, status, phrase):
    file_server.statuses = [status]
    said = refusal(lambda: opened(file_server), Refused)
    assert said == f"{file_server.url('a.bin')}: the server answers {phrase}; expected the file"
    assert len(file_server.asked) == 1


def test_a_server_that_knows_no_parts(file_server):
    file_server.parts = False
    assert "sends whole files and no parts" in refusal(lambda: opened(file_server), Refused)
    file_server.files["small"] = b"1234"
    assert opened(file_server, "small").parts([(1, 2)]) == [b"23"]


def test_an_empty_file(file_server):
    file_server.files["empty"] = b""
    assert opened(file_server, "empty").parts([(0, 10)]) == [b""]


@pytest.mark.parametrize("how", ["etag", "length", "gone"])
def test_a_file_that_changes_is_noticed(file_server, how):
    file = opened(file_server)
    if how == "etag":
        file_server.etags["a.bin"] = '"other"'
    else:
        file_server.files["a.bin"] = DATA[: 600_000 if how == "length" else 100_000]
        file_server.etags["a.bin"] = None
    assert "has changed on its server" in refusal(lambda: file.parts([(500_000, 10)]))


def test_what_was_looked_at_before_must_be_the_same(file_server):
    file = opened(file_server)
    held = Address.of(file_server.url("a.bin"), file.version)
    assert Ranged(held).parts([(5, 5)]) == [DATA[5:10]]
    file_server.etags["a.bin"] = '"other"'
    assert "has changed on its server" in refusal(lambda: Ranged(held))


def test_without_a_version_nothing_is_kept_from_another_opening(file_server):
    file_server.etags["a.bin"] = None
    ranges._warn_of_no_version.cache_clear()
    with printed() as said:
        assert opened(file_server).parts([(0, 3)]) == [DATA[:3]]
    assert "tells neither ETag nor date" in said.text
    file_server.files["a.bin"] = DATA[::-1]
    assert opened(file_server).parts([(0, 3)]) == [DATA[:-4:-1]]


def test_it_follows_to_servers_that_are_named_and_nowhere_else(file_server):
    file_server.files["a.bin"] = DATA
    file_server.moved["b.bin"] = file_server.url("a.bin")
    assert opened(file_server, "b.bin").parts([(7, 3)]) == [DATA[7:10]]
    port = file_server.server_address[1]
    for to in (f"http://localhost:{port}/a.bin", "http://169.254.169.254/latest/meta-data"):
        file_server.moved["c.bin"] = to
        asked = len(file_server.asked)
        said = refusal(lambda: opened(file_server, "c.bin"), Refused)
        assert f"leads to {to}: lies on the server {re.split('/', to)[2]}, and --remote names 127.0.0.1" in said
        assert len(file_server.asked) == asked + 1
    for to in ("file:///etc/passwd", "ftp://127.0.0.1/a", "http://u:p@127.0.0.1/"):
        file_server.moved["d.bin"] = to
        assert "302 Found" in refusal(lambda: opened(file_server, "d.bin"), Refused)


def test_small_files_whole_and_their_beginnings(file_server):
    file_server.files["t.json"] = {"a": 1}
    address = given(file_server.url("t.json"), "--scene")
    assert ranges.whole(address, 100) == b'{"a": 1}' and ranges.beginning(address, 3) == b'{"a'
    file_server.parts = False
    assert ranges.beginning(address, 3) == b'{"a'
    assert "more than 7 bytes" in refusal(lambda: ranges.whole(address, 7))
    with pytest.raises(Refused):
        ranges.whole(address, 7)
    file_server.cuts = [4, None]
    assert ranges.whole(address, 100) == b'{"a": 1}'
