"""Giving back the space of what was deleted."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from yusa.errors import StorageError
from yusa.storage.database import driver_connection
from yusa.storage.publish import Publisher
from yusa.storage.stats import VACUUM_SHARE, Stats, read_stats
from yusa.storage.wal import WalLimit, checkpoint

_log = logging.getLogger(__name__)

_PAGES_AT_ONCE = 2000
# Seconds for the searches under way to end, without which the WAL keeps its size.
_WAIT = 5.0


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What an index took before and takes now, in bytes, segments included."""

    bytes_before: int
    bytes_after: int
    segments: int

    @property
    def bytes_freed(self) -> int:
        return max(0, self.bytes_before - self.bytes_after)


def compact(directory: Path, connection: Connection, publisher: Publisher, wal: WalLimit) -> CompactReport:
    """Merge the segments without their dead vectors, then shrink the database; readers go on meanwhile.

    Raises:
        StorageError: the segments or the database cannot be written.
    """
    before = _stats(directory, connection)
    try:
        publisher.compact()
    except OSError as error:
        raise StorageError(
            f"the segments of {directory} could not be written ({error.strerror or error}). Nothing is lost; check the "
            "disk (space, quota, permissions), then compact again."
        ) from error
    _shrink(connection, wal)
    checkpoint(connection, wait=_WAIT)
    after = _stats(directory, connection)
    return CompactReport(
        bytes_before=before.database_bytes + before.segment_bytes,
        bytes_after=after.database_bytes + after.segment_bytes,
        segments=after.segments,
    )


def _shrink(connection: Connection, wal: WalLimit) -> None:
    """Give free pages back; where much was deleted, also pack the pages that stayed, which are half empty."""
    raw = driver_connection(connection)
    if _number(raw, "freelist_count") > VACUUM_SHARE * _number(raw, "page_count"):
        try:
            raw.execute("VACUUM")
        except sqlite3.OperationalError as error:
            # It needs room for a second copy; to move single pages needs none.
            _log.warning("the database was not rewritten: %s", error)
    while (free := _number(raw, "freelist_count")) > 0:
        # One page for each row fetched; in pieces, so that the WAL stays short.
        raw.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
        wal.keep(connection)
        if _number(raw, "freelist_count") >= free:
            break


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _stats(directory: Path, connection: Connection) -> Stats:
    with connection.begin():
        return read_stats(directory, connection)
