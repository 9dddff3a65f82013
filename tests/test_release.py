"""The files of a release: from a clean commit whose changelog has a date, and the same bytes each time."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# What the script itself asks of a checkout.
FILES = ("deploy/release.py", "lcjax/version.py", "CHANGELOG.md")
TODAY = "2026-11-30"


def git(folder: pathlib.Path, *words: str) -> None:
    known = ("-c", "user.name=A", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *known, *words], cwd=folder, check=True, capture_output=True)


def committed(folder: pathlib.Path, text: str) -> pathlib.Path:
    """A checkout of the script with this changelog, all of it committed."""
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "lcjax" / "version.py").write_text('__version__ = "7.1.0"\n')
    (folder / "CHANGELOG.md").write_text(text)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "All")
    return folder


def released(folder: pathlib.Path, *words: str, umask: int = 0o022) -> subprocess.CompletedProcess:
    command = [sys.executable, "deploy/release.py", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, umask=umask)


@pytest.mark.parametrize(
    ("changelog", "said"),
    [
        ("## [7.1.0] - unreleased\n", "found 'unreleased' for 7.1.0; expected its date"),
        (f"## [7.0.0] - {TODAY}\n", "found 'no such heading' for 7.1.0"),
    ],
)
def test_a_commit_without_a_date_is_not_released(changelog, said, tmp_path):
    ended = released(committed(tmp_path / "clone", changelog), f"--output={tmp_path / 'dist'}")
    assert ended.returncode == 2 and said in ended.stderr
    assert not (tmp_path / "dist").exists()


def test_what_is_not_committed_is_not_released(tmp_path):
    clone = committed(tmp_path / "clone", f"## [7.1.0] - {TODAY}\n")
    (clone / "lcjax" / "other.py").touch()
    ended = released(clone, f"--output={tmp_path / 'dist'}")
    assert ended.returncode == 2 and "lcjax/other.py: found changes that are not committed" in ended.stderr


def test_without_a_checkout_nothing_is_released(tmp_path):
    clone = committed(tmp_path / "clone", f"## [7.1.0] - {TODAY}\n")
    git(clone, "init", "--quiet", str(tmp_path))  # a checkout, but of something else
    shutil.rmtree(clone / ".git")
    ended = released(clone, "--trial", f"--output={tmp_path / 'dist'}")
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1
    assert "clone: found no checkout of git; expected one" in ended.stderr


def test_the_settings_of_a_user_change_no_byte(tmp_path):
    clone = committed(tmp_path / "clone", f"## [7.1.0] - {TODAY}\n")
    code = "import sys; sys.path.insert(0, 'deploy'); import release; sys.stdout.buffer.write(release.archive('x'))"

    def archive() -> bytes:
        return subprocess.run([sys.executable, "-B", "-c", code], cwd=clone, capture_output=True, check=True).stdout

    plain = archive()
    git(clone, "config", "tar.umask", "0077")
    git(clone, "config", "core.autocrlf", "true")
    assert archive() == plain and b"7.1.0" in plain


@pytest.mark.slow
def test_the_same_commit_gives_the_same_bytes(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    git(tmp_path, "clone", "--quiet", str(ROOT), "clone")
    outputs = [tmp_path / "one", tmp_path / "two"]
    for output, umask in zip(outputs, (0o022, 0o002), strict=True):
        ended = released(tmp_path / "clone", "--trial", f"--output={output}", umask=umask)
        assert ended.returncode == 0, ended.stderr
    first, second = ({path.name: path.read_bytes() for path in output.iterdir()} for output in outputs)
    assert first == second
    sums = dict(reversed(line.split()) for line in first.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in first.items()}
    (wheel,) = outputs[0].glob("*.whl")
    (sources,) = outputs[0].glob("*.tar.gz")
    with tarfile.open(sources) as tar, zipfile.ZipFile(wheel) as archive:
        (top,) = {os.path.dirname(name) for name in tar.getnames() if name.endswith("/setup.cfg")}
        modules = {
            name.partition("/")[2]
            for name in tar.getnames()
            if name.startswith(f"{top}/lcjax/") and name.endswith(".py")
        }
        assert modules <= set(archive.namelist())
