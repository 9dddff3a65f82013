"""The server answers those who know the address, and with the named files alone."""

import contextlib
import gzip
import http.client
import json
import re
import socket
import threading

import numpy as np
import pytest
from looked_at import make

from data_pipelines.schema.errors import InputError
from lcjax.viewing import ground, server


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    world = make(tmp_path_factory.mktemp("served"))
    (world.folder / "secret.txt").write_text("of nobody's business")
    with running(ground.opened(world.map, world.scene)) as made:
        yield made, world


@contextlib.contextmanager
def running(shown: ground.Ground):
    urls: list[str] = []
    made = server.Server(shown, 0)
    thread = threading.Thread(target=server.serve, args=(made, urls.append))
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        thread.join(10)
    assert urls == [made.url] and not thread.is_alive()


def ask(made: server.Server, path: str, method: str = "GET", **headers: str) -> tuple[int, dict, bytes]:
    connection = http.client.HTTPConnection(server.ADDRESS, made.server_port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        content = answer.read()
        known = dict(answer.getheaders())
        return answer.status, known, gzip.decompress(content) if known.get("Content-Encoding") == "gzip" else content
    finally:
        connection.close()


def test_the_page_holds_its_scripts_and_may_ask_its_server_alone(served):
    made, _ = served
    status, headers, content = ask(made, f"/{made.secret}/")
    text = content.decode()
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cross-Origin-Resource-Policy"] == "same-origin"
    (policy,) = re.findall('http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert "default-src &#39;none&#39;" in policy and "connect-src &#39;self&#39;" in policy
    assert "unsafe" not in policy.replace("style-src &#39;unsafe-inline&#39;", "")
    assert "Built &amp; &lt;b&gt;" not in text and "Built \\u0026 \\u003cb\\u003e" in text  # in JSON, not in markup


def test_tiles_and_values(served):
    made, world = served
    status, _, content = ask(made, f"/{made.secret}/tile/map/0/1/1")
    tile = np.frombuffer(content, np.uint8).reshape(256, 256)
    np.testing.assert_array_equal(tile, world.ids[256:512, 256:512])
    assert status == 200
    status, headers, content = ask(made, f"/{made.secret}/values/411/300")
    found = json.loads(content)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert found["values"]["map"] == world.ids[300, 411] and len(found["place"]) == 2


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/guessed/",
        "/secret.txt",
        "/{secret}/secret.txt",
        "/{secret}/../secret.txt",
        "/{secret}/tile/../../secret.txt",
        "/{secret}/tile/%2e%2e/0/0/0",
        "/{secret}/tile/truth/0/0/0",  # a layer that was not named
        "/{secret}/tile/map/3/0/0",
        "/{secret}/tile/map/0/3/0",
        "/{secret}/tile/map/0/-1/0",
        "/{secret}/tile/map/0/0/0?url=/etc/passwd/",
        "/{secret}/values/700/0",
        "/{secret}/values/0/99999999",
        "/{secret}/tile/map/%D9%A3/0/0",
    ],
)
def test_nothing_else_is_there(served, path):
    made, _ = served
    status, _, content = ask(made, path.format(secret=made.secret))
    assert status == 404 and b"business" not in content


@pytest.mark.parametrize("host", ["elsewhere.example", "127.0.0.1.elsewhere.example:80", "", "[::1", "localhost@x"])
def test_a_name_that_was_led_here_is_refused(served, host):
    made, _ = served
    assert ask(made, f"/{made.secret}/", Host=host)[0] == 403


def test_a_tunnel_from_another_port_is_answered_and_other_pages_are_not(served):
    made, _ = served
    assert ask(made, f"/{made.secret}/", Host="localhost:8800")[0] == 200
    assert ask(made, f"/{made.secret}/tile/map/0/0/0", Sec_Fetch_Site="same-origin")[0] == 200
    assert ask(made, f"/{made.secret}/tile/map/0/0/0", Sec_Fetch_Site="cross-site")[0] == 403


def test_a_link_that_is_followed_elsewhere_opens_the_page(served):
    made, _ = served
    for site in ("cross-site", "same-site"):  # of a terminal that is a page itself
        clicked = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
        assert ask(made, f"/{made.secret}/", **clicked)[0] == 200
        assert ask(made, "/guessed/", **clicked)[0] == 404
        assert ask(made, f"/{made.secret}/", **clicked | {"Host": "elsewhere.example"})[0] == 403
        assert ask(made, f"/{made.secret}/", **clicked | {"Sec_Fetch_Dest": "iframe"})[0] == 403
        assert ask(made, f"/{made.secret}/", **clicked | {"Sec_Fetch_Mode": "no-cors"})[0] == 403


def test_an_address_that_lost_its_slash_or_got_a_query_leads_to_the_page(served):
    made, _ = served
    for path in (f"/{made.secret}", f"/{made.secret}?utm_source=chat"):
        status, headers, content = ask(made, path)
        assert (status, headers["Location"], content) == (308, f"/{made.secret}/", b"")
    assert ask(made, f"/{made.secret}/?x")[2] == ask(made, f"/{made.secret}/")[2]
    assert ask(made, "/guessed")[0] == 404 and "Location" not in ask(made, "/guessed")[1]


def test_it_is_reached_from_this_machine_alone(served):
    made, _ = served
    assert made.socket.getsockname()[0] == "127.0.0.1"
    assert ask(made, f"/{made.secret}/", method="POST")[0] == 501


def test_many_ask_at_once(served):
    made, world = served
    answers: list[np.ndarray] = []

    def one() -> None:
        answers.append(np.frombuffer(ask(made, f"/{made.secret}/tile/map/0/0/1")[2], np.uint8).reshape(256, 256))

    threads = [threading.Thread(target=one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 12 and all((one == world.ids[256:512, :256]).all() for one in answers)


def test_a_file_that_is_gone_is_told(tmp_path, capsys):
    world = make(tmp_path)
    # The one that is open is taken.
    with running(ground.opened(world.map)) as made, made.ground.layers["map"].pool.dataset():
        world.map.unlink()
        status, _, content = ask(made, f"/{made.secret}/tile/map/0/0/0")
    assert status == 500 and b"map.tif" in content and b"\n" not in content.strip()
    assert "map.tif" in capsys.readouterr().out


def test_a_port_that_is_taken_is_told_in_a_line(served):
    with socket.socket() as other:
        other.bind((server.ADDRESS, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=rf"--port={port}: cannot be listened on \(.*\); expected a port that is"):
            server.Server(served[0].ground, port)
