"""Makes the files of a release: the wheel, the sources, and their checksums; the same commit gives the same bytes.

python deploy/release.py            # dist/: lcjax-VERSION.tar.gz, lcjax-VERSION-py3-none-any.whl, SHA256SUMS
"""

import argparse
import gzip
import hashlib
import io
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What builds the wheel names itself in it, so another one gives other bytes.
BUILDER = "setuptools==84.2.1"


def git(*words: str) -> bytes:
    """Returns what git says in the checkout."""
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True).stdout


def is_checkout() -> bool:
    """Whether the folder of this script's project is a checkout of git with a commit, and not a part of another one."""
    try:
        git("rev-parse", "--verify", "HEAD")
        return pathlib.Path(git("rev-parse", "--show-toplevel").decode().strip()).resolve() == ROOT
    except (subprocess.CalledProcessError, FileNotFoundError):
        return False


def version() -> str:
    """Returns the version of the commit."""
    (found,) = re.findall(r'__version__ = "([^"]+)"', git("show", "HEAD:lcjax/version.py").decode())
    return found


def hindrance() -> str:
    """Returns why the commit cannot be released as it is; empty where it can."""
    if changed := git("status", "--porcelain").decode().splitlines():
        return f"{changed[0].strip()}: found changes that are not committed; expected none, a release is a commit"
    headings = re.findall(r"^## \[(.+)\] - (.+)$", git("show", "HEAD:CHANGELOG.md").decode(), re.MULTILINE)
    dates = dict(headings)
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", dates.get(version(), "")):
        found = dates.get(version(), "no such heading")
        return f"CHANGELOG.md: found {found!r} for {version()}; expected its date, as in ## [{version()}] - 2026-11-30"
    return ""


def archive(name: str) -> bytes:
    """Returns the sources of the commit as a tar file; whatever the user's settings of git are."""
    own = ("-c", "tar.umask=0002", "-c", "core.autocrlf=false")
    return git(*own, "archive", "--format=tar", f"--prefix={name}/", "HEAD")


def make(output: pathlib.Path) -> list[pathlib.Path]:
    """Makes the files of the commit in a folder; returns them."""
    name = f"lcjax-{version()}"
    output.mkdir(parents=True, exist_ok=True)
    sources = output / f"{name}.tar.gz"
    packed_up = archive(name)
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as file:
        file.write(packed_up)
    sources.write_bytes(packed.getvalue())
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(packed_up)) as tar:
            tar.extractall(folder, filter="data")
        wheel = _wheel(pathlib.Path(folder), name, output)
    made = [sources, wheel]
    sums = output / "SHA256SUMS"
    sums.write_text("".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made))
    return [*made, sums]


def _wheel(folder: pathlib.Path, name: str, output: pathlib.Path) -> pathlib.Path:
    """Builds the wheel of unpacked sources; its times are those of the commit, its modes no shell's."""
    constraint = folder / "builder.txt"
    constraint.write_text(f"{BUILDER}\n")
    env = os.environ | {
        "SOURCE_DATE_EPOCH": git("log", "-1", "--format=%ct").decode().strip(),
        "PIP_CONSTRAINT": str(constraint),
        "PIP_BUILD_CONSTRAINT": str(constraint),
    }
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, f"--wheel-dir={output}", str(folder / name)], check=True, env=env, umask=0o022)
    return output / f"{name}-py3-none-any.whl"


def main(words: list[str] | None = None) -> int:
    """Makes a release; returns the exit code: 2 where the commit is not ready for one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "dist", help="folder (default: dist)")
    parser.add_argument("--trial", action="store_true", help="of a commit that is not ready: what would be released")
    asked = parser.parse_args(words)
    if not is_checkout():
        print(f"release: {ROOT}: found no checkout of git; expected one, as `git clone` makes it", file=sys.stderr)
        return 2
    if (found := hindrance()) and not asked.trial:
        print(f"release: {found}; or give --trial", file=sys.stderr)
        return 2
    print(*make(asked.output.resolve()), sep="\n")
    if not found:
        print(f"then: git tag --sign --message 'lcjax {version()}' v{version()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
