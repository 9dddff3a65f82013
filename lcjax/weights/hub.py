"""Weights of the Hugging Face Hub: `hf:ORG/REPO/FILE`, fetched by the library huggingface_hub into its own cache."""

import dataclasses
import functools
import pathlib
import re
from typing import Any

from data_pipelines.schema import limits, names
from data_pipelines.schema.errors import InputError

PREFIX = "hf:"
_REPOSITORY = r"hf:(?P<repo>[\w.-]+/[\w.-]+)"
_REVISION = r"(@(?P<revision>[^@]+))?"
_WRITTEN = re.compile(rf"{_REPOSITORY}/(?P<file>[^@]+){_REVISION}")
_WHOLE = re.compile(_REPOSITORY + _REVISION)
EXPECTED = "hf:ORG/REPO/FILE, or hf:ORG/REPO/FILE@REVISION with a branch, a tag or a commit"
_MISSING = "the repository has no such file; look at its list of files"
_ELSE = "try again, or fetch the file and name it"


@dataclasses.dataclass(frozen=True)
class Repository:
    """A repository of the hub.

    Attributes:
      name: ORG/NAME.
      revision: a branch, a tag or a commit; None for the branch "main".
      said: what named it, for messages: "config.init=hf:...".
    """

    name: str
    revision: str | None
    said: str

    def fetched(self, file: str, most: int = limits.WEIGHTS_BYTES, missing: str = _MISSING) -> tuple[pathlib.Path, str]:
        """Fetches a file, unless the cache holds it.

        Args:
          file: its name; it may lie in folders.
          most: bytes that it may have.
          missing: what is said where the repository has none of that name.

        Returns:
          Its path, and the commit that it is of.

        Raises:
          InputError: the extra is missing, or the hub does not answer with such a file.
        """
        ask: Any = functools.partial(library(self.said).hf_hub_download, self.name, file, revision=self.revision)
        # The library has an error for each answer, and its HTTP client others for each way of not answering.
        try:
            size = ask(dry_run=True).file_size or 0
            if size <= most:
                path = pathlib.Path(ask())
        except Exception as error:
            raise InputError(f"{self.said}: {told(error, missing=missing)}") from error
        if size > most:
            raise InputError(f"{self.said}: {size:,} bytes; expected at most {most:,}; is it the right file?")
        # .../snapshots/COMMIT/FILE, whose last part may be several folders.
        return path, path.parts[-1 - len(pathlib.PurePosixPath(file).parts)]


def repository(text: str, flag: str) -> Repository:
    """The repository of hf:ORG/NAME or hf:ORG/NAME@REVISION. Raises InputError for what is none; `flag` gave it."""
    written = _WHOLE.fullmatch(text)
    if not written or names.wrong(text):
        raise InputError(
            f"{flag}={names.printable(text)[:200]}: expected hf:ORG/NAME, or hf:ORG/NAME@REVISION with a branch, a tag "
            "or a commit"
        )
    return Repository(written["repo"], written["revision"], f"{flag}={text}")


def library(said: str) -> Any:
    """The library huggingface_hub. Raises InputError where it is not installed; `said` asked for it."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            f"{said}: needs the package huggingface_hub, which is not installed: pip install 'lcjax[hub]'"
        ) from error
    return huggingface_hub


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
    repo = Repository(written["repo"], written["revision"], f"config.init={text}")
    path, commit = repo.fetched(written["file"])
    return path, f"{repo.name}/{written['file']}@{commit}"


def told(error: Exception, doing: str = "fetched", remedy: str = _ELSE, missing: str = _MISSING) -> str:
    """What an error of the library means, and what to do.

    Args:
      error: whatever the library raised.
      doing: what was done, as in "cannot be DOING".
      remedy: what to do about an error of no known kind.
      missing: what to say of a file that is not there.
    """
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
        (errors.EntryNotFoundError, missing),
    )
    if found := next((words for kind, words in kinds if isinstance(error, kind)), ""):
        return found
    reason = names.printable(str(error).strip().partition("\n")[0])[:160] or type(error).__name__
    return f"cannot be {doing} ({type(error).__name__}: {reason}); {remedy}"
