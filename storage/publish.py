"""Segments: built from the database, written, and made current in one transaction. Only the writer calls this."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, delete, exists, func, insert, select

from yusa.storage import files
from yusa.storage import tables as t
from yusa.storage.blocks import cover_tail, segment_block, segment_postings
from yusa.storage.files import DamagedFileError, FileSum, Verified
from yusa.storage.parts import IDS_SUFFIX, OWNERS_SUFFIX, VECTORS_SUFFIX, write_ids, write_vectors
from yusa.storage.postings import POSTINGS_SUFFIX, TermSource, save
from yusa.storage.settings import Settings
from yusa.storage.snapshot import read_vectors
from yusa.storage.state import Segment, State, reach, read_segments, read_state, write_state
from yusa.storage.tiers import merge_start, small_run

_log = logging.getLogger(__name__)

TAIL_LIMIT: Final = 50_000
"""Vector ids beyond the segments at which the tail becomes one; readers hold no more than this and one batch."""

_MERGE_FACTOR = 3
_DEAD_SHARE = 0.3
_LARGEST_BYTES = 512 << 20
_TAIL = -1


@dataclass(frozen=True, slots=True)
class Step:
    """One rewriting: ids `first` to `last` become one segment in place of `replaced`."""

    first: int
    last: int
    replaced: tuple[Segment, ...]


class Publisher:
    """Builds and replaces the segments of one encoding, for one writer."""

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        connection: Connection,
        verified: Verified,
        damaged: set[int],
        source: TermSource,
        encoding_id: int,
    ) -> None:
        self._directory = directory
        self._encoding_id = encoding_id
        self._settings = settings
        self._source = source
        self._connection = connection
        self._verified = verified
        self._damaged = damaged
        self._largest = max(1, _LARGEST_BYTES // settings.vector_bytes)

    def find_damaged(self) -> None:
        """Look at every current file (size; checksum once) and sweep what belongs to no segment."""
        with self._connection.begin():
            segments = read_segments(self._connection, self._encoding_id)
            rows = self._connection.execute(select(t.segment_file.c.segment_id, t.segment_file.c.suffix))
            current = {files.segment_name(*row) for row in rows}
        for segment in segments:
            for suffix, expected in segment.files.items():
                path = files.segment_path(self._directory, segment.id, suffix)
                try:
                    self._verified.check(path, expected)
                except (FileNotFoundError, DamagedFileError) as error:
                    self._found_damaged(segment, error)
            if segment.count and segment.id not in self._damaged:
                try:
                    segment_block(self._directory, segment, self._source, self._verified)
                except (FileNotFoundError, DamagedFileError) as error:
                    self._found_damaged(segment, error)
        files.sweep(self._directory, current)

    def _found_damaged(self, segment: Segment, error: Exception) -> None:
        _log.warning("segment %d of %s is rebuilt: %s", segment.id, self._directory, error)
        self._damaged.add(segment.id)

    def maintain(self) -> None:
        """Rewrite until no segment is damaged or mostly dead, the tail is short and the sizes are tiered."""
        while self._run_next(compact=False):
            pass
        with self._connection.begin():
            state = read_state(self._connection)
            first = reach(read_segments(self._connection, self._encoding_id)) + 1
            cover_tail(self._connection, self._encoding_id, self._source, first, state.next_vector_id - 1)

    def compact(self) -> None:
        """Rewrite what is dead or unmerged, the tail included, into as few segments as their size allows."""
        while self._run_next(compact=True):
            pass

    def _run_next(self, *, compact: bool) -> bool:
        with self._connection.begin():
            state = read_state(self._connection)
            segments = read_segments(self._connection, self._encoding_id)
            step = self._compact_step(state, segments) if compact else self._next_step(state, segments)
            if step is None:
                return False
            built = self._build(state, step)
        # The files are durable before the commit that makes them current, and the old ones go after it.
        with self._connection.begin():
            self._make_current(state, step, built)
        for segment in step.replaced:
            self._damaged.discard(segment.id)
            for suffix in segment.files:
                with suppress(OSError):  # What cannot be deleted now is swept by a later writer.
                    files.segment_path(self._directory, segment.id, suffix).unlink()
        return True

    def _next_step(self, state: State, segments: list[Segment]) -> Step | None:
        for segment in segments:
            if segment.id in self._damaged or segment.dead > _DEAD_SHARE * segment.count:
                return Step(segment.first_id, segment.last_id, (segment,))
        full = state.next_vector_id - 1 - reach(segments) >= TAIL_LIMIT
        tail = self._tail(state, segments) if full else None
        items = [*segments, tail] if tail else segments
        start = merge_start([item.live for item in items], factor=_MERGE_FACTOR, largest=self._largest)
        if start is not None:
            return _step(items[start:])
        run = small_run([segment.live for segment in segments], largest=self._largest)
        if run is not None:
            return _step(segments[slice(*run)])
        return _step([tail]) if tail else None

    def _compact_step(self, state: State, segments: list[Segment]) -> Step | None:
        tail = self._tail(state, segments)
        items = [*segments, tail] if tail else segments
        for start, first in enumerate(items):
            end, size = start + 1, first.live
            while end < len(items) and size + items[end].live <= self._largest:
                size += items[end].live
                end += 1
            if end > start + 1 or first.dead or first is tail or first.id in self._damaged:
                return _step(items[start:end])
        return None

    def _tail(self, state: State, segments: list[Segment]) -> Segment | None:
        """The tail, or as much of it as one segment takes, as if it were a segment."""
        first = reach(segments) + 1
        last = min(state.next_vector_id, first + self._largest) - 1
        if first > last:
            return None
        # Ids of the tail may be another encoding's.
        own = select(func.count()).where(
            t.passage.c.vector_id.between(first, last), t.passage.c.encoding_id == self._encoding_id
        )
        count = int(self._connection.execute(own).scalar_one())
        return Segment(_TAIL, first, last, count=count, dead=0, files={})

    def _build(self, state: State, step: Step) -> tuple[int, dict[str, FileSum]]:
        """Write the files of segment `state.next_segment`; the number of its vectors and the files' sums."""
        found = read_vectors(self._connection, self._encoding_id, self._settings, step.first, step.last)
        if not len(found.ids):
            return 0, {}
        folder = self._directory / files.SEGMENTS
        if not folder.is_dir():
            folder.mkdir()
            files.sync_directory(self._directory)
        block = segment_postings(
            self._connection,
            self._encoding_id,
            step.replaced,
            found.ids,
            step.last,
            directory=self._directory,
            source=self._source,
            verified=self._verified,
        )
        content: dict[str, Callable[[files.Sink], None]] = {
            VECTORS_SUFFIX: lambda sink: write_vectors(found.index, sink),
            IDS_SUFFIX: lambda sink: write_ids(found.ids, sink),
            OWNERS_SUFFIX: lambda sink: write_ids(found.owners, sink),
            POSTINGS_SUFFIX: lambda sink: save(block, sink),
        }
        sums = {
            suffix: files.write_file(files.segment_path(self._directory, state.next_segment, suffix), produce)
            for suffix, produce in content.items()
        }
        files.sync_directory(folder)
        return len(found.ids), sums

    def _make_current(self, state: State, step: Step, built: tuple[int, dict[str, FileSum]]) -> None:
        count, sums = built
        connection = self._connection
        number = state.next_segment
        old = [segment.id for segment in step.replaced]
        connection.execute(delete(t.segment_file).where(t.segment_file.c.segment_id.in_(old)))
        connection.execute(delete(t.segment).where(t.segment.c.id.in_(old)))
        connection.execute(
            delete(t.deletion).where(
                t.deletion.c.vector_id.between(step.first, step.last), t.deletion.c.encoding_id == self._encoding_id
            )
        )
        connection.execute(
            delete(t.block).where(t.block.c.encoding_id == self._encoding_id, t.block.c.last_id <= step.last)
        )
        sequence = state.sequence + 1
        connection.execute(
            insert(t.segment).values(
                id=number,
                encoding_id=self._encoding_id,
                first_id=step.first,
                last_id=step.last,
                count=count,
                sequence=sequence,
            )
        )
        if sums:
            connection.execute(
                insert(t.segment_file),
                [
                    {"segment_id": number, "suffix": suffix, "bytes": file.bytes, "sha256": file.sha256}
                    for suffix, file in sums.items()
                ],
            )
        # Here, because it is rare: names that came and went with documents would stay for ever.
        for names, used in ((t.field, t.attribute.c.field_id), (t.source, t.document.c.source_id)):
            connection.execute(delete(names).where(~exists().where(used == names.c.id)))
        after = replace(state, sequence=sequence, deletions_from=sequence, next_segment=number + 1)
        write_state(connection, after, "segment", {"vectors": count, "merged": len(old)})


def _step(items: Sequence[Segment]) -> Step:
    return Step(items[0].first_id, items[-1].last_id, tuple(item for item in items if item.id != _TAIL))
