"""Archives: what is unpacked, what is refused, and what a kill or a full disk leaves."""

import collections
import errno
import gzip
import io
import os
import pathlib
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipelines.prepare import archives
from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError

WANTED = re.compile(r"IMG_\d+\.tif|list\.csv")
CONTENT = {"a/IMG_1.tif": b"one" * 1000, "a/b/IMG_2.tif": b"two" * 5000, "list.csv": b""}
OTHERS = {"a/IMG_1.tif.aux.xml": b"x", "readme.txt": b"x", "__MACOSX/a/IMG_1.tif": b"x", "a/._IMG_1.tif": b"x"}


def write(path: pathlib.Path, content: dict[str, bytes]) -> pathlib.Path:
    """An archive of the kind that its suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in content.items():
                file.writestr(name, data)
    else:
        with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as file:
            for name, data in content.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
    return path


def files(folder: pathlib.Path) -> dict[str, bytes]:
    """All that was unpacked below a folder, without the notes."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture
def source(tmp_path) -> pathlib.Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def target(tmp_path) -> pathlib.Path:
    return tmp_path / "target"


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "deep/er/x.zip"])
def test_wanted_members_of_every_kind_are_unpacked(source, target, name):
    write(source / name, CONTENT | OTHERS)
    assert archives.unpack(source, target, WANTED) == []
    assert files(target / name) == CONTENT


def test_archives_of_the_same_stem_do_not_mix(source, target):
    for name, data in {"x.zip": b"1", "x.tar": b"2", "x/a.zip": b"3"}.items():
        write(source / name, {"a/IMG_1.tif": data})
    archives.unpack(source, target, WANTED)
    assert files(target) == {"x.zip/a/IMG_1.tif": b"1", "x.tar/a/IMG_1.tif": b"2", "x/a.zip/a/IMG_1.tif": b"3"}


def test_hidden_folders_and_files_are_no_archives(source, target):
    for name in ("__MACOSX/x.zip", ".cache/x.zip", "._x.zip"):
        write(source / name, CONTENT)
    write(source / "x.zip", {"IMG_1.tif": b""}).rename(source / "X.ZIP")
    assert archives.find(source) == [source / "X.ZIP"]


# Names that would leave the target, here or on Windows.
HOSTILE = {
    "../IMG_9.tif": r'"\.\."',
    "a/../../IMG_9.tif": r'"\.\."',
    "/tmp/IMG_9.tif": "absolute",
    "//host/share/IMG_9.tif": "absolute",
    "C:/IMG_9.tif": "absolute",
    "c:IMG_9.tif/IMG_9.tif": "absolute",
    "..\\IMG_9.tif": "backslash",
    "a\\b\\IMG_9.tif": "backslash",
}


@pytest.mark.parametrize("kind", ["x.zip", "x.tar", "x.tar.gz"])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_member_leaves_the_target(source, target, kind, name):
    archive = write(source / kind, {name: b"evil"} | CONTENT)
    (row,) = archives.unpack(source, target, WANTED)
    assert row[:2] == (str(archive), name) and re.search(HOSTILE[name], row.reason)
    assert files(target / kind) == CONTENT
    assert set(files(target.parent)) == {f"source/{kind}"} | {f"target/{kind}/{member}" for member in CONTENT}


def test_a_name_with_nul_is_refused(source, target):
    archive = write(source / "x.zip", {"IMG_1.tif#.exe": b"evil"})
    archive.write_bytes(archive.read_bytes().replace(b"tif#", b"tif\0"))
    (row,) = archives.unpack(source, target, WANTED)
    assert row.member == r"IMG_1.tif\x00.exe" and "NUL" in row.reason
    assert files(target) == {}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.BLKTYPE])
def test_links_and_devices_in_tars_are_refused(source, target, kind):
    with tarfile.open(source / "x.tar", "w") as file:
        for name, type_ in {"a/IMG_8.tif": kind, "IMG_2.tif": tarfile.REGTYPE}.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = type_, "/etc/passwd"
            file.addfile(info)
    (row,) = archives.unpack(source, target, WANTED)
    assert row.member == "a/IMG_8.tif" and "a link or a device" in row.reason
    assert files(target / "x.tar") == {"IMG_2.tif": b""}


