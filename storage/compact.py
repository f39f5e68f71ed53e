"""Giving back the space of what was deleted."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from yusa.storage.database import checkpoint
from yusa.storage.publish import Publisher
from yusa.storage.stats import Stats, read_stats

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


def compact(directory: Path, connection: Connection, publisher: Publisher) -> CompactReport:
    """Merge the segments without their dead vectors, then shrink the database; readers go on meanwhile."""
    before = _stats(directory, connection)
    publisher.compact()
    _shrink(connection)
    checkpoint(connection, wait=_WAIT)
    after = _stats(directory, connection)
    return CompactReport(
        bytes_before=before.database_bytes + before.segment_bytes,
        bytes_after=after.database_bytes + after.segment_bytes,
        segments=after.segments,
    )


def _shrink(connection: Connection) -> None:
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    while (free := raw.execute("PRAGMA freelist_count").fetchone()[0]) > 0:
        # One page for each row fetched; in pieces, so that the WAL stays short.
        raw.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
        if raw.execute("PRAGMA freelist_count").fetchone()[0] >= free:
            break


def _stats(directory: Path, connection: Connection) -> Stats:
    with connection.begin():
        return read_stats(directory, connection)
