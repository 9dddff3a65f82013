"""`lcjax view`: its address is printed and served until Ctrl-C, and wrong input is told in a line before."""

import signal
import subprocess
import sys
import urllib.request

import pytest
from looked_at import make


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make(tmp_path_factory.mktemp("viewed"))


def test_the_address_is_printed_and_served_until_it_is_interrupted(world):
    words = [sys.executable, "-m", "lcjax", "view", str(world.map), f"--scene={world.scene}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        url = process.stdout.readline().removeprefix("page: ").strip()
        assert b"map.tif" in urllib.request.urlopen(f"{url}", timeout=20).read() or url.startswith("http://127.0.0.1:")
        assert "Ctrl-C" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--map is missing; expected a map, e.g. lcjax view"),
        (["none.tif"], "--map=none.tif: no such file; expected a map of class ids"),
        (["{map}", "--bands=B4"], "--bands=B4: are of --scene, which is missing"),
        (["{map}", "--port=99999"], "flag --port=99999: 99999 is not an integer in the range [0, 65535]"),
        (["{map}", "--scene={map}"], "a palette image, whose numbers are no intensities"),
        (["{truth}"], "has no legend"),
        (["s3://bucket/map.tif"], "buckets are not opened"),
    ],
)
def test_wrong_input_is_told_in_a_line(command, world, words, told):
    code, out, err = command("view", *(word.format(map=world.map, truth=world.truth) for word in words))
    assert (code, out) == (2, "") and len(err) == 1 and told in err[0]