def test_a_linked_folder_is_not_followed(source, target, tmp_path):
    with tarfile.open(source / "x.tar", "w") as file:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        file.addfile(link)
        file.addfile(tarfile.TarInfo("out/IMG_1.tif"))
    assert archives.unpack(source, target, WANTED) == []
    assert not (tmp_path / "IMG_1.tif").exists() and (target / "x.tar" / "out" / "IMG_1.tif").is_file()


def test_links_in_zips_are_refused(source, target):
    info = zipfile.ZipInfo("IMG_1.tif")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(source / "x.zip", "w") as file:
        file.writestr(info, "/etc/passwd")
    (row,) = archives.unpack(source, target, WANTED)
    assert "a link or a device" in row.reason and files(target) == {}


def central(archive: pathlib.Path, offset: int, value: bytes) -> None:
    """Overwrites a field in the first entry of a zip's central directory."""
    data = bytearray(archive.read_bytes())
    start = data.index(b"PK\1\2") + offset
    data[start : start + len(value)] = value
    archive.write_bytes(data)


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (8, b"\1\0", "encrypted"),
        (10, b"\x63\0", "compression method"),
        (16, b"\0\0\0\0", "Bad CRC-32"),
        (24, b"\xff\xff\xff\0", "EOF|CRC|declared"),
        (24, b"\1\0\0\0", "Bad CRC-32"),  # more than was declared
        (42, b"\3\0\0\0", "Bad magic number"),
    ],
)
def test_a_damaged_member_of_a_zip_is_named_and_the_rest_goes_on(source, target, offset, value, reason):
    archive = write(source / "x.zip", CONTENT)
    central(archive, offset, value)
    (row,) = archives.unpack(source, target, WANTED)
    assert row.member == "a/IMG_1.tif" and re.search(reason, row.reason)
    assert files(target / "x.zip") == {name: data for name, data in CONTENT.items() if name != "a/IMG_1.tif"}


@pytest.mark.parametrize("kind", ["x.zip", "x.tar.gz"])
def test_the_second_of_two_members_of_one_name_is_refused(source, target, kind):
    archive = write(source / kind, {"a/IMG_1.tif": b"first", "./a//IMG_1.tif": b"second"})
    assert archives.unpack(source, target, WANTED) == [(str(archive), "./a//IMG_1.tif", "a second member of this name")]
    assert files(target / kind) == {"a/IMG_1.tif": b"first"}


@pytest.mark.parametrize("kind", ["x.zip", "x.tar"])
@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("n" * 300, "a name of 300 bytes"),
        ("é" * 125, "a name of 250 bytes"),
        ("IMG_2.tif", "cannot be unpacked"),
        ("d/" * 1500 + "d", "1502 folders deep"),
        ("d/" * 64, "66 folders deep"),
    ],
)
def test_a_name_that_cannot_be_is_refused(source, target, kind, folder, reason):
    write(source / kind, {"IMG_2.tif": b"2", f"{folder}/IMG_1.tif": b"1", "IMG_3.tif": b"3"})
    (row,) = archives.unpack(source, target, WANTED)
    assert row.member == f"{folder}/IMG_1.tif" and reason in row.reason
    assert files(target / kind) == {"IMG_2.tif": b"2", "IMG_3.tif": b"3"}


@pytest.mark.parametrize("kind", ["x.zip", "x.tar", "x.tar.gz"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.9])
def test_an_archive_that_ends_early_is_an_error(source, target, kind, share):
    noise = random.Random(0).randbytes(200_000)
    archive = write(source / kind, {f"IMG_{k}.tif": noise[k * 20_000 :][:20_000] for k in range(10)})
    os.truncate(archive, int(share * archive.stat().st_size))
    with pytest.raises(InputError, match=r"x\.\S+: cannot be read to its end \(.+download it again$"):
        archives.unpack(source, target, WANTED)


def test_a_tar_cut_between_two_members_is_an_error(source, target):
    archive = write(source / "x.tar", {f"IMG_{k}.tif": bytes(1000) for k in range(3)})
    os.truncate(archive, 2 * (512 + 1024))
    with pytest.raises(InputError, match="download it again"):
        archives.unpack(source, target, WANTED)


