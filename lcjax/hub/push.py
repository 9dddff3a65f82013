"""`lcjax push`: a trained network to a repository of a Hugging Face hub."""

import hashlib
import logging
import pathlib
import re
import tempfile
from typing import Any

from data_pipelines.schema import locks
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import whole_folder
from lcjax.engine import restore
from lcjax.hub import manifest, staging
from lcjax.runs import workdir
from lcjax.version import __version__
from lcjax.weights import hub

_log = logging.getLogger(__name__)

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,60}")
_DOING = "pushed"
_AGAIN = "try again: the same command"


def push(
    folder: pathlib.Path,
    to: str,
    licence: str,
    *,
    kind: str = "",
    private: bool = False,
    output: pathlib.Path | None = None,
) -> None:
    """Pushes the network of a workdir as one commit, and looks whether the hub has what was pushed.

    Args:
      folder: the workdir.
      to: hf:ORG/NAME; the repository is made where there is none.
      licence: its identifier on the hub, such as "apache-2.0".
      kind: of the checkpoint, "best" or "last"; "" for the one that is used (`restore.kind_of_use`).
      private: whether the repository must be private; a new one is made so.
      output: a new folder for what would be pushed; nothing is, then.

    Raises:
      InputError: there is no such network, nobody is logged in, or the hub does not take it.
    """
    repo = hub.repository(to, "--to")
    if repo.revision:
        raise InputError(f"--to={to}: found @{repo.revision}; a push goes to the branch main; leave it out")
    if not _LICENCE.fullmatch(licence):
        raise InputError(
            f"--license={licence}: expected an identifier as hubs have them: apache-2.0, mit, cc-by-4.0, ..., or other"
        )
    chosen = kind or restore.kind_of_use(folder)
    if output is not None:
        whole = output.absolute()
        lock = whole.with_name(f".{whole.name}.lock")
        with locks.held(lock, f"--output={output}", doing="writing to", instead="choose another folder"):
            _check_new(output)
            with whole_folder(output) as draft:
                staging.write(folder, draft, _kind(chosen), repo.name, licence)
        _log.info(f"written: {output}/, as it would be pushed to {to}; {output}/{manifest.README} is its card")
        return
    library = hub.library(repo.said)
    if not library.get_token():
        raise InputError(f"{repo.said}: nobody is logged in to the hub; run `hf auth login`, or set HF_TOKEN")
    with tempfile.TemporaryDirectory(prefix="lcjax-push-") as made:
        out = pathlib.Path(made)
        staging.write(folder, out, _kind(chosen), repo.name, licence)
        # The library has an error for each answer, and its HTTP client others for each way of not answering.
        try:
            commit, differing = _commit(library, repo, out, f"{workdir.name_of(folder)} (lcjax {__version__})", private)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{repo.said}: {hub.told(error, _DOING, _AGAIN)}") from error
        if differing:
            raise InputError(f"{repo.said}: the hub does not hold {', '.join(differing)} as pushed; {_AGAIN}")
        size = sum(path.stat().st_size for path in out.iterdir())
    _log.info(f"pushed: hf:{repo.name}@{commit} ({size / 1e6:,.1f} MB)")


def _kind(word: str) -> manifest.Kind:
    if word == "best":
        return "best"
    if word == "last":
        return "last"
    raise InputError(f"--checkpoint={word}: expected best or last")


def _check_new(output: pathlib.Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"--output={output}: is there already; choose a folder that is new or empty")


def _commit(
    library: Any, repo: hub.Repository, out: pathlib.Path, message: str, private: bool
) -> tuple[str, list[str]]:
    """Commits the files of a folder; returns the commit, and what the hub does not hold as it is here.

    Raises:
      InputError: the repository is to be private, and is there already and is not.
    """
    api, name = library.HfApi(), repo.name
    api.create_repo(name, private=private or None, exist_ok=True)
    # Of one that is there, the hub leaves this as it is.
    if private and not api.repo_info(name).private:
        raise InputError(
            f"{repo.said}, --private: the repository is there and public; nothing was pushed; make it private on its "
            "page, name a new one, or leave --private out"
        )
    files = sorted(path.name for path in out.iterdir())
    stale = [one for one in api.list_repo_files(name) if one in manifest.KNOWN and one not in files]
    operations = [library.CommitOperationAdd(file, out / file) for file in files]
    operations += [library.CommitOperationDelete(one) for one in stale]
    commit: str = api.create_commit(name, operations, commit_message=message).oid
    there = {one.path: one for one in api.get_paths_info(name, files, revision=commit)}
    return commit, [file for file in files if file not in there or not _holds(there[file], out / file)]


def _holds(there: Any, path: pathlib.Path) -> bool:
    """Whether the hub says of a file that it has these bytes: by the SHA-256 of large files, by git's sum of others."""
    if there.lfs:
        return bool(there.lfs.sha256 == manifest.of_file(path)["sha256"])
    content = path.read_bytes()
    return bool(there.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest())
