"""Connections to index.db: who may read, who may write, and what its errors mean.

What a search reads is asked of SQLite itself, since importing SQLAlchemy takes longer than the whole search of a fresh
process, and to prepare a statement through it longer than to run it. All else goes through SQLAlchemy (`engine.py`).
"""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from yusa.errors import IndexFormatError, IndexLockedError, StorageError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    AnyConnection = sqlite3.Connection | Connection

DATABASE: Final = "index.db"

WAL_BYTES: Final = 32 << 20
"""Size at which the WAL is copied into the database."""
BUSY_SECONDS: Final = 30.0
_CHUNK: Final = 500
_IDLE: Final = 8

READER_PRAGMAS: Final = ("query_only=ON", "cache_size=-8192")

T = TypeVar("T")


class Readers:
    """Connections that cannot write, create or checkpoint; the idle ones are kept for who reads next.

    Args:
        immutable: read without locks and shared memory, which alone works in a directory where they cannot be made.
    """

    def __init__(self, directory: Path, *, immutable: bool = False) -> None:
        self.uri = database_uri(directory, "ro") + ("&immutable=1" if immutable else "")
        self._idle: deque[sqlite3.Connection] = deque()

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection; what transaction it is in at the end is rolled back.

        Raises:
            sqlite3.Error: the database cannot be opened.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = connect(self.uri, READER_PRAGMAS)
        try:
            yield connection
            connection.rollback()
        except BaseException:
            connection.close()
            raise
        if len(self._idle) < _IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the idle ones."""
        while self._idle:
            self._idle.pop().close()


def database_uri(directory: Path, mode: str) -> str:
    """What SQLite opens an index by; `mode` is "ro", "rw" or "rwc"."""
    # resolve() would follow links.
    return f"{Path(os.path.abspath(directory / DATABASE)).as_uri()}?mode={mode}"  # noqa: PTH100


def connect(uri: str, pragmas: Sequence[str]) -> sqlite3.Connection:
    """A new connection, in no transaction; each transaction sees one commit."""
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except UnicodeDecodeError:
        connection.close()
        error = sqlite3.DatabaseError("the schema is no text")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error from None
    except BaseException:
        connection.close()
        raise
    return connection


def driver_connection(connection: AnyConnection) -> sqlite3.Connection:
    """SQLite's own connection behind one of SQLAlchemy's; its own are taken as they are."""
    if isinstance(connection, sqlite3.Connection):
        return connection
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def rows(connection: AnyConnection, statement: str, values: Sequence[Any] = ()) -> list[Any]:
    """The rows of a statement, as tuples."""
    return driver_connection(connection).execute(statement, values).fetchall()


def marks(values: Sequence[Any]) -> str:
    """The question marks of an IN (…)."""
    return ",".join("?" * len(values))


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Pieces that fit into one IN (…)."""
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


@contextmanager
def translated(directory: Path) -> Iterator[None]:
    """Turn a database error into one that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise database_error(directory, error) from error


def error_code(error: BaseException | None) -> int:
    """SQLite's primary result code, 0 where there is none."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def database_error(directory: Path, error: BaseException | None, *, path: Path | None = None) -> StorageError:
    """The error to show for one of the database's; `path` where it is not the index's own."""
    path = path or directory / DATABASE
    if str(error).startswith(_NO_TEXT):
        # What follows is the text, however long it is.
        return IndexFormatError(_CORRUPT.format(path=path, error="a text is not UTF-8"))
    kind, message = _MESSAGES.get(error_code(error), (StorageError, _OTHER))
    return kind(message.format(path=path, error=error))


_READ_ONLY = "{path} may not be written ({error}). Check the permissions of the file and its directory."
_BUSY = "{path} is busy: another program holds it open for writing. Try again in a moment."
_FULL = (
    "the disk is full: {path} could not grow. Everything committed before is kept and the batch in flight taken back "
    "whole; free some space and run it again."
)
_IO = (
    "{path} could not be read or written ({error}). Everything committed before is kept; check the disk (space, quota, "
    "permissions, file size limit), then run it again."
)
_CORRUPT = "{path} is damaged ({error}). Run `yusa verify --deep` to see how far, and restore a backup."
_NO_DATABASE = "{path} is not an index: it is no SQLite database. Check the path, or restore a backup."
_CANNOT_OPEN = (
    "{path} cannot be opened ({error}). Check that you may read the file and that the disk is not full; a database in "
    "use also needs index.db-shm beside it to be readable or its directory to be writable."
)
_OTHER = "{path}: {error}. Run `yusa verify --deep` to see whether it is damaged; if so, restore a backup."
_NO_TEXT = "Could not decode to UTF-8"
_MESSAGES: Final[dict[int, tuple[type[StorageError], str]]] = {
    sqlite3.SQLITE_FULL: (StorageError, _FULL),
    sqlite3.SQLITE_IOERR: (StorageError, _IO),
    sqlite3.SQLITE_BUSY: (IndexLockedError, _BUSY),
    sqlite3.SQLITE_LOCKED: (IndexLockedError, _BUSY),
    sqlite3.SQLITE_CORRUPT: (IndexFormatError, _CORRUPT),
    sqlite3.SQLITE_NOTADB: (IndexFormatError, _NO_DATABASE),
    sqlite3.SQLITE_READONLY: (StorageError, _READ_ONLY),
    sqlite3.SQLITE_PERM: (StorageError, _READ_ONLY),
    sqlite3.SQLITE_AUTH: (StorageError, _READ_ONLY),
    sqlite3.SQLITE_CANTOPEN: (StorageError, _CANNOT_OPEN),
}
