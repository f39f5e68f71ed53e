"""Where blocks of postings come from: a segment's file, the tail's rows in the database, or else the texts."""

from __future__ import annotations

import logging
import mmap
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from yusa.storage.database import chunks, driver_connection, marks, rows
from yusa.storage.files import DamagedFileError, Verified, segment_path
from yusa.storage.parts import Flags, Ids
from yusa.storage.postings import POSTINGS_SUFFIX, Block, TermSource, build, map_block, merged, save
from yusa.storage.postings import load as load_block
from yusa.storage.state import Segment
from yusa.storage.tiers import run_start

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from yusa.storage.database import AnyConnection

_log = logging.getLogger(__name__)


def keyword_text(title: str | None, passage: str) -> str:
    """What the terms of a passage are taken from: its document's title stands in front, as it does when encoding."""
    return f"{title}\n{passage}" if title else passage


def pack(block: Block) -> bytes:
    """A block as a row of the database holds it."""
    pieces: list[bytes] = []

    def sink(piece: bytes | memoryview) -> int:
        pieces.append(bytes(piece))
        return len(piece)

    save(block, sink)
    return zlib.compress(b"".join(pieces), 1)


def unpack_block(data: bytes, name: str) -> Block:
    """The inverse of `pack`.

    Raises:
        DamagedFileError: it is none.
    """
    try:
        return load_block(zlib.decompress(data), name)
    except (zlib.error, TypeError) as error:
        raise DamagedFileError(f"{name} cannot be unpacked ({error})") from error


TEXTS = """
SELECT vector_id, title, substr(text, start + 1, "end" - start)
FROM passage JOIN document ON document.key = passage.document
"""
"""The titles and texts of passages, by vector id."""


def analyzed(connection: AnyConnection, encoding_id: int, source: TermSource, ids: range | list[int]) -> Block:
    """The block of a range of ids, or of ascending ids, made from the texts."""
    found: list[int] = []
    pieces: Iterable[tuple[str, Sequence[int]]] = (
        [("BETWEEN ? AND ?", (ids.start, ids.stop - 1))]
        if isinstance(ids, range)
        else [(f"IN ({marks(chunk)})", chunk) for chunk in chunks(ids)]
    )

    def texts() -> Iterator[str]:
        for piece, values in pieces:
            question = f"{TEXTS} WHERE encoding_id = ? AND vector_id {piece} ORDER BY vector_id"
            for vector_id, title, passage in driver_connection(connection).execute(question, (encoding_id, *values)):
                found.append(vector_id)
                yield keyword_text(title, passage)

    return build(found, texts(), source)


def segment_block(
    directory: Path,
    segment: Segment,
    source: TermSource,
    verified: Verified,
    *,
    again: bool = False,
    held: mmap.mmap | None = None,
) -> Block:
    """The mapped postings of a segment.

    Args:
        held: the file as it was mapped before; taken where its name is gone.

    Raises:
        FileNotFoundError: the file is gone.
        DamagedFileError: it is not what the database says, or the segment was written without this analyzer.
    """
    path = segment_path(directory, segment.id, POSTINGS_SUFFIX)
    if POSTINGS_SUFFIX not in segment.files:
        raise DamagedFileError(f"{path.name} was never written")
    try:
        verified.check(path, segment.files[POSTINGS_SUFFIX], again=again)
        block = map_block(path)
    except FileNotFoundError:
        if held is None:
            raise
        verified.check_content(path.name, held, segment.files[POSTINGS_SUFFIX])
        block = load_block(held, path.name)
    if block.identity != source.identity:
        raise DamagedFileError(f"{path.name} is of the analyzer {block.identity}, not {source.identity}")
    if len(block.ids) != segment.count or block.ids[0] < segment.first_id or block.ids[-1] > segment.last_id:
        raise DamagedFileError(f"{path.name} does not hold the {segment.count} passages it should")
    return block


def tail_blocks(
    connection: AnyConnection, encoding_id: int, source: TermSource, first: int, last: int
) -> list[tuple[Block, Flags | None]]:
    """Blocks, with what of them lies in it, that together hold a range of ids of the tail."""
    blocks: list[tuple[Block, Flags | None]] = []
    covered = first - 1
    question = """
        SELECT first_id, last_id, data FROM block
        WHERE encoding_id = ? AND analyzer = ? AND last_id >= ? AND first_id <= ? ORDER BY first_id
    """
    for low, high, data in rows(connection, question, (encoding_id, source.identity, first, last)):
        try:
            block = unpack_block(data, f"the block of postings from {low} on")
            if len(block.ids) and not low <= block.ids[0] <= block.ids[-1] <= high:
                raise DamagedFileError(f"the block of postings from {low} on holds others than it says")
        except DamagedFileError as error:
            _log.warning("%s; its terms are taken from the texts", error)
            continue
        if low > covered + 1:
            blocks.append((analyzed(connection, encoding_id, source, range(covered + 1, low)), None))
            covered = low - 1
        inside = (block.ids > covered) & (block.ids <= last)
        blocks.append((block, None if inside.all() else inside))
        covered = high
    if covered < last:
        blocks.append((analyzed(connection, encoding_id, source, range(covered + 1, last + 1)), None))
    return blocks


