"""Weights of the Hugging Face Hub: `hf:ORG/REPO/FILE`, fetched by the library huggingface_hub into its own cache."""

import functools
import pathlib
import re
from typing import Any

from data_pipelines.schema import limits, names
from data_pipelines.schema.errors import InputError

PREFIX = "hf:"
_WRITTEN = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>[^@]+)(@(?P<revision>[^@]+))?")
EXPECTED = "hf:ORG/REPO/FILE, or hf:ORG/REPO/FILE@REVISION with a branch, a tag or a commit"


def fetched(text: str) -> tuple[pathlib.Path, str]:
    """Fetches one file, unless the cache holds it.

    Args:
      text: hf:ORG/REPO/FILE; FILE may lie in folders; @REVISION behind it is a branch, a tag or a commit, else "main".

    Returns:
      Its path, and ORG/REPO/FILE@COMMIT: what would fetch the same bytes again.

    Raises:
      InputError: the text is none of that, the extra is missing, or the hub does not answer with such a file.
    """
    written = _WRITTEN.fullmatch(text)
    if not written or names.wrong(text) or not names.is_inside(written["file"]):
        raise InputError(f"config.init={names.printable(text)[:200]}: expected {EXPECTED}")
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            f"config.init={text}: needs the package huggingface_hub, which is not installed: pip install 'lcjax[hub]'"
        ) from error
    ask: Any = functools.partial(
        huggingface_hub.hf_hub_download, written["repo"], written["file"], revision=written["revision"]
    )
    # The library has an error for each answer, and its HTTP client others for each way of not answering.
    try:
        size = ask(dry_run=True).file_size or 0
        if size <= limits.WEIGHTS_BYTES:
            path = pathlib.Path(ask())
    except Exception as error:
        raise InputError(f"config.init={text}: {_told(error)}") from error
    if size > limits.WEIGHTS_BYTES:
        raise InputError(
            f"config.init={text}: {size:,} bytes; expected at most {limits.WEIGHTS_BYTES:,}; is it the right file?"
        )
    # .../snapshots/COMMIT/FILE, whose last part may be several folders.
    commit = path.parts[-1 - len(pathlib.PurePosixPath(written["file"]).parts)]
    return path, f"{written['repo']}/{written['file']}@{commit}"


def _told(error: Exception) -> str:
    """What an error of the library means, and what to do."""
    from huggingface_hub import errors

    kinds: tuple[tuple[type[Exception], str], ...] = (
        (
            errors.GatedRepoError,
            "the repository is open only to those who have accepted its terms; accept them on its page, and log in "
            "with `hf auth login`",
        ),
        (
            errors.RepositoryNotFoundError,
            "the hub has no such repository, or a private one; look at its address; for a private one log in with "
            "`hf auth login`",
        ),
        (errors.RevisionNotFoundError, "the repository has no such branch, tag or commit; look at its history"),
        (
            errors.LocalEntryNotFoundError,
            "the hub cannot be reached, and the cache does not hold the file; fetch it on a machine with network, and "
            "name the file",
        ),
        (errors.EntryNotFoundError, "the repository has no such file; look at its list of files"),
    )
    if found := next((words for kind, words in kinds if isinstance(error, kind)), ""):
        return found
    reason = names.printable(str(error).strip().partition("\n")[0])[:160] or type(error).__name__
    return f"cannot be fetched ({type(error).__name__}: {reason}); try again, or fetch the file and name it"
