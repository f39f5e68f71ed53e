"""SQLAlchemy's connections to index.db: the writer's, and for what is asked of an index now and then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from yusa.storage import database
from yusa.storage.database import READER_PRAGMAS, WAL_BYTES, connect, database_error, database_uri

_PAGE_SIZE: Final = 8192
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


def reader_engine(uri: str) -> Engine:
    """Connections that cannot write, create or checkpoint, by the `uri` of `Readers`."""
    return _engine(uri, READER_PRAGMAS, "BEGIN")


def writer_engine(directory: Path, *, create: bool = False) -> Engine:
    """The connection that commits and checkpoints; only who holds the writer's lock may ask for it."""
    mode, pragmas = ("rwc", _CREATION_PRAGMAS + _WRITER_PRAGMAS) if create else ("rw", _WRITER_PRAGMAS)
    return _engine(database_uri(directory, mode), pragmas, "BEGIN IMMEDIATE")


@contextmanager
def translated(directory: Path) -> Iterator[None]:
    """Turn an error of SQLAlchemy or SQLite into one that says what to do."""
    try:
        with database.translated(directory):
            yield
    except DBAPIError as error:
        raise database_error(directory, error.orig) from error
    except SQLAlchemyError as error:
        raise database_error(directory, error) from error


def _engine(uri: str, pragmas: Sequence[str], begin: str) -> Engine:
    engine = create_engine("sqlite://", creator=lambda: connect(uri, pragmas), poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
