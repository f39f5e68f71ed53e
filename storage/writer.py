"""The writer: one transaction per batch, under the lock."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Table, delete, func, insert, literal, select

from yusa.errors import StorageError
from yusa.storage import publish
from yusa.storage import tables as t
from yusa.storage.blocks import add_block, keyword_text
from yusa.storage.database import chunks
from yusa.storage.engine import translated
from yusa.storage.lookup import held, source_ids
from yusa.storage.postings import Block, TermSource, build
from yusa.storage.publish import Publisher
from yusa.storage.records import Encoded, Entry, Json, Known, Passage
from yusa.storage.rows import Names, Rows, known_names
from yusa.storage.settings import Settings
from yusa.storage.state import State, count_live, reach, read_segments, read_state, write_state
from yusa.storage.vectors import packed, unpack
from yusa.storage.wal import WalLimit

_log = logging.getLogger(__name__)

_PAGE = 10_000


class Writer:
    """Changes to the index; every method that changes it commits before it returns."""

    _state: State
    _names: dict[Table, dict[str, int]]

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        connection: Connection,
        publisher: Publisher,
        source: TermSource,
        wal: WalLimit,
    ) -> None:
        self._directory = directory
        self._source = source
        self._settings = settings
        self._publisher = publisher
        self._connection = connection
        self._wal = wal
        self._publish_failed = False
        with translated(directory), self._connection.begin():
            self._read_state()
        self._inserts = {
            table: str(insert(table).compile(dialect=connection.dialect))
            for table in (t.document, t.passage, t.attribute)
        }

    @property
    def sequence(self) -> int:
        """Number of the last commit."""
        return self._state.sequence

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """What the index holds under ids; ids it does not hold are left out."""
        with translated(self._directory), self._connection.begin():
            return {id: other.known for id, other in held(self._connection, ids).items()}

    def encoded(self, hashes: Sequence[bytes]) -> dict[bytes, Encoded]:
        """Passages and vectors of documents with these encoding hashes, made by the current encoder."""
        found: dict[bytes, Encoded] = {}
        with translated(self._directory), self._connection.begin():
            for chunk in chunks(list(dict.fromkeys(hashes))):
                rows = self._connection.execute(
                    select(func.min(t.document.c.key), t.document.c.encoding_hash)
                    .where(t.document.c.encoding_hash.in_(chunk))
                    .group_by(t.document.c.encoding_hash)
                )
                keys: dict[int, bytes] = {row[0]: row[1] for row in rows}
                found |= self._encodings(keys)
        return found

    def put(self, entries: Sequence[Entry]) -> None:
        """Insert or replace documents in one transaction; a full tail becomes a segment after the commit.

        Raises:
            StorageError: an entry cannot be kept (its id belongs to another source or stands twice in the batch, its
                vectors do not fit, its text cannot be stored) or the database cannot be written. The message names the
                id, and nothing of the batch is in the index.
        """
        if not entries:
            return
        vectors = iter(self._packed(entries))
        names = {table: Names(known) for table, known in self._names.items()}
        rows = Rows(self._state, sources=names[t.source], fields=names[t.field])
        try:
            for entry in entries:
                rows.add(entry, vectors)
            block = self._block(entries)
            with translated(self._directory), self._connection.begin():
                replaced = self._replaceable(entries)
                self._remove(replaced)
                for table, numbers in names.items():
                    if numbers.new:
                        self._connection.execute(insert(table), numbers.new)
                self._insert(t.document, rows.documents)
                self._insert(t.passage, rows.passages)
                self._insert(t.attribute, rows.attributes)
                if block is not None:
                    first, last = self._state.next_vector_id, rows.state.next_vector_id - 1
                    add_block(self._connection, self._state.encoding_id, block, first, last)
                first, last = self._state.next_vector_id, rows.state.next_vector_id
                count_live(self._connection, self._state.encoding_id, count=last - first, total=sum(range(first, last)))
                counts = {"documents": len(entries), "passages": len(rows.passages), "replaced": len(replaced)}
                write_state(self._connection, rows.state, "put", counts)
        except UnicodeEncodeError as error:
            raise _unstorable(entries) from error
        self._state = rows.state
        self._names = {table: dict(numbers) for table, numbers in names.items()}
        self._wal.keep(self._connection)
        self._publish_when_full()

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Delete documents in one transaction; the ids that were there, in the order given."""
        with translated(self._directory), self._connection.begin():
            present = held(self._connection, ids)
            if not present:
                return []
            self._remove([other.key for other in present.values()])
            after = replace(self._state, sequence=self._state.sequence + 1)
            write_state(self._connection, after, "delete", {"documents": len(present)})
        self._state = after
        self._wal.keep(self._connection)
        return list(present)

    def tune(self, choice: Mapping[str, Json]) -> None:
        """Store how queries are answered from now on, with the encoding it was found for; `{}` takes it back."""
        with translated(self._directory), self._connection.begin():
            after = replace(self._state, sequence=self._state.sequence + 1)
            self._connection.execute(delete(t.tuning).where(t.tuning.c.encoding_id == after.encoding_id))
            if choice:
                stored = json.dumps(dict(choice), ensure_ascii=False, sort_keys=True)
                self._connection.execute(insert(t.tuning).values(encoding_id=after.encoding_id, choice=stored))
            write_state(self._connection, after, "tune", {})
        self._state = after

    def ids_of(self, source: str) -> Iterator[str]:
        """The ids of a source's documents; documents may be deleted meanwhile."""
        after = -1
        while True:
            with translated(self._directory), self._connection.begin():
                rows = source_ids(self._connection, source, after=after, count=_PAGE)
            if not rows:
                return
            after = rows[-1][0]
            yield from (id for _, id in rows)

    def maintain(self) -> None:
        """Bring the segments in order.

        What is committed does not depend on it, so a failure is only logged and left to the next writer.
        """
        try:
            with translated(self._directory):
                self._publisher.maintain()
        except (StorageError, OSError) as error:
            self._publish_failed = True
            _log.warning("segments of %s could not be written, the next write tries again: %s", self._directory, error)
        with translated(self._directory), self._connection.begin():
            self._read_state()

    def _read_state(self) -> None:
        self._state = read_state(self._connection)
        self._reach = reach(read_segments(self._connection, self._state.encoding_id))
        self._names = {table: known_names(self._connection, table) for table in (t.source, t.field)}

    def _publish_when_full(self) -> None:
        tail = self._state.next_vector_id - 1 - self._reach
        if tail >= publish.TAIL_LIMIT and not self._publish_failed:
            self.maintain()

    def _block(self, entries: Sequence[Entry]) -> Block | None:
        """The keyword postings of a batch, under the vector ids its passages will have."""
        texts = [
            keyword_text(entry.document.title, entry.document.text[passage.start : passage.end])
            for entry in entries
            for passage in entry.passages
        ]
        first = self._state.next_vector_id
        return build(range(first, first + len(texts)), texts, self._source) if texts else None

    def _replaceable(self, entries: Sequence[Entry]) -> list[int]:
        """Keys of the documents that entries replace, which must be of the same sources."""
        present = held(self._connection, [entry.document.id for entry in entries])
        for entry in entries:
            other = present.get(entry.document.id)
            if other is not None and other.known.source != entry.source:
                raise StorageError(
                    f"document {entry.document.id!r} of {entry.source} was not stored: the id belongs to "
                    f"{other.known.source}. Delete it there first, or give it another id."
                )
        return [other.key for other in present.values()]

    def _remove(self, keys: Sequence[int]) -> None:
        for chunk in chunks(keys):
            sums = select(t.passage.c.encoding_id, func.count(), func.sum(t.passage.c.vector_id))
            own = sums.where(t.passage.c.document.in_(chunk)).group_by(t.passage.c.encoding_id)
            for number, count, total in self._connection.execute(own).all():
                count_live(self._connection, number, count=-count, total=-total)
            gone = select(t.passage.c.vector_id, literal(self._state.sequence + 1), t.passage.c.encoding_id).where(
                t.passage.c.document.in_(chunk)
            )
            self._connection.execute(insert(t.deletion).from_select(["vector_id", "sequence", "encoding_id"], gone))
            self._connection.execute(delete(t.attribute).where(t.attribute.c.document.in_(chunk)))
            self._connection.execute(delete(t.passage).where(t.passage.c.document.in_(chunk)))
            self._connection.execute(delete(t.document).where(t.document.c.key.in_(chunk)))

    def _insert(self, table: Table, rows: list[tuple[Any, ...]]) -> None:
        # The compiled statement with tuples is twice as fast as the same insert with dictionaries.
        if rows:
            self._connection.exec_driver_sql(self._inserts[table], rows)

    def _packed(self, entries: Sequence[Entry]) -> list[bytes]:
        seen: set[str] = set()
        for entry in entries:
            id = entry.document.id
            if id in seen:
                raise StorageError(f"document {id!r} stands twice in one batch; nothing of the batch was stored.")
            seen.add(id)
        named = [(f"document {entry.document.id!r}", len(entry.passages), entry.vectors) for entry in entries]
        return packed(named, self._settings)

    def _encodings(self, keys: dict[int, bytes]) -> dict[bytes, Encoded]:
        statement = (
            select(t.passage.c.document, t.passage.c.ordinal, t.passage.c.start, t.passage.c.end, t.passage.c.vector)
            .where(t.passage.c.document.in_(list(keys)), t.passage.c.encoding_id == self._state.encoding_id)
            .order_by(t.passage.c.document, t.passage.c.ordinal)
        )
        grouped: dict[int, tuple[list[Passage], list[bytes]]] = {}
        for document, ordinal, start, end, vector in self._connection.execute(statement):
            passages, vectors = grouped.setdefault(document, ([], []))
            passages.append(Passage(ordinal, start, end))
            vectors.append(vector)
        return {
            keys[document]: Encoded(tuple(passages), _floats(vectors, self._settings))
            for document, (passages, vectors) in grouped.items()
        }


def _unstorable(entries: Sequence[Entry]) -> StorageError:
    """The error for the first entry with half a surrogate pair, which UTF-8 does not have."""
    for entry in entries:
        document = entry.document
        try:
            f"{document.id}{document.title}{document.text}{entry.source}".encode()
        except UnicodeEncodeError:
            return StorageError(
                f"document {document.id!r} was not stored: it holds a character that is no character (half a surrogate "
                "pair). Nothing of the batch was stored."
            )
    raise AssertionError("no entry holds half a surrogate pair")


def _floats(vectors: Sequence[bytes], settings: Settings) -> NDArray[np.float32]:
    return unpack(vectors, settings).astype(np.float32)