def add_block(connection: Connection, encoding_id: int, block: Block, first: int, last: int) -> None:
    """Store the postings of the ids `first` to `last`; where many small rows have come together, they become one."""
    question = "SELECT first_id, last_id, analyzer, count FROM block WHERE encoding_id = ? ORDER BY first_id DESC"
    after = first
    neighbours: list[tuple[int, int]] = []
    for low, high, analyzer, count in rows(connection, question, (encoding_id,)):
        if high != after - 1 or analyzer != block.identity:
            break
        neighbours.insert(0, (low, count))
        after = low
    start = run_start([*(count for _, count in neighbours), len(block.ids)])
    old = [low for low, _ in neighbours[start:]] if start is not None else []
    if old:
        among = f"FROM block WHERE first_id IN ({marks(old)})"
        stored = rows(connection, f"SELECT first_id, data {among} ORDER BY first_id", old)
        try:
            blocks = [unpack_block(data, f"the block of postings from {low} on") for low, data in stored]
        except DamagedFileError as error:
            _log.warning("%s; it is left as it is", error)
        else:
            block, first = merged([(one, None) for one in [*blocks, block]]), old[0]
            rows(connection, f"DELETE {among}", old)
    rows(
        connection,
        "INSERT INTO block (first_id, last_id, encoding_id, analyzer, count, data) VALUES (?, ?, ?, ?, ?, ?)",
        (first, last, encoding_id, block.identity, len(block.ids), pack(block)),
    )


def cover_tail(connection: Connection, encoding_id: int, source: TermSource, first: int, last: int) -> None:
    """Make the rows of `block` whole for the tail, ids `first` to `last`, if they are not: after a change of format or
    analyzer, and in a restored index.
    """
    question = "SELECT first_id, last_id, analyzer FROM block WHERE encoding_id = ? ORDER BY first_id"
    covered = first - 1
    for low, high, analyzer in [*rows(connection, question, (encoding_id,)), (last + 1, last, source.identity)]:
        if analyzer != source.identity or _any_between(connection, encoding_id, covered + 1, low - 1):
            break
        covered = high
    else:
        return
    rows(connection, "DELETE FROM block WHERE encoding_id = ?", (encoding_id,))
    block = analyzed(connection, encoding_id, source, range(first, last + 1))
    if len(block.ids):
        # Not from `first` on: where there are no segments, the tail of every encoding begins at 0.
        add_block(connection, encoding_id, block, int(block.ids[0]), last)


def _any_between(connection: Connection, encoding_id: int, first: int, last: int) -> bool:
    """Whether a range of ids holds a passage of an encoding; ids may be another encoding's, or deleted."""
    question = "SELECT 1 FROM passage WHERE vector_id BETWEEN ? AND ? AND encoding_id = ? LIMIT 1"
    return first <= last and bool(rows(connection, question, (first, last, encoding_id)))


def segment_postings(
    connection: Connection,
    encoding_id: int,
    replaced: tuple[Segment, ...],
    ids: Ids,
    last: int,
    *,
    directory: Path,
    source: TermSource,
    verified: Verified,
) -> Block:
    """The postings of a segment that is built: of exactly the (live, sorted) ids, from what is there already.

    Args:
        replaced: the segments it stands for; what lies beyond them, up to `last`, is the tail's.
    """
    blocks: list[tuple[Block, Flags | None]] = []
    for segment in replaced:
        if segment.count:
            try:
                blocks.append((segment_block(directory, segment, source, verified), None))
            except (FileNotFoundError, DamagedFileError):
                span = range(segment.first_id, segment.last_id + 1)
                blocks.append((analyzed(connection, encoding_id, source, span), None))
    first = replaced[-1].last_id + 1 if replaced else int(ids[0])
    if first <= last:
        blocks += tail_blocks(connection, encoding_id, source, first, last)
    flagged = [(block, _among(block.ids, ids, flags)) for block, flags in blocks]
    if sum(len(block.ids) if flags is None else int(flags.sum()) for block, flags in flagged) != len(ids):
        return analyzed(connection, encoding_id, source, range(int(ids[0]), int(ids[-1]) + 1))
    return merged(flagged)


def _among(block_ids: Ids, ids: Ids, flags: Flags | None) -> Flags | None:
    positions = np.minimum(np.searchsorted(ids, block_ids), max(0, len(ids) - 1))
    here: Flags = ids[positions] == block_ids
    if flags is not None:
        here &= flags
    return None if here.all() else here