def test_a_web_page_under_the_name_of_an_archive_is_an_error(source, target):
    for name in ("x.zip", "x.tar", "x.tar.gz"):
        (source / name).write_text("<html>Please log in</html>")
        with pytest.raises(InputError, match=f"{name}: cannot be read to its end"):
            archives.unpack(source, target, WANTED)
        (source / name).unlink()


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
@pytest.mark.parametrize("kind", ["pipe", "device", "nothing"])
def test_what_is_no_file_is_not_opened_as_an_archive(source, target, name, kind):
    make = {
        "pipe": os.mkfifo,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "nothing": lambda path: path.symlink_to("nothing"),
    }
    make[kind](source / name)
    with pytest.raises(InputError, match=f"^{source / name}: .+; expected a file"):
        archives.unpack(source, target, WANTED)


@pytest.mark.parametrize("kind", ["x.zip", "x.tar.gz"])
def test_an_archive_that_grows_too_much_is_refused(source, target, kind, monkeypatch):
    monkeypatch.setattr(limits, "UNPACKED_SMALL", 100_000)
    write(source / kind, {"IMG_1.tif": bytes(90_000)})  # small, whatever its share
    assert archives.unpack(source, target, WANTED) == []
    archive = write(source / kind, {f"IMG_{k}.tif": bytes(1_000_000) for k in range(3)})
    with pytest.raises(InputError, match=rf"^{archive}: [\d,]+ bytes that unpack to .+ unpack it by hand"):
        archives.unpack(source, target, WANTED)
    assert sum(map(len, files(target / kind).values())) <= 1_000_000


def test_zeros_behind_a_tar_are_not_read_to_the_end(source, target, monkeypatch):
    monkeypatch.setattr(limits, "UNPACKED_SMALL", 100_000)
    archive = write(source / "x.tar.gz", {"IMG_1.tif": b"1"})
    archive.write_bytes(gzip.compress(gzip.decompress(archive.read_bytes()) + bytes(10_000_000)))
    with pytest.raises(InputError, match="unpack to"):
        archives.unpack(source, target, WANTED)


@pytest.mark.parametrize("zip64", [False, True])
def test_a_table_of_contents_too_large_is_not_read(source, target, monkeypatch, zip64):
    monkeypatch.setattr(limits, "LISTING_BYTES", 4_000)
    with zipfile.ZipFile(source / "x.zip", "w") as file:
        for k in range(100 if not zip64 else 66_000):
            file.writestr(f"{k}", b"")
    assert zip64 == (b"PK\6\6" in (source / "x.zip").read_bytes())
    with pytest.raises(InputError, match=r"a table of contents of [\d,]+ bytes, expected at most 4,000"):
        archives.unpack(source, target, WANTED)


def sparse(kind: bytes, size: int, name: str = "IMG_1.tif") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (sparse(tarfile.XHDTYPE, 2**33), "a header of 8,589,934,592 bytes"),
        (sparse(tarfile.GNUTYPE_LONGNAME, 2**33), "a header of 8,589,934,592 bytes"),
        (sparse(tarfile.GNUTYPE_SPARSE, 0), "a sparse file"),
        (sparse(tarfile.REGTYPE, -5), "-5 bytes|invalid header"),
    ],
)
def test_headers_of_a_tar_that_would_be_read_whole_are_small(source, target, content, reason):
    (source / "x.tar").write_bytes(content + bytes(10_240))
    with pytest.raises(InputError, match=f"x.tar: cannot be read to its end .+({reason})"):
        archives.unpack(source, target, WANTED)


@pytest.mark.parametrize(
    "header",
    [
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "4000000000000"},
        {"GNU.sparse.map": "0,1,999999999,1", "GNU.sparse.size": "4000000000000"},
        {"size": "4000000000000"},
        {"size": "-5"},
    ],
)
def test_sizes_in_extended_headers_are_not_believed(source, target, header):
    with tarfile.open(source / "x.tar", "w", format=tarfile.PAX_FORMAT) as file:
        info = tarfile.TarInfo("IMG_1.tif")
        info.size, info.pax_headers = 1000, header
        file.addfile(info, io.BytesIO(b"1\n0\n1\n" + bytes(994)))
    with pytest.raises(InputError, match=r"x\.tar: "):
        archives.unpack(source, target, WANTED)
    assert sum(map(len, files(target).values())) < 10_000


