"""`lcjax view`: its address is printed and served until Ctrl-C, and wrong input is told in a line before."""

import gzip
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest
from looked_at import make


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make(tmp_path_factory.mktemp("viewed"))


# As a shell starts what is in the foreground, and in the background, wherever these tests were started.
STARTED = "import signal, sys; signal.signal(signal.SIGINT, {}); from lcjax.cli import main; sys.exit(main.main())"


@pytest.mark.parametrize(
    ("at_birth", "ends"),
    [("signal.default_int_handler", signal.SIGINT), ("signal.SIG_IGN", signal.SIGTERM)],
    ids=["foreground", "background"],
)
def test_the_address_is_printed_and_served_until_it_is_interrupted(world, at_birth, ends):
    words = [sys.executable, "-c", STARTED.format(at_birth), "view", str(world.map), f"--scene={world.scene}"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watch = threading.Timer(60, process.kill)  # so that nothing here waits without end
    watch.start()
    with process:
        try:
            assert process.stdout and process.stderr
            url = process.stdout.readline().removeprefix("page: ").strip()
            assert url.startswith("http://127.0.0.1:") and "Ctrl-C" in process.stdout.readline()
            assert b"map.tif" in gzip.decompress(urllib.request.urlopen(url, timeout=20).read())
            process.send_signal(ends)
            out, err = process.communicate(timeout=20)
        finally:
            watch.cancel()
            process.kill()  # where it has ended, nothing
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
