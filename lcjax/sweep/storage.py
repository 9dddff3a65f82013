"""Where the trials of a study are told of: a file of SQLite in its folder, or a server of SQL by its address.

Addresses may hold passwords, so that no message, file or page holds more of one than `Place.shown`.
"""

import contextlib
import logging
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from data_pipelines.schema.errors import InputError

if TYPE_CHECKING:
    import optuna

FILE = "study.db"
_WAIT = 120  # seconds for another process that is writing to the file


def library() -> Any:
    """The package optuna. Raises InputError where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise InputError(
            "a study needs the package optuna, which is not installed: pip install 'lcjax[sweep]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    return optuna


class Place:
    """The storage of a study.

    Attributes:
      local: whether it is the file in the study's folder.
      shown: its address, without what is nobody's business.
    """

    def __init__(self, folder: pathlib.Path, address: str = ""):
        """Raises InputError for an address that is none."""
        library()
        import sqlalchemy

        self.local = not address
        self._secrets: list[str] = []
        if self.local:
            self.shown = str(folder / FILE)
            url = sqlalchemy.URL.create("sqlite", database=str((folder / FILE).absolute()))
        else:
            try:
                url = sqlalchemy.make_url(address)
            except (sqlalchemy.exc.ArgumentError, ValueError):
                raise InputError(
                    "--storage: no address of a database; expected DIALECT://USER@HOST/DATABASE, such as "
                    "postgresql+psycopg://me@server/studies"
                ) from None  # whose text may hold the password
            at = f"{url.host or ''}{f':{url.port}' if url.port else ''}"
            self.shown = f"{url.drivername}://{at}/{url.database or ''}"
            values = [url.password, *(one for value in url.query.values() for one in _several(value))]
            self._secrets = [str(one) for one in values if one]
        # The library puts a version in for a word in braces.
        self._url = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
        self._is_file = url.drivername.partition("+")[0] == "sqlite"

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Raises InputError, in a line without secrets, for what the storage raises within the context."""
        optuna = library()
        import sqlalchemy

        try:
            yield
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError, ImportError) as error:
            raise InputError(f"{self.shown}: {self._reason(error)}; {self._remedy(error)}") from None

    def _reason(self, error: Exception) -> str:
        cause: BaseException = error
        while (deeper := cause.__cause__ or getattr(cause, "orig", None)) is not None:
            cause = deeper
        text = " ".join(f"{type(cause).__name__}: {cause}".split())
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text[:300]

    def _remedy(self, error: Exception) -> str:
        if isinstance(error, ImportError):
            return "install the package that reaches this kind of database"
        if self.local:
            return "put back what it was, or choose another --study; is the disk full, or its file system shared?"
        return "is the server there, and may this user write to the database? The same command goes on when it is"

    def open(self, name: str) -> "optuna.Study":
        """The study of this name; made where there is none.

        Raises:
          InputError: the storage cannot be reached, or is none.
        """
        optuna = library()
        how: dict[str, Any] = {"connect_args": {"timeout": _WAIT}} if self._is_file else {"pool_pre_ping": True}
        with self.told():
            storage = optuna.storages.RDBStorage(self._url, engine_kwargs=how)
            return optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
