"""The keyword postings of one commit, brought up to the next."""

from __future__ import annotations

import logging
import mmap
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from yusa.storage.blocks import analyzed, segment_block, tail_blocks
from yusa.storage.bm25 import Keywords, LiveBlock
from yusa.storage.files import DamagedFileError, Verified
from yusa.storage.parts import Flags
from yusa.storage.postings import Block, TermSource, merged
from yusa.storage.snapshot import Snapshot
from yusa.storage.state import Segment, State, reach, read_segments
from yusa.storage.tiers import merge_start

if TYPE_CHECKING:
    from yusa.storage.database import AnyConnection

_log = logging.getLogger(__name__)


class Lexicon:
    """The newest keyword postings of an index, for readers. They are loaded when the first lexical query comes."""

    def __init__(self, directory: Path, source: TermSource, verified: Verified) -> None:
        self._directory = directory
        self._source = source
        self._verified = verified
        self._lock = threading.Lock()
        self._newest: _Loaded | None = None

    def at(self, connection: AnyConnection, state: State, snapshot: Snapshot) -> Keywords:
        """The postings of a snapshot's commit, which `connection` sees."""
        newest = self._newest
        if newest is not None and newest.keywords.sequence == snapshot.sequence:
            return newest.keywords
        with self._lock:
            newest = self._newest
            if newest is not None and newest.keywords.sequence == snapshot.sequence:
                return newest.keywords
            loaded = self._advance(connection, state, snapshot, newest)
            if newest is None or newest.keywords.sequence < snapshot.sequence:
                self._newest = loaded
            return loaded.keywords

    def forget(self) -> None:
        with self._lock:
            self._newest = None

    def _advance(self, connection: AnyConnection, state: State, snapshot: Snapshot, old: _Loaded | None) -> _Loaded:
        segments = read_segments(connection, state.encoding_id)
        start, end = reach(segments) + 1, state.next_vector_id - 1
        if old is not None and (old.encoding_id != state.encoding_id or old.keywords.sequence > snapshot.sequence):
            # What is newer may lack what was deleted since.
            old = None
        held = {part.segment: part.postings for part in snapshot.parts}
        mapped = {
            segment.id: self._mapped(connection, state, segment, old, held.get(segment.id))
            for segment in segments
            if segment.count
        }
        tail = [_beyond(block, start) for block in old.tail] if old else []
        covered = max(start - 1, old.last) if old else start - 1
        if covered < end:
            tail += tail_blocks(connection, state.encoding_id, self._source, covered + 1, end)
        joined = _tidied(tail)
        live = [*mapped.values(), *joined]
        flags = [_live(block, snapshot) for block in live]
        keywords = Keywords(snapshot.sequence, [LiveBlock(*pair) for pair in zip(live, flags, strict=True)])
        return _Loaded(state.encoding_id, start, end, keywords, mapped, tuple(joined))

    def _mapped(
        self, connection: AnyConnection, state: State, segment: Segment, old: _Loaded | None, held: mmap.mmap | None
    ) -> Block:
        if old is not None and segment.id in old.mapped:
            return old.mapped[segment.id]
        try:
            return segment_block(self._directory, segment, self._source, self._verified, held=held)
        except (FileNotFoundError, DamagedFileError) as error:
            _log.warning(
                "keyword postings of segment %d of %s are made from its texts (%s); the next write stores them",
                segment.id, self._directory, error,
            )  # fmt: skip
            span = range(segment.first_id, segment.last_id + 1)
            return analyzed(connection, state.encoding_id, self._source, span)


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """What the next commit can take over: the segments' blocks by number, and the tail's, ids `first` to `last`."""

    encoding_id: int
    first: int
    last: int
    keywords: Keywords
    mapped: dict[int, Block]
    tail: tuple[Block, ...]


def _tidied(tail: list[tuple[Block, Flags | None]]) -> list[Block]:
    sizes = [len(block.ids) if flags is None else int(flags.sum()) for block, flags in tail]
    pairs = [pair for pair, size in zip(tail, sizes, strict=True) if size]
    start = merge_start([size for size in sizes if size], factor=1, largest=1 << 62)
    if start is not None:
        pairs[start:] = [(merged(pairs[start:]), None)]
    return [block if flags is None else merged([(block, flags)]) for block, flags in pairs]


def _beyond(block: Block, start: int) -> tuple[Block, Flags | None]:
    flags = block.ids >= start
    return block, None if flags.all() else flags


def _live(block: Block, snapshot: Snapshot) -> Flags | None:
    """Which passages of a block the snapshot holds as live; None if it holds all."""
    flags = np.zeros(len(block.ids), dtype=np.bool_)
    for part in snapshot.parts:
        if not len(part.ids):
            continue
        low, high = np.searchsorted(block.ids, [part.ids[0], part.ids[-1] + 1])
        _, found = part.positions(block.ids[low:high])
        flags[low:high] = found
    return None if flags.all() else flags
