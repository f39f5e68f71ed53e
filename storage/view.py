"""A view: one commit of the index, for as long as one search takes."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, func, select

from yusa.errors import StorageError, UsageError
from yusa.storage import tables as t
from yusa.storage.database import chunks
from yusa.storage.filter_sql import compile_filter
from yusa.storage.filters import Filter
from yusa.storage.lookup import held, source_ids, storable
from yusa.storage.parts import Flags, Ids
from yusa.storage.ranking import Scores, best, exact_scores, gather, scan
from yusa.storage.records import Document, DocumentRow, Known, PassageRow
from yusa.storage.settings import Settings
from yusa.storage.snapshot import Snapshot

_EXACT = 2000
_CACHED_FILTERS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """What a filter lets pass, as of one commit.

    Attributes:
        vector_ids: int64, ascending.
    """

    sequence: int
    vector_ids: Ids


class FilterCache:
    """The last few filters' answers, shared by the views of a store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[str, int], Allowed] = OrderedDict()

    def get(self, key: tuple[str, int]) -> Allowed | None:
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
            return self._answers.get(key)

    def put(self, key: tuple[str, int], allowed: Allowed) -> None:
        with self._lock:
            self._answers[key] = allowed
            while len(self._answers) > _CACHED_FILTERS:
                self._answers.popitem(last=False)


