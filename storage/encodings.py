"""Another encoding beside the current one: begun, filled batch by batch, and switched to in one transaction.

What is done is known by one number, `encoding.reached`: documents are taken in the order of their keys, and a document
that is added or replaced meanwhile gets a higher key. So a reindex that was killed goes on where it stood, whatever was
written since, and going back to the previous encoding is the same work, of which mostly nothing is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from yusa.errors import StorageError
from yusa.storage import tables as t
from yusa.storage.blocks import add_block, keyword_text
from yusa.storage.postings import TermSource, build
from yusa.storage.publish import Publisher
from yusa.storage.records import Reencoded, Unencoded
from yusa.storage.rows import passage_rows
from yusa.storage.settings import Settings
from yusa.storage.state import State, count_live, insert_settings, read_settings, read_state, write_state
from yusa.storage.vectors import packed
from yusa.storage.wal import WalLimit

_DROPPED = -1
_IDS_AT_ONCE = 20_000
_PAGE = 200


class NewEncoding:
    """The encoding under way, for the one writer; every method that changes something commits before it returns."""

    def __init__(
        self, connection: Connection, publisher: Publisher, source: TermSource, settings: Settings, wal: WalLimit
    ) -> None:
        self._connection = connection
        self._wal = wal
        self._publisher = publisher
        self._source = source
        self.settings = settings
        """What it is made with."""
        with connection.begin():
            self._id = _building(read_state(connection))
            self._reached = _reached(connection, self._id)

    def left(self) -> int:
        """How many documents have no passages of it yet."""
        with self._connection.begin():
            counted = select(func.count()).select_from(t.document).where(t.document.c.key > self._reached)
            return int(self._connection.execute(counted).scalar_one())

    def documents(self) -> Iterator[list[Unencoded]]:
        """Documents that have no passages of it yet, by their keys, some at a time; `put` may be called meanwhile."""
        after = self._reached
        columns = select(
            t.document.c.key, t.document.c.id, t.document.c.encoding_hash, t.document.c.title, t.document.c.text
        ).order_by(t.document.c.key)
        while True:
            with self._connection.begin():
                rows = self._connection.execute(columns.where(t.document.c.key > after).limit(_PAGE)).all()
            if not rows:
                return
            yield [Unencoded(*row) for row in rows]
            after = rows[-1].key

    def put(self, documents: Sequence[Reencoded]) -> None:
        """Store the passages of the next documents, in the order `documents` gave them, in one transaction.

        Raises:
            StorageError: vectors of another shape or with values that cannot be stored.
        """
        if not documents:
            return
        named = [(f"document {one.document.id!r}", len(one.passages), one.vectors) for one in documents]
        vectors = iter(packed(named, self.settings))
        texts = [
            keyword_text(one.document.title, one.document.text[passage.start : passage.end])
            for one in documents
            for passage in one.passages
        ]
        with self._connection.begin():
            state = read_state(self._connection)
            first = vector_id = state.next_vector_id
            rows: list[tuple[Any, ...]] = []
            for one in documents:
                rows += passage_rows(vector_id, one.document.key, self._id, one.passages, vectors)
                vector_id = first + len(rows)
            if rows:
                statement = str(insert(t.passage).compile(dialect=self._connection.dialect))
                self._connection.exec_driver_sql(statement, rows)
            if texts:
                block = build(range(first, vector_id), texts, self._source)
                add_block(self._connection, self._id, block, first, vector_id - 1)
            count_live(self._connection, self._id, count=len(texts), total=sum(range(first, vector_id)))
            self._reached = documents[-1].document.key
            _set_reached(self._connection, self._id, self._reached)
            after = replace(state, sequence=state.sequence + 1, next_vector_id=vector_id)
            counts = {"documents": len(documents), "passages": len(texts)}
            write_state(self._connection, after, "reindex", counts)
        self._wal.keep(self._connection)
        self._maintain()

    def switch(self) -> None:
        """Answer from it from now on, in one transaction; what was current is kept for going back.

        Raises:
            StorageError: documents are left.
        """
        self._maintain()
        with self._connection.begin():
            state = read_state(self._connection)
            if state.next_key - 1 > self._reached:
                left = select(t.document.c.key).where(t.document.c.key > self._reached).limit(1)
                if self._connection.execute(left).first() is not None:
                    raise StorageError("the new encoding is not complete: documents are left to encode")
            _set_reached(self._connection, state.encoding_id, state.next_key - 1)
            sequence = state.sequence + 1
            after = replace(
                state,
                sequence=sequence,
                deletions_from=sequence,
                encoding_id=self._id,
                building_id=None,
                previous_id=state.encoding_id,
            )
            write_state(self._connection, after, "switch", {"from": state.encoding_id, "to": self._id})

    def _maintain(self) -> None:
        try:
            self._publisher.maintain()
        except OSError as error:
            raise StorageError(
                f"segments of the new encoding could not be written ({error.strerror}). What is encoded is kept and "
                "the index answers as before; check the disk and run the reindex again."
            ) from error


def begin(connection: Connection, settings: Settings) -> Settings:
    """Begin an encoding, or go on with the one under way, which must be the same.

    Raises:
        StorageError: another one is under way, or the index is of this encoding already.
    """
    with connection.begin():
        state = read_state(connection)
        if read_settings(connection, state.encoding_id).same_encoding(settings):
            raise StorageError(
                f"the index is encoded by {settings.encoder} in just this way already; nothing was changed."
            )
        if state.building_id is not None:
            under_way = read_settings(connection, state.building_id)
            if not under_way.same_encoding(settings):
                raise StorageError(
                    f"a reindex with {under_way.encoder} is under way. Finish it with the same encoder and options, or "
                    "discard it (`yusa reindex --discard`) first."
                )
            return under_way
        if state.previous_id is not None and read_settings(connection, state.previous_id).same_encoding(settings):
            return _go_back(connection, state)
        number = int(connection.execute(select(func.max(t.encoding.c.id))).scalar_one()) + 1
        insert_settings(connection, number, settings)
        after = replace(state, sequence=state.sequence + 1, building_id=number, previous_id=None)
        write_state(connection, after, "begin encoding", {})
    return settings


def begin_rollback(connection: Connection) -> Settings:
    """Begin to go back to the previous encoding, or go on with that.

    Raises:
        StorageError: there is none.
    """
    with connection.begin():
        state = read_state(connection)
        if state.building_id is not None and state.building_id == state.previous_id:
            return read_settings(connection, state.building_id)
        if state.previous_id is None:
            raise StorageError(
                "there is no previous encoding to go back to. One is kept after a reindex until the next one, or until "
                "it is discarded."
            )
        return _go_back(connection, state)


def _go_back(connection: Connection, state: State) -> Settings:
    # It stays the previous one, too, by which a way back is known again after a kill.
    after = replace(state, sequence=state.sequence + 1, building_id=state.previous_id)
    write_state(connection, after, "begin encoding", {})
    return read_settings(connection, _building(after))


def discard(connection: Connection, wal: WalLimit) -> bool:
    """Give up the encoding under way and the previous one; whether there was any."""
    with connection.begin():
        state = read_state(connection)
        if state.building_id is None and state.previous_id is None:
            return False
        after = replace(state, sequence=state.sequence + 1, building_id=None, previous_id=None)
        write_state(connection, after, "discard", {})
    drop_unused(connection, wal)
    return True


def drop_unused(connection: Connection, wal: WalLimit) -> None:
    """Delete what is left of encodings that the state does not name any more, in transactions of bounded size."""
    with connection.begin():
        state = read_state(connection)
        unused = connection.execute(
            select(t.encoding.c.id).where(t.encoding.c.reached != _DROPPED, t.encoding.c.id.not_in(state.encodings))
        )
        numbers = list(unused.scalars())
    for number in numbers:
        _drop(connection, number, wal)


def _drop(connection: Connection, number: int, wal: WalLimit) -> None:
    own = t.passage.c.encoding_id == number
    first = 0
    while True:
        with connection.begin():
            state = read_state(connection)
            last = first + _IDS_AT_ONCE - 1
            gone = connection.execute(delete(t.passage).where(own, t.passage.c.vector_id.between(first, last))).rowcount
            done = last >= state.next_vector_id - 1
            if done:
                files = t.segment_file.c.segment_id.in_(select(t.segment.c.id).where(t.segment.c.encoding_id == number))
                connection.execute(delete(t.segment_file).where(files))
                for table in (t.segment, t.deletion, t.block, t.tuning):
                    connection.execute(delete(table).where(table.c.encoding_id == number))
                _set_reached(connection, number, _DROPPED)
            if gone or done:
                after = replace(state, sequence=state.sequence + 1)
                write_state(connection, after, "drop", {"passages": gone})
        wal.keep(connection)
        if done:
            return
        first = last + 1


def _building(state: State) -> int:
    if state.building_id is None:
        raise StorageError("no reindex is under way")
    return state.building_id


def _reached(connection: Connection, number: int) -> int:
    return int(connection.execute(select(t.encoding.c.reached).where(t.encoding.c.id == number)).scalar_one())


def _set_reached(connection: Connection, number: int, key: int) -> None:
    connection.execute(update(t.encoding).where(t.encoding.c.id == number).values(reached=key))
