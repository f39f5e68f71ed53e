"""Connections to index.db: who may read, who may write, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from yusa.errors import IndexFormatError, IndexLockedError, StorageError

DATABASE: Final = "index.db"

_PAGE_SIZE: Final = 8192
WAL_BYTES: Final = 32 << 20
"""Size at which the WAL is copied into the database."""
BUSY_SECONDS: Final = 30.0
_CHUNK: Final = 500

# Only at creation, since the second writes to the database even where it changes nothing.
_CREATION_PRAGMAS: Final = (f"page_size={_PAGE_SIZE}", "auto_vacuum=INCREMENTAL")
_WRITER_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "wal_autocheckpoint=0",  # `wal.py` does it, and knows when it is done
    f"journal_size_limit={WAL_BYTES}",
    "secure_delete=FAST",
    "cache_size=-65536",
)
_READER_PRAGMAS: Final = ("query_only=ON", "cache_size=-8192")

T = TypeVar("T")


def reader_engine(directory: Path, *, immutable: bool = False) -> Engine:
    """Connections that cannot write, create or checkpoint; each transaction sees one commit.

    Args:
        immutable: read without locks and shared memory, which alone works in a directory where they cannot be made.
    """
    uri = f"{_uri(directory)}?mode=ro" + ("&immutable=1" if immutable else "")
    return _engine(uri, _READER_PRAGMAS, "BEGIN", pooled=True)


def writer_engine(directory: Path, *, create: bool = False) -> Engine:
    """The connection that commits and checkpoints; only who holds the writer's lock may ask for it."""
    mode, pragmas = ("rwc", _CREATION_PRAGMAS + _WRITER_PRAGMAS) if create else ("rw", _WRITER_PRAGMAS)
    return _engine(f"{_uri(directory)}?mode={mode}", pragmas, "BEGIN IMMEDIATE", pooled=False)


def driver_connection(connection: Connection) -> sqlite3.Connection:
    """SQLite's own connection behind one of SQLAlchemy's."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Pieces that fit into one IN (…)."""
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


@contextmanager
def translated(directory: Path) -> Iterator[None]:
    """Turn a database error into one that says what to do."""
    try:
        yield
    except DBAPIError as error:
        raise database_error(directory, error.orig) from error
    except (sqlite3.Error, SQLAlchemyError) as error:
        raise database_error(directory, error) from error


def error_code(error: BaseException | None) -> int:
    """SQLite's primary result code, 0 where there is none."""
    if isinstance(error, DBAPIError):
        error = error.orig
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


def _uri(directory: Path) -> str:
    return Path(os.path.abspath(directory / DATABASE)).as_uri()  # noqa: PTH100  # resolve() would follow links


def _engine(uri: str, pragmas: tuple[str, ...], begin: str, *, pooled: bool) -> Engine:
    def connect() -> sqlite3.Connection:
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

    options: dict[str, Any] = (
        {"poolclass": QueuePool, "pool_size": 8, "max_overflow": -1} if pooled else {"poolclass": NullPool}
    )
    engine = create_engine("sqlite://", creator=connect, **options)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