class View:
    """Reads of one commit. It belongs to the thread that opened it and ends with its `with` block."""

    def __init__(self, connection: Connection, snapshot: Snapshot, settings: Settings, filters: FilterCache) -> None:
        self._connection = connection
        self._snapshot = snapshot
        self._settings = settings
        self._filters = filters

    @property
    def sequence(self) -> int:
        return self._snapshot.sequence

    def live(self) -> int:
        """Vectors that a search without a filter ranks."""
        return self._snapshot.live

    def document_count(self) -> int:
        return int(self._connection.execute(select(func.count()).select_from(t.document)).scalar_one())

    def search(
        self, queries: NDArray[np.float32], count: int, allowed: Allowed | None = None
    ) -> tuple[Scores, NDArray[np.int64]]:
        """The `count` nearest vectors by inner product, exactly.

        Args:
            queries: float32 (q, dimension).
            allowed: only these ids; from `allowed` of this view.

        Returns:
            float32 (q, count) scores, best first, and int64 (q, count) vector ids. Ties stand in the order of ids.
            Where there are no more vectors the score is -inf and the id -1.

        Raises:
            UsageError: queries of another dimension or with values that are not finite; `allowed` of another commit.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if queries.ndim != 2 or queries.shape[1] != self._settings.dimension:
            raise UsageError(f"queries must have the shape (n, {self._settings.dimension}), not {queries.shape}")
        if not np.isfinite(queries).all():
            raise UsageError("a query vector holds a value that is not a finite number")
        if allowed is not None and allowed.sequence != self.sequence:
            raise UsageError("`allowed` belongs to another commit; compute it in this view")
        if count < 1:
            raise UsageError(f"count must be at least 1, not {count}")
        parts = [part for part in self._snapshot.parts if part.live_count]
        if allowed is None:
            return scan(parts, [part.live for part in parts], queries, count)
        if len(allowed.vector_ids) <= _EXACT:
            ids, rows = gather(parts, allowed.vector_ids)
            answers = [best(exact_scores(query, rows), ids, count) for query in queries]
            return (
                np.array([scores for scores, _ in answers], dtype=np.float32).reshape(len(queries), count),
                np.array([found for _, found in answers], dtype=np.int64).reshape(len(queries), count),
            )
        flags: list[Flags | None] = [part.among(allowed.vector_ids) for part in parts]
        return scan(parts, flags, queries, count)

    def allowed(self, tree: Filter) -> Allowed:
        """The vectors of the documents that pass a filter.

        Raises:
            UsageError: the filter cannot be compiled.
        """
        # Not the tree itself: as dictionary keys `1`, `1.0` and `True` are one.
        key = (repr(tree), self.sequence)
        answer = self._filters.get(key)
        if answer is None:
            ids = self._connection.execute(
                select(t.passage.c.vector_id).where(
                    t.passage.c.document.in_(compile_filter(tree)),
                    t.passage.c.encoding_id == self._snapshot.encoding_id,
                )
            ).scalars()
            answer = Allowed(self.sequence, np.sort(np.fromiter(ids, dtype=np.int64)))
            self._filters.put(key, answer)
        return answer

    def passages(self, vector_ids: Iterable[int]) -> dict[int, PassageRow]:
        """Where vectors belong, by vector id; ids that are not in the index are left out."""
        wanted = [int(i) for i in vector_ids]
        rows: dict[int, PassageRow] = {}
        for chunk in chunks(wanted):
            for row in self._connection.execute(_PASSAGES.where(t.passage.c.vector_id.in_(chunk))):
                rows[row[0]] = PassageRow(*row)
        return rows

    def passages_of(self, key: int) -> list[PassageRow]:
        """A document's passages in their order."""
        rows = self._connection.execute(
            _PASSAGES.where(
                t.passage.c.document == int(key), t.passage.c.encoding_id == self._snapshot.encoding_id
            ).order_by(t.passage.c.ordinal)
        )
        return [PassageRow(*row) for row in rows]

    def documents(self, keys: Iterable[int]) -> dict[int, DocumentRow]:
        """Documents by their internal keys; keys that are not in the index are left out."""
        wanted = [int(key) for key in keys]
        rows: dict[int, DocumentRow] = {}
        for chunk in chunks(wanted):
            rows |= self._documents(_DOCUMENTS.where(t.document.c.key.in_(chunk)))
        return rows

    def get(self, id: str) -> DocumentRow | None:
        """The document of an id."""
        if not storable(id):
            return None
        return next(iter(self._documents(_DOCUMENTS.where(t.document.c.id == id)).values()), None)

    def known(self, ids: Iterable[str]) -> dict[str, Known]:
        """What the index holds under ids; ids it does not hold are left out."""
        return {id: other.known for id, other in held(self._connection, ids).items()}

    def ids_of(self, source: str) -> list[str]:
        """The ids of a source's documents."""
        return [id for _, id in source_ids(self._connection, source)]

    def vectors(self, vector_ids: Sequence[int] | Ids) -> NDArray[np.float32]:
        """Stored vectors, float32 (n, dimension), in the order of the ids.

        Raises:
            StorageError: an id is not in the index.
        """
        wanted = np.asarray(vector_ids, dtype=np.int64).reshape(-1)
        unique, inverse = np.unique(wanted, return_inverse=True)
        ids, rows = gather(self._snapshot.parts, unique)
        if len(ids) != len(unique):
            missing = np.setdiff1d(unique, ids)[0]
            raise StorageError(f"there is no vector {missing} in the index at sequence {self.sequence}; search again")
        return rows.astype(np.float32)[inverse].reshape(len(wanted), self._settings.dimension)

    def _documents(self, statement: Select[int, str, str, str | None, str, str, int]) -> dict[int, DocumentRow]:
        return {
            key: DocumentRow(
                key=key,
                document=Document(id=id, text=text, title=title, metadata=json.loads(metadata)),
                source=source,
                passages=passages,
            )
            for key, id, text, title, metadata, source, passages in self._connection.execute(statement)
        }


_PASSAGES = select(t.passage.c.vector_id, t.passage.c.document, t.passage.c.ordinal, t.passage.c.start, t.passage.c.end)
_DOCUMENTS = select(
    t.document.c.key,
    t.document.c.id,
    t.document.c.text,
    t.document.c.title,
    t.document.c.metadata,
    t.source.c.name,
    select(func.count())
    .select_from(t.passage)
    .where(
        t.passage.c.document == t.document.c.key,
        t.passage.c.encoding_id == select(t.state.c.encoding_id).scalar_subquery(),
    )
    .scalar_subquery(),
).join_from(t.document, t.source, t.document.c.source_id == t.source.c.id)
