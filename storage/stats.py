"""Counts and sizes, from the database alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select

from yusa.storage import files
from yusa.storage import tables as t
from yusa.storage.database import DATABASE
from yusa.storage.settings import Settings
from yusa.storage.state import reach, read_segments, read_settings, read_state


@dataclass(frozen=True, slots=True)
class Stats:
    """What an index holds and what it takes.

    Attributes:
        tail: live vectors that are in no segment yet.
        deleted: vectors that were deleted and still stand in a segment.
        database_bytes: index.db and its WAL.
        segment_bytes: the current segments' files.
        live_bytes: what an index of the same content takes at least, free pages and dead vectors left out.
        dead_bytes: vectors in segments that were deleted.
        reclaimable_bytes: what `compact` gives back at least: dead vectors, free pages, WAL and orphaned files.
    """

    sequence: int
    format_version: int
    documents: int
    passages: int
    sources: int
    segments: int
    tail: int
    deleted: int
    database_bytes: int
    segment_bytes: int
    live_bytes: int
    dead_bytes: int
    reclaimable_bytes: int
    settings: Settings


def read_stats(directory: Path, connection: Connection) -> Stats:
    """Stats as of the commit that a read transaction sees."""
    state = read_state(connection)
    segments = read_segments(connection, state.encoding_id)
    settings = read_settings(connection, state.encoding_id)
    page_size, pages, free = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("page_size", "page_count", "freelist_count")
    )
    wal_bytes = _size(directory / f"{DATABASE}-wal")
    segment_bytes = sum(file.bytes for segment in segments for file in segment.files.values())
    on_disk = sum(_size(path) for path in (directory / files.SEGMENTS).glob("*")) + sum(
        _size(path) for path in (directory / files.SEGMENTS).glob(".*.tmp")
    )
    dead = sum(segment.dead for segment in segments)
    dead_bytes = sum(
        segment.dead * sum(file.bytes for file in segment.files.values()) // max(1, segment.count)
        for segment in segments
    )
    return Stats(
        sequence=state.sequence,
        format_version=state.format_version,
        documents=_count(connection, t.document.c.key),
        passages=_count(connection, t.passage.c.vector_id),
        sources=int(connection.execute(select(func.count(t.document.c.source_id.distinct()))).scalar_one()),
        segments=len(segments),
        tail=int(
            connection.execute(
                select(func.count())
                .select_from(t.passage)
                .where(t.passage.c.vector_id > reach(segments), t.passage.c.encoding_id == state.encoding_id)
            ).scalar_one()
        ),
        deleted=dead,
        database_bytes=_size(directory / DATABASE) + wal_bytes,
        segment_bytes=segment_bytes,
        live_bytes=(pages - free) * page_size + segment_bytes - dead_bytes,
        dead_bytes=dead_bytes,
        reclaimable_bytes=dead_bytes + free * page_size + wal_bytes + max(0, on_disk - segment_bytes),
        settings=settings,
    )


def _count(connection: Connection, column: object) -> int:
    return int(connection.execute(select(func.count(column))).scalar_one())  # type: ignore[arg-type]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
