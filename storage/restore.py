"""Restoring: a backup, or any one database file of an index, becomes an index; what stood there is put aside."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

from yusa.errors import IndexExistsError, IndexFormatError, IndexNotFoundError, StorageError
from yusa.storage.backup import copy_database
from yusa.storage.database import DATABASE, database_error, error_code
from yusa.storage.files import exchange, file_bytes, sync_directory
from yusa.storage.lock import writer_lock
from yusa.storage.network import refuse_network
from yusa.storage.opening import too_long
from yusa.storage.scratch import scratch_beside
from yusa.storage.state import FORMAT_VERSION
from yusa.storage.wal import require_own_wal


def restore(source: Path, destination: Path, *, replace: bool = False) -> Path | None:
    """Make `destination` an index with the content of `source`. It needs nothing but the one file.

    The copy is checked before anything is touched, and appears whole or not at all. What it replaces is renamed, not
    deleted; who has that open is told so at the next search.

    Args:
        source: a backup, an index, or a database file alone (`index.db`, `index.db.format-1`).
        replace: put an index that stands at `destination` aside.

    Returns:
        Where the replaced index is now; None if there was none.

    Raises:
        IndexNotFoundError: there is no backup at `source`.
        IndexFormatError: it is damaged, of a newer version, or no index.
        IndexExistsError: `destination` holds an index and `replace` is not given, or something else.
        IndexLockedError: somebody writes to the index that is to be replaced.
        StorageError: the copy cannot be written.
    """
    file = source / DATABASE if source.is_dir() else source
    if not file.is_file():
        raise IndexNotFoundError(f"there is no backup at {source}. Give a backup's directory, or its index.db.")
    if reason := too_long(destination):
        raise StorageError(reason)
    refuse_network(destination)
    occupied = _occupied(destination, replace=replace)
    if occupied and file.parent.resolve() == destination.resolve():
        raise IndexExistsError(f"{source} is the index that it would replace. Give a backup that lies elsewhere.")
    parent = destination.absolute().parent
    aside = parent / f"{destination.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    try:
        with scratch_beside(destination) as scratch, ExitStack() as stack:
            _copy(file, scratch.path / DATABASE)
            if occupied:
                stack.enter_context(writer_lock(destination, wait=0.0))
            finished = scratch.finished()
            sync_directory(finished)
            if occupied:
                # The copy takes the other name first, so that a kill leaves the old index under no name that is swept.
                finished.rename(aside)
                try:
                    exchange(aside, destination)
                except OSError:
                    aside.rename(finished)
                    raise
            else:
                os.replace(finished, destination)  # noqa: PTH105  # onto an empty directory, too
            sync_directory(parent)
    except (OSError, sqlite3.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise StorageError(
            f"restoring {source} to {destination} failed ({why}). Check its disk and permissions."
        ) from error
    return aside if occupied else None


def _occupied(destination: Path, *, replace: bool) -> bool:
    """Whether an index has to be put aside."""
    if not destination.exists() or (destination.is_dir() and not any(destination.iterdir())):
        return False
    if not (destination / DATABASE).is_file():
        raise IndexExistsError(f"{destination} is there and no index. Restore to a new path.")
    if not replace:
        raise IndexExistsError(
            f"there is an index at {destination} already. Restore to another path, or with --replace, which puts it "
            "aside."
        )
    return True


def _copy(file: Path, target: Path) -> None:
    try:
        with closing(_opened(file)) as connection:
            _require_known(file, connection)
            copy_database(connection, target, forget_segments=True)
        with closing(sqlite3.connect(target)) as copy:
            found = [message for (message,) in copy.execute("PRAGMA quick_check(1)")]
    except sqlite3.Error as error:
        if error_code(error) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR} and not _of_reading(error):
            raise
        raise database_error(file.parent, error, path=file) from error
    if found != ["ok"]:
        raise IndexFormatError(f"the backup {file} is damaged ({found[0]}). Restore another one.")


def _of_reading(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode in {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}


def _opened(file: Path) -> sqlite3.Connection:
    uri = f"{file.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.OperationalError as error:
        connection.close()
        alone = file_bytes(file.with_name(f"{file.name}-wal")) == 0
        if not alone or error_code(error) not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            raise
        # Where nothing can be made beside it; a file that nobody writes needs no locks.
        return sqlite3.connect(f"{uri}&immutable=1", uri=True, isolation_level=None)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _require_known(file: Path, connection: sqlite3.Connection) -> None:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(state)")}
    known = "format_version" in columns
    rows = connection.execute("SELECT format_version FROM state").fetchall() if known else []
    if not rows:
        raise IndexFormatError(f"{file} is no backup of an index. Check the path.")
    if rows[0][0] > FORMAT_VERSION:
        raise IndexFormatError(
            f"the backup {file} has format {rows[0][0]}; this version of yusa reads formats up to {FORMAT_VERSION}. "
            "Update yusa to restore it."
        )
    if "checkpointed" in columns:
        require_own_wal(file, connection)