def test_a_finished_archive_is_not_opened_again(source, target, monkeypatch):
    write(source / "x.tar.gz", {"../IMG_1.tif": b"evil"} | CONTENT)
    first = archives.unpack(source, target, WANTED)
    monkeypatch.setattr(archives, "_opened", None)
    assert len(first) == 1 and archives.unpack(source, target, WANTED) == first


def test_another_archive_of_the_same_name_replaces_all(source, target):
    write(source / "x.zip", CONTENT)
    archives.unpack(source, target, WANTED)
    write(source / "x.zip", {"IMG_7.tif": b"new"})
    archives.unpack(source, target, WANTED)
    assert files(target / "x.zip") == {"IMG_7.tif": b"new"}


def test_what_is_there_of_a_zip_is_not_written_again(source, target, monkeypatch):
    write(source / "x.zip", {f"IMG_{k}.tif": b"data" for k in range(5)})
    write_one, calls = archives._write, iter([True] * 3)
    monkeypatch.setattr(archives, "_write", lambda *a: write_one(*a) if next(calls, None) else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        archives.unpack(source, target, WANTED)
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*.tif")}
    monkeypatch.setattr(archives, "_write", write_one)
    archives.unpack(source, target, WANTED)
    assert len(before) == 3 and len(files(target / "x.zip")) == 5
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


def test_too_little_room_is_said_before_anything_is_written(source, target, monkeypatch):
    write(source / "x.zip", CONTENT | OTHERS)
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(0, 0, 17_999))
    with pytest.raises(InputError, match=r"needs 0\.00 GB in .*x\.zip, where 0\.00 GB are free; make room"):
        archives.unpack(source, target, WANTED)
    assert files(target) == {}
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(0, 0, 18_000))
    archives.unpack(source, target, WANTED)


def test_a_disk_that_fills_up_loses_nothing(source, target, monkeypatch):
    write(source / "x.tar", CONTENT)
    replace = pathlib.Path.replace

    def full(path, to):
        if path.name == ".IMG_2.tif.part":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(path, to)

    monkeypatch.setattr(pathlib.Path, "replace", full)
    with pytest.raises(InputError, match=r"the disk is full\); make room"):
        archives.unpack(source, target, WANTED)
    assert files(target / "x.tar") == {"a/IMG_1.tif": CONTENT["a/IMG_1.tif"]}
    monkeypatch.undo()
    archives.unpack(source, target, WANTED)
    assert files(target / "x.tar") == CONTENT


@pytest.mark.parametrize("kind", ["x.zip", "x.tar.gz"])
def test_killed_at_any_moment_it_goes_on(source, target, kind):
    content = {f"d{k % 7}/IMG_{k}.tif": random.Random(k).randbytes(20_000) for k in range(300)}
    write(source / kind, content)
    code = f"import pathlib, re; from data_pipelines import archives; archives.unpack(pathlib.Path({str(source)!r}), "
    code += f"pathlib.Path({str(target)!r}), re.compile({WANTED.pattern!r}))"
    for wanted in (1, 150):
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(target.rglob("IMG*.tif"))) < wanted:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        complete = {
            name: data for name, data in files(target / kind).items() if not name.split("/")[-1].startswith(".")
        }
        assert complete.items() <= content.items()
    archives.unpack(source, target, WANTED)
    assert files(target / kind) == content


NAMES = st.lists(
    st.sampled_from(["..", ".", "a", "C:", "/", "\\", "IMG_1.tif", "é", "\n", "b c"]), min_size=1, max_size=6
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES.map("/".join), min_size=1, max_size=5), kind=st.sampled_from(["x.zip", "x.tar"]))
def test_whatever_the_names_every_wanted_member_is_unpacked_inside_or_named(tmp_path_factory, names, kind):
    root = tmp_path_factory.mktemp("any")
    content = {f"{name}/IMG_2.tif": str(k).encode() for k, name in enumerate(dict.fromkeys(names))}
    write(root / "source" / kind, content)
    rows = archives.unpack(root / "source", root / "target", WANTED)
    unpacked = files(root / "target" / kind)
    assert set(files(root)) == {f"source/{kind}"} | {f"target/{kind}/{name}" for name in unpacked}
    assert len(unpacked) + len(rows) == len(content) and set(unpacked.values()) <= set(content.values())
