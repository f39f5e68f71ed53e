"""Snapshots: the parts that hold every live vector as of one commit, and how they follow the database."""

from __future__ import annotations

import logging
import mmap
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from yusa.storage.checksums import PASSAGE_COLUMNS, damaged, unsound_passage
from yusa.storage.database import driver_connection, marks, rows
from yusa.storage.files import DamagedFileError, Verified, segment_path
from yusa.storage.parts import (
    IDS_SUFFIX,
    OWNERS_SUFFIX,
    VECTORS_SUFFIX,
    Ids,
    Part,
    Vectors,
    add_rows,
    joined,
    load_part,
    new_index,
    read_ahead,
)
from yusa.storage.postings import POSTINGS_SUFFIX
from yusa.storage.settings import Settings
from yusa.storage.state import Segment, State, reach, read_segments
from yusa.storage.tiers import merge_start
from yusa.storage.vectors import unpack

if TYPE_CHECKING:
    from yusa.storage.database import AnyConnection

_log = logging.getLogger(__name__)

_SAMPLE = 64
_READ_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every live vector as of `sequence`; parts stand in the order of their ids, which do not overlap.

    Attributes:
        next_id: every vector id below has been seen.
    """

    sequence: int
    encoding_id: int
    next_id: int
    parts: tuple[Part, ...]

    @property
    def live(self) -> int:
        return sum(part.live_count for part in self.parts)

    @property
    def live_sum(self) -> int:
        """The sum of the ids of the live vectors."""
        return sum(int(part.ids.sum(where=True if part.live is None else part.live)) for part in self.parts)


class Snapshots:
    """The newest snapshot of an index. Snapshots never change, so searches share them without a lock."""

    def __init__(self, directory: Path, settings: Settings, verified: Verified) -> None:
        self._directory = directory
        self._settings = settings
        self._verified = verified
        self._lock = threading.Lock()
        self._newest: Snapshot | None = None
        self.damaged: set[int] = set()
        """Segments found unusable; their vectors are served from the database until a writer rebuilds them."""

    def at(self, connection: AnyConnection, state: State, *, last_try: bool) -> Snapshot | None:
        """The snapshot of the commit that a read transaction sees, or None if a newer one is already out.

        Raises:
            FileNotFoundError: a segment file is gone, most likely because a newer set has replaced it; with `last_try`
                its vectors come from the database instead.
        """
        newest = self._newest
        if newest is None or newest.sequence < state.sequence:
            with self._lock:
                newest = self._newest
                if newest is None or newest.sequence < state.sequence:
                    newest = self._advance(connection, state, newest, last_try=last_try)
                    self._newest = newest
        return newest if newest.sequence == state.sequence else None

    def forget(self) -> None:
        with self._lock:
            self._newest = None

    def _advance(self, connection: AnyConnection, state: State, old: Snapshot | None, *, last_try: bool) -> Snapshot:
        if old is not None and old.sequence >= state.deletions_from and old.encoding_id == state.encoding_id:
            # Every change of the set of segments raises `deletions_from`, so the parts are still right.
            dead = deleted_after(connection, old.sequence)
            parts = [part.without(dead) for part in old.parts] if len(dead) else list(old.parts)
            start = old.next_id
        else:
            segments = read_segments(connection, state.encoding_id)
            loaded = {part.segment: part for part in old.parts if part.segment is not None} if old else {}
            parts = [
                self._segment_part(connection, state, segment, loaded.get(segment.id), last_try=last_try)
                for segment in segments
                if segment.count
            ]
            start = reach(segments) + 1
        tail = read_vectors(connection, state.encoding_id, self._settings, start, state.next_vector_id - 1)
        if len(tail.ids):
            parts.append(tail.part(self._settings.vector_dtype))
        snapshot = Snapshot(
            sequence=state.sequence,
            encoding_id=state.encoding_id,
            next_id=state.next_vector_id,
            parts=tuple(self._tidied(parts)),
        )
        if (snapshot.live, snapshot.live_sum) != (state.live, state.live_sum):
            raise damaged(connection, "the set of vectors that segments, deletions and passages make")
        return snapshot

    def _tidied(self, parts: list[Part]) -> list[Part]:
        parts = [part for part in parts if part.segment is not None or part.live_count]
        first = next((i for i, part in enumerate(parts) if part.segment is None), len(parts))
        tail = parts[first:]
        start = merge_start([part.live_count for part in tail], factor=1, largest=1 << 62)
        if start is not None:
            tail[start:] = [joined(tail[start:], self._settings)]
        return parts[:first] + tail

    def _segment_part(
        self, connection: AnyConnection, state: State, segment: Segment, loaded: Part | None, *, last_try: bool
    ) -> Part:
        dead = deleted_between(connection, segment.first_id, segment.last_id)
        if loaded is not None:
            return loaded.without(dead)
        if segment.id not in self.damaged:
            try:
                part = load_segment(self._directory, segment, self._settings, self._verified).without(dead)
                check_sample(connection, part)
                # Not before, as the sample would have most of the file read, of which a search by words needs nothing.
                read_ahead(part.rows)
                return replace(part, postings=self._postings(segment, last_try=last_try))
            except FileNotFoundError as error:
                if not last_try:
                    raise
                self._found_damaged(segment, f"{Path(str(error.filename or error)).name} is missing")
            except DamagedFileError as error:
                self._found_damaged(segment, str(error))
        found = read_vectors(connection, state.encoding_id, self._settings, segment.first_id, segment.last_id)
        return found.part(self._settings.vector_dtype, segment=segment.id)

    def _postings(self, segment: Segment, *, last_try: bool) -> mmap.mmap | None:
        """Mapped now, though few searches need them: when one does, a newer set may have taken the file away."""
        if POSTINGS_SUFFIX not in segment.files:
            return None
        try:
            with segment_path(self._directory, segment.id, POSTINGS_SUFFIX).open("rb") as file, suppress(ValueError):
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            if not last_try:
                raise
        except OSError:
            pass  # Whoever needs it says so.
        return None

    def _found_damaged(self, segment: Segment, reason: str) -> None:
        self.damaged.add(segment.id)
        _log.warning(
            "segment %d of %s is not used: %s; the next write rebuilds it", segment.id, self._directory, reason
        )


def load_segment(
    directory: Path, segment: Segment, settings: Settings, verified: Verified, *, again: bool = False
) -> Part:
    """Verify and map a segment's files, whatever was deleted since.

    Raises:
        FileNotFoundError, DamagedFileError: see `Verified.check` and `load_part`.
    """
    suffixes = (VECTORS_SUFFIX, IDS_SUFFIX, OWNERS_SUFFIX)
    paths = {suffix: segment_path(directory, segment.id, suffix) for suffix in suffixes}
    for suffix, path in paths.items():
        if suffix not in segment.files:
            raise DamagedFileError(f"{path.name} is not in the database's list")
        verified.check(path, segment.files[suffix], again=again)
    part = load_part(
        paths[VECTORS_SUFFIX], paths[IDS_SUFFIX], paths[OWNERS_SUFFIX], segment.count, settings, segment=segment.id
    )
    if part.ids[0] < segment.first_id or part.ids[-1] > segment.last_id:
        raise DamagedFileError(f"{paths[IDS_SUFFIX].name} holds ids of another range")
    return part


def check_sample(connection: AnyConnection, part: Part) -> None:
    """Compare evenly spread live vectors of a part with the database.

    Raises:
        DamagedFileError: one differs or is not in the database.
    """
    positions = np.arange(len(part.ids)) if part.live is None else np.flatnonzero(part.live)
    positions = positions[:: max(1, len(positions) // _SAMPLE)][:_SAMPLE]
    ids = part.ids[positions]
    wanted: list[int] = ids.tolist()
    question = f"SELECT vector_id, document, vector FROM passage WHERE vector_id IN ({marks(wanted)})"
    stored = {vector_id: (document, vector) for vector_id, document, vector in rows(connection, question, wanted)}
    for position, vector_id in zip(positions.tolist(), ids.tolist(), strict=True):
        if stored.get(vector_id) != (int(part.owners[position]), part.rows[position].tobytes()):
            raise DamagedFileError(f"segment {part.segment} holds another vector {vector_id} than the database")


def deleted_after(connection: AnyConnection, sequence: int) -> Ids:
    """Sorted ids deleted by commits after `sequence`."""
    question = "SELECT vector_id FROM deletion WHERE sequence > ? ORDER BY vector_id"
    return _ids(rows(connection, question, (sequence,)))


def deleted_between(connection: AnyConnection, first: int, last: int) -> Ids:
    """Sorted deleted ids of a range."""
    question = "SELECT vector_id FROM deletion WHERE vector_id BETWEEN ? AND ? ORDER BY vector_id"
    return _ids(rows(connection, question, (first, last)))


def _ids(found: Sequence[tuple[int]]) -> Ids:
    return np.array([row[0] for row in found], dtype=np.int64)


def read_vectors(connection: AnyConnection, encoding_id: int, settings: Settings, first: int, last: int) -> Vectors:
    """Ids, owners and vectors of a range of ids from the database, copied once and in blocks.

    Raises:
        IndexFormatError: a row is not what was written.
    """
    index = new_index(settings.dimension, settings.vector_dtype)
    ids, owners = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    if last >= first:
        cursor = driver_connection(connection).execute(_VECTORS, (first, last, encoding_id))
        while block := cursor.fetchmany(_READ_ROWS):
            if (wrong := unsound_passage(block)) is not None:
                raise damaged(connection, f"passage {wrong}")
            columns = list(zip(*block, strict=True))
            ids.append(np.array(columns[0], dtype=np.int64))
            owners.append(np.array(columns[1], dtype=np.int64))
            add_rows(index, unpack(columns[6], settings))
    return Vectors(np.concatenate(ids), np.concatenate(owners), index)


_VECTORS = f"""
SELECT {PASSAGE_COLUMNS} FROM passage WHERE vector_id BETWEEN ? AND ? AND encoding_id = ? ORDER BY vector_id
"""
