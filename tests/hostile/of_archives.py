"""Archives: names that lead elsewhere, sizes that lie, bombs, links, what is no file; below the source of FLAIR-1."""

import gzip
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable

import damage
from corpus import Asked, Case, Place, seeded

IMAGE = "flair_aerial_train/D001_2019/Z1_UU/img/IMG_000001.tif"
KINDS = ("x.zip", "x.tar", "x.tar.gz")


def write(place: Place, kind: str, members: dict[str, bytes]) -> None:
    """An archive of the kind that its suffix says."""
    path = place.given / kind
    if kind.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in members.items():
                file.writestr(name, data)
        return
    with tarfile.open(path, "w:gz" if kind.endswith("gz") else "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))


def asked(place: Place, *names: str) -> Asked:
    return Asked(place.prepare(place.given, "flair1"), (*names, "x.zip", "x.tar", "given", "IMG_000001", "flair1"))


NAMES = {
    "parent": "../../other/IMG_000001.tif",
    "absolute": "/tmp/hostile_evil/IMG_000001.tif",
    "drive": "C:/IMG_000001.tif",
    "backslash": "..\\..\\other\\IMG_000001.tif",
    "deep": "d/" * 3000 + "IMG_000001.tif",
    "long": "n" * 300 + "/IMG_000001.tif",
    "letters": "é" * 200 + "/IMG_000001.tif",
    "newline": "a\nb/IMG_000001.tif",
    "escape": "a\x1b[31mb/IMG_000001.tif",
    "dash": "-rf/IMG_000001.tif",
    "bidi": "a\u202eb/IMG_000001.tif",
    "dot": "./././IMG_000001.tif",
    "empty": "//////IMG_000001.tif",
    "brackets": "[a]*?/IMG_000001.tif",
    "dots": "...../IMG_000001.tif",
}


def _named(kind: str, name: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        write(place, kind, {name: b"evil", IMAGE: b"evil"})
        return asked(place)

    return make


def _twice(kind: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        write(place, kind, {IMAGE: b"first", f"./{IMAGE}": b"second"})
        return asked(place)

    return make


def _special(type_: bytes) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        with tarfile.open(place.given / "x.tar", "w") as file:
            info = tarfile.TarInfo(IMAGE)
            info.type, info.linkname = type_, str(place.other / "keep.py")
            file.addfile(info)
        return asked(place)

    return make


def _through_link(place: Place) -> Asked:
    with tarfile.open(place.given / "x.tar", "w") as file:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, str(place.other)
        file.addfile(link)
        file.addfile(tarfile.TarInfo("out/IMG_000001.tif"))
    return asked(place)


def _linked_zip(place: Place) -> Asked:
    info = zipfile.ZipInfo(IMAGE)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(place.given / "x.zip", "w") as file:
        file.writestr(info, str(place.other / "keep.py"))
    return asked(place)


def _no_file(kind: str, what: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        path = place.given / kind
        {
            "pipe": lambda: os.mkfifo(path),
            "zeros": lambda: path.symlink_to("/dev/zero"),
            "random": lambda: path.symlink_to("/dev/urandom"),
            "nothing": lambda: path.symlink_to("nothing"),
            "itself": lambda: path.symlink_to(kind),
            "text": lambda: path.write_text("<html>log in</html>"),
            "empty": path.touch,
        }[what]()
        return Asked(place.prepare(place.given, "flair1"), (kind,))

    return make


def _bomb(kind: str) -> Callable[[Place], Asked]:
    """6 GB of zeros in 6 MB."""

    def make(place: Place) -> Asked:
        path, size = place.given / kind, 6 * 2**30
        if kind == "x.zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
                file.writestr(IMAGE, bytes(2**20))
            data = bytearray(path.read_bytes())
            central = data.index(b"PK\1\2")
            data[central + 24 : central + 28] = (2**32 - 2).to_bytes(4, "little")  # it says 4 GB, and holds 1 MB
            path.write_bytes(data)
            return asked(place)
        info = tarfile.TarInfo("readme.bin")  # nobody wants it, and yet it is in the way
        info.size = size
        with gzip.open(path, "wb", 9) as file:
            file.write(info.tobuf(tarfile.GNU_FORMAT))
            for _ in range(64):
                file.write(bytes(2**20))
        return asked(place)

    return make


def _nested(place: Place) -> Asked:
    inner = b"zip"
    for _ in range(6):
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
            for k in range(10):
                file.writestr(f"{k}.zip", inner)
        inner = data.getvalue()
    (place.given / "x.zip").write_bytes(inner)
    return asked(place)


def _overlapping(place: Place) -> Asked:
    """All entries of the table of contents are of one and the same member."""
    write(place, "x.zip", {f"D{k}/IMG_{k:06d}.tif": bytes(10**6) for k in range(20)})
    path = place.given / "x.zip"
    data, at = bytearray(path.read_bytes()), 0
    while (at := data.find(b"PK\1\2", at)) >= 0:
        data[at + 42 : at + 46] = bytes(4)
        at += 4
    path.write_bytes(data)
    return asked(place, "IMG_")


FIELDS = {
    "encrypted": (8, b"\1\0"),
    "method": (10, b"\x63\0"),
    "checksum": (16, bytes(4)),
    "larger": (24, b"\xff\xff\xff\0"),
    "smaller": (24, b"\1\0\0\0"),
    "offset": (42, b"\3\0\0\0"),
    "name_length": (28, b"\xff\xff"),
    "packed": (20, b"\xff" * 4),
}


def _field(offset: int, value: bytes) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        write(place, "x.zip", {IMAGE: bytes(3000)})
        path = place.given / "x.zip"
        data = bytearray(path.read_bytes())
        at = data.index(b"PK\1\2") + offset
        data[at : at + len(value)] = value
        path.write_bytes(data)
        return asked(place)

    return make


HEADERS = {
    "pax_of_8_gb": (tarfile.XHDTYPE, 2**33 - 1),
    "name_of_8_gb": (tarfile.GNUTYPE_LONGNAME, 2**33 - 1),
    "sparse": (tarfile.GNUTYPE_SPARSE, 0),
    "size_of_8_gb": (tarfile.REGTYPE, 2**33 - 1),
    "contiguous": (tarfile.CONTTYPE, 2**40),
}


def _header(type_: bytes, size: int, packed: bool) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        info = tarfile.TarInfo(IMAGE)
        info.type, info.size = type_, size
        data = info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240)
        (place.given / ("x.tar.gz" if packed else "x.tar")).write_bytes(gzip.compress(data) if packed else data)
        return asked(place)

    return make


PAX = {
    "sparse_1_0": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "4000000000000"},
    "sparse_0_1": {"GNU.sparse.map": "0,1,999999999,1", "GNU.sparse.size": "4000000000000"},
    "size": {"size": "4000000000000"},
    "size_negative": {"size": "-5"},
    "path": {"path": "../../other/IMG_000001.tif"},
    "path_nul": {"path": "a\0b/IMG_000001.tif"},
    "linkpath": {"linkpath": "/etc/passwd"},
}


def _pax(header: dict[str, str]) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        with tarfile.open(place.given / "x.tar", "w", format=tarfile.PAX_FORMAT) as file:
            info = tarfile.TarInfo(IMAGE)
            info.size, info.pax_headers = 1000, header
            file.addfile(info, io.BytesIO(b"1\n0\n1\n" + bytes(994)))
        return asked(place)

    return make


def _damaged(kind: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        write(place, kind, {IMAGE: place.rng.bytes(5000), IMAGE.replace("1.tif", "2.tif"): place.rng.bytes(50)})
        how = damage.ARCHIVE[place.rng.integers(len(damage.ARCHIVE))]
        how(place.given / kind, place.rng)
        return asked(place)

    return make


def cases() -> Iterable[Case]:
    for name, path in NAMES.items():
        yield from (Case(f"archive member's name: {name}", _named(kind, path), k) for k, kind in enumerate(KINDS))
    yield from (Case("archive members of one name", _twice(kind), k) for k, kind in enumerate(KINDS))
    for type_ in (
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.DIRTYPE,
    ):
        yield Case(f"archive member of type {type_.decode()}", _special(type_))
    for name, make in (
        ("through a link", _through_link),
        ("linked in a zip", _linked_zip),
        ("nested bomb", _nested),
        ("overlapping", _overlapping),
    ):
        yield Case(f"archive: {name}", make)
    for what in ("pipe", "zeros", "random", "nothing", "itself", "text", "empty"):
        yield from (Case(f"no file as archive: {what}", _no_file(kind, what), k) for k, kind in enumerate(KINDS))
    yield from (Case("archive: bomb", _bomb(kind), k) for k, kind in enumerate(("x.zip", "x.tar.gz")))
    for name, (offset, value) in FIELDS.items():
        yield Case(f"zip field: {name}", _field(offset, value))
    for name, (type_, size) in HEADERS.items():
        yield from (Case(f"tar header: {name}", _header(type_, size, packed), int(packed)) for packed in (False, True))
    for name, header in PAX.items():
        yield Case(f"tar extended header: {name}", _pax(header))
    for kind in KINDS:
        yield from seeded(f"damaged {kind}", _damaged(kind), 20)
