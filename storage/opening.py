"""Opening a directory: whether an index is there, of which format, and how it can be read."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from yusa.errors import IndexFormatError, IndexNotFoundError, StorageError
from yusa.storage.database import DATABASE, Readers, error_code, translated
from yusa.storage.state import FORMAT_VERSION
from yusa.storage.wal import wal_bytes

# SQLite's 512 on every POSIX system, less what it appends for its own files.
_LONGEST_PATH: Final = 504
_LONGEST_NAME: Final = 255


class Unchanging:
    """Watches a database that is read without locks, because nothing can be made beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark = self._now()

    def check(self) -> None:
        """Raise StorageError if the database is another than it was."""
        if wal_bytes(self._path) or self._now() != self._mark:
            raise StorageError(
                f"{self._path} was changed while it was open from a directory that may not be written. Open it again."
            )

    def _now(self) -> tuple[int, int, int]:
        status = (self._path / DATABASE).stat()
        return status.st_ino, status.st_size, status.st_mtime_ns


class SameDatabase:
    """Watches that a directory still holds the database that was opened: an open file outlives its name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path / DATABASE
        self._mark = self._now()

    def check(self) -> None:
        """Raise IndexNotFoundError if the database was removed or replaced."""
        if self._now() != self._mark:
            raise IndexNotFoundError(
                f"the index at {self._path} was removed or replaced while it was open. "
                "Open it again, or restore a backup."
            )

    def _now(self) -> tuple[int, int] | None:
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


def too_long(path: Path) -> str | None:
    """Why no index can be at a path that is longer than SQLite or a file system takes; None if it is not."""
    if os.name != "posix":
        return None
    whole = len(os.fsencode(path.absolute() / DATABASE)) - len(DATABASE) - 1
    name = max((len(os.fsencode(part)) for part in path.parts), default=0)
    longest = _LONGEST_PATH - len(DATABASE) - 1
    if whole > longest:
        return f"the path {path} has {whole} bytes, of which SQLite takes {longest}. Give a shorter one."
    if name > _LONGEST_NAME:
        return f"a name in {path} has {name} bytes, of which file systems take {_LONGEST_NAME}. Give a shorter one."
    return None


def refuse_missing(path: Path) -> None:
    """Raise IndexNotFoundError unless a directory with a database is there."""
    if reason := too_long(path):
        raise IndexNotFoundError(reason)
    if path.exists() and not path.is_dir():
        raise IndexNotFoundError(f"{path} is a file, not an index. Give the index's directory.")
    if not (path / DATABASE).is_file():
        what = "there is no index at" if path.exists() else "there is no directory"
        raise IndexNotFoundError(f"{what} {path}. Check the path, or make an index with `yusa index SOURCE -i {path}`.")


def open_reader(path: Path) -> tuple[Readers, Unchanging | None]:
    """Connections for reading; with a watch where they must do without locks, in a directory that cannot be written.

    Raises:
        IndexNotFoundError: the creation of the index was killed.
        StorageError: it cannot be read.
    """
    readers = Readers(path)
    try:
        with readers.connection() as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        readers.close()
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK:
            # Only the making of the file is journaled, before it gets its WAL: `create` takes it back.
            raise IndexNotFoundError(_unfinished(path)) from error
        unlockable = error_code(error) in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
        if not unlockable or os.access(path, os.W_OK) or wal_bytes(path):
            with translated(path):
                raise
        return Readers(path, immutable=True), Unchanging(path)
    return readers, None


def _unfinished(path: Path) -> str:
    return f"there is no index at {path}: its creation did not finish. Create it again."


def table_names(connection: sqlite3.Connection) -> set[str]:
    """The tables of a database."""
    listed = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"
    return {name for (name,) in connection.execute(listed)}


def format_version(path: Path, connection: sqlite3.Connection) -> int:
    """The format of an index.

    Raises:
        IndexNotFoundError: its creation did not finish.
        IndexFormatError: it is newer than this version, or no index.
    """
    tables = table_names(connection)
    if not tables:
        raise IndexNotFoundError(_unfinished(path))
    if "state" not in tables:
        raise IndexFormatError(f"{path / DATABASE} is a database of another program. Check the path.")
    rows = connection.execute("SELECT format_version FROM state").fetchall()
    if len(rows) != 1 or not isinstance(version := rows[0][0], int):
        raise IndexFormatError(f"{path / DATABASE} has no state: it is damaged. Restore a backup.")
    if version > FORMAT_VERSION:
        raise IndexFormatError(
            f"the index at {path} has format {version}; this version of yusa reads formats up to {FORMAT_VERSION}. "
            "Update yusa to open it."
        )
    return version
