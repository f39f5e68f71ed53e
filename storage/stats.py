"""Counts and sizes, from the database alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from yusa.storage import files
from yusa.storage import tables as t
from yusa.storage.database import DATABASE
from yusa.storage.settings import Settings
from yusa.storage.state import Segment, State, reach, read_segments, read_settings, read_state
from yusa.storage.wal import wal_bytes

# A row of `passage` without its vector, and its place in two indexes.
_ROW_BYTES: Final = 40

VACUUM_SHARE: Final = 0.3
"""Share of free pages above which `compact` writes the database anew, which packs the pages that stayed."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What an index holds and what it takes.

    Attributes:
        passages, segments, tail: of the encoding that searches are answered from.
        tail: live vectors that are in no segment yet.
        deleted: vectors that were deleted and still stand in a segment.
        database_bytes: index.db and its WAL.
        segment_bytes: the current segments' files, of every encoding.
        live_bytes: what an index of the same content takes, free pages and dead vectors left out.
        dead_bytes: vectors in segments that were deleted.
        reclaimable_bytes: what `compact` gives back at least: dead vectors, free pages, half-empty pages where it
            writes the database anew, WAL and orphaned files.
        unfinished_encoder: of a reindex under way, which lacks `unfinished_documents` more; None if there is none.
        previous_encoder: of the encoding that `rollback` leads to; None if none is kept.
        other_bytes: what `discard` and then `compact` give back: vectors and segments of these two.
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
    unfinished_encoder: str | None
    unfinished_documents: int
    previous_encoder: str | None
    other_bytes: int
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
    wal = wal_bytes(directory)
    others = {number: read_segments(connection, number) for number in state.encodings if number != state.encoding_id}
    every = [*segments, *chain.from_iterable(others.values())]
    segment_bytes = _files_bytes(every)
    # What a killed writer left is among them: its name begins with a dot, which means nothing to `glob`.
    on_disk = sum(files.file_bytes(path) for path in (directory / files.SEGMENTS).glob("*"))
    dead = sum(segment.dead for segment in segments)
    dead_bytes = sum(segment.dead * _files_bytes([segment]) // max(1, segment.count) for segment in every)
    packed = _loose(connection, page_size) if free > VACUUM_SHARE * pages else 0
    return Stats(
        sequence=state.sequence,
        format_version=state.format_version,
        documents=int(connection.execute(select(func.count(t.document.c.key))).scalar_one()),
        passages=_passages(connection, state.encoding_id),
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
        database_bytes=files.file_bytes(directory / DATABASE) + wal,
        segment_bytes=segment_bytes,
        live_bytes=(pages - free) * page_size - packed + segment_bytes - dead_bytes,
        dead_bytes=dead_bytes,
        reclaimable_bytes=dead_bytes + free * page_size + packed + wal + max(0, on_disk - segment_bytes),
        unfinished_encoder=_encoder(connection, state.building_id),
        unfinished_documents=_unfinished(connection, state),
        previous_encoder=None if state.previous_id == state.building_id else _encoder(connection, state.previous_id),
        other_bytes=_files_bytes(chain.from_iterable(others.values()))
        + sum(_stored_bytes(connection, number) for number in others),
        settings=settings,
    )


def _files_bytes(segments: Iterable[Segment]) -> int:
    return sum(file.bytes for segment in segments for file in segment.files.values())


def _passages(connection: Connection, encoding_id: int) -> int:
    own = t.passage.c.encoding_id == encoding_id
    return int(connection.execute(select(func.count(t.passage.c.vector_id)).where(own)).scalar_one())


def _encoder(connection: Connection, encoding_id: int | None) -> str | None:
    return None if encoding_id is None else read_settings(connection, encoding_id).encoder


def _unfinished(connection: Connection, state: State) -> int:
    if state.building_id is None:
        return 0
    reached = select(t.encoding.c.reached).where(t.encoding.c.id == state.building_id).scalar_subquery()
    left = select(func.count(t.document.c.key)).where(t.document.c.key > reached)
    return int(connection.execute(left).scalar_one())


def _stored_bytes(connection: Connection, encoding_id: int) -> int:
    """Vectors and the numbers beside them, of passages and postings."""
    vectors = select(func.count() * (_ROW_BYTES + read_settings(connection, encoding_id).vector_bytes))
    blocks = select(func.coalesce(func.sum(func.length(t.block.c.data)), 0))
    return int(connection.execute(vectors.where(t.passage.c.encoding_id == encoding_id)).scalar_one()) + int(
        connection.execute(blocks.where(t.block.c.encoding_id == encoding_id)).scalar_one()
    )


def _loose(connection: Connection, page_size: int) -> int:
    """What packing the pages in use saves; 0 where SQLite was built without the table that says so.

    One page of each table and index is left out, as it must have one.
    """
    statement = "SELECT sum(max(unused - ?, 0)) FROM dbstat WHERE aggregate = TRUE"
    try:
        return int(connection.exec_driver_sql(statement, (page_size,)).scalar_one()) // page_size * page_size
    except DBAPIError:
        return 0
