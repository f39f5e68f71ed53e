"""Counts and sizes, from the database alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from yusa.storage import files
from yusa.storage import tables as t
from yusa.storage.database import DATABASE
from yusa.storage.settings import Settings
from yusa.storage.state import reach, read_segments, read_state

VACUUM_SHARE: Final = 0.3
"""Share of free pages above which `compact` writes the database anew, which packs the pages that stayed."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What an index holds and what it takes.

    Attributes:
        tail: live vectors that are in no segment yet.
        deleted: vectors that were deleted and still stand in a segment.
        database_bytes: index.db and its WAL.
        segment_bytes: the current segments' files.
        live_bytes: what an index of the same content takes, free pages and dead vectors left out.
        dead_bytes: vectors in segments that were deleted.
        reclaimable_bytes: what `compact` gives back at least: dead vectors, free pages, half-empty pages where it
            writes the database anew, WAL and orphaned files.
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
    settings = Settings.from_row(
        *connection.execute(
            select(t.encoding.c.settings, t.encoding.c.probe_vectors).where(t.encoding.c.id == state.encoding_id)
        ).one()
    )
    page_size, pages, free = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("page_size", "page_count", "freelist_count")
    )
    wal_bytes = _size(directory / f"{DATABASE}-wal")
    segment_bytes = sum(file.bytes for segment in segments for file in segment.files.values())
    # What a killed writer left is among them: its name begins with a dot, which means nothing to `glob`.
    on_disk = sum(_size(path) for path in (directory / files.SEGMENTS).glob("*"))
    dead = sum(segment.dead for segment in segments)
    dead_bytes = sum(
        segment.dead * sum(file.bytes for file in segment.files.values()) // max(1, segment.count)
        for segment in segments
    )
    packed = _loose(connection, page_size) if free > VACUUM_SHARE * pages else 0
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
        live_bytes=(pages - free) * page_size - packed + segment_bytes - dead_bytes,
        dead_bytes=dead_bytes,
        reclaimable_bytes=dead_bytes + free * page_size + packed + wal_bytes + max(0, on_disk - segment_bytes),
        settings=settings,
    )


def _count(connection: Connection, column: object) -> int:
    return int(connection.execute(select(func.count(column))).scalar_one())  # type: ignore[arg-type]


def _loose(connection: Connection, page_size: int) -> int:
    """What packing the pages in use saves; 0 where SQLite was built without the table that says so.

    One page of each table and index is left out, as it must have one.
    """
    statement = "SELECT sum(max(unused - ?, 0)) FROM dbstat WHERE aggregate = TRUE"
    try:
        return int(connection.exec_driver_sql(statement, (page_size,)).scalar_one()) // page_size * page_size
    except DBAPIError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
