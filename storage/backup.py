"""Backups: one file, copied while others write, which is an index of its own."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from uuid import uuid4

from yusa.errors import IndexExistsError, StorageError
from yusa.storage.checksums import renew_state_checksum
from yusa.storage.database import DATABASE
from yusa.storage.files import sync_directory
from yusa.storage.opening import too_long
from yusa.storage.scratch import scratch_beside


def backup(connection: sqlite3.Connection, destination: Path) -> None:
    """Copy the newest commit into `destination`, which appears whole or not at all.

    Segments are not copied: the database holds every vector, and the copy's first writer builds them anew.

    Raises:
        IndexExistsError: the destination is there and not empty.
        StorageError: it cannot be written.
    """
    if reason := too_long(destination):
        raise StorageError(reason)
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise IndexExistsError(f"{destination} is there already and not empty. Give the backup a new path.")
    try:
        with scratch_beside(destination) as scratch:
            copy_database(connection, scratch.path / DATABASE, forget_segments=True)
            finished = scratch.finished()
            sync_directory(finished)
            os.replace(finished, destination)  # noqa: PTH105  # onto an empty directory, too
            sync_directory(destination.absolute().parent)
    except OSError as error:
        raise StorageError(
            f"the backup to {destination} failed ({error.strerror or error}). Check its disk and permissions."
        ) from error
    except sqlite3.Error as error:
        raise StorageError(f"the backup to {destination} failed ({error}). Check its disk and permissions.") from error


def copy_database(source: sqlite3.Connection, path: Path, *, forget_segments: bool) -> None:
    """Copy a database by SQLite's online backup to a new file and sync it."""
    target = sqlite3.connect(path, isolation_level=None)
    try:
        # All pages in one step: a commit between two steps would start the copy anew, again and again.
        source.backup(target)
        target.execute("PRAGMA synchronous=FULL")
        if forget_segments:
            target.execute("BEGIN IMMEDIATE")
            # Table `deletion` stays: the blocks of postings, which stay too, still hold what was deleted.
            for table in ("segment_file", "segment"):
                target.execute(f"DELETE FROM {table}")
            # A copy is another database: a WAL of the one must never be taken for the other's.
            target.execute("UPDATE state SET deletions_from = sequence, index_id = ?", (uuid4().hex,))
            renew_state_checksum(target)
            target.execute("COMMIT")
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        target.close()
    with path.open("rb") as file:
        os.fsync(file.fileno())
