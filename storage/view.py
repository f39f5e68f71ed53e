"""A view: one commit of the index, for as long as one search takes."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from yusa.errors import StorageError, UsageError
from yusa.storage.blocks import TEXTS
from yusa.storage.bm25 import Keywords
from yusa.storage.checksums import (
    DOCUMENT_COLUMNS,
    DOCUMENTS,
    PASSAGE_COLUMNS,
    damaged,
    sound_document,
    sound_passage,
)
from yusa.storage.database import chunks, marks
from yusa.storage.distinct import distinct
from yusa.storage.lexicon import Lexicon
from yusa.storage.lookup import held, source_ids, storable
from yusa.storage.parts import Flags, Ids, Rows
from yusa.storage.ranking import Scores, best, exact_scores, gather, scan
from yusa.storage.records import Document, DocumentRow, Json, Known, PassageRow
from yusa.storage.settings import Settings
from yusa.storage.snapshot import Snapshot
from yusa.storage.state import State, read_tuned

if TYPE_CHECKING:
    from yusa.storage.facets import FacetValue
    from yusa.storage.filters import Filter

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

    def __init__(
        self,
        connection: sqlite3.Connection,
        state: State,
        snapshot: Snapshot,
        settings: Settings,
        filters: FilterCache,
        lexicon: Lexicon,
    ) -> None:
        self._connection = connection
        self._state = state
        self._lexicon = lexicon
        self._keyword_scores: dict[tuple[tuple[str, float], ...], list[Scores]] = {}
        self._snapshot = snapshot
        self._settings = settings
        self._filters = filters

    @property
    def sequence(self) -> int:
        return self._snapshot.sequence

    @property
    def settings(self) -> Settings:
        """What this commit is encoded with; `Store.settings` as long as no reindex switches."""
        return self._settings

    def live(self) -> int:
        """Vectors that a search without a filter ranks."""
        return self._snapshot.live

    def document_count(self) -> int:
        ((count,),) = self._connection.execute("SELECT count(*) FROM document").fetchall()
        return int(count)

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
        self._check(count, allowed)
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

    def lexical(
        self, queries: Sequence[Mapping[str, float]], count: int, allowed: Allowed | None = None
    ) -> tuple[Scores, Ids]:
        """The `count` best passages by BM25 over title and text, of those that hold a term of the query.

        Args:
            queries: weights by term.
            allowed: only these ids; from this view.

        Returns:
            float32 (q, count) scores, best first, and int64 (q, count) vector ids, as `search` gives them.

        Raises:
            UsageError: `count` below 1; `allowed` of another commit.
        """
        self._check(count, allowed)
        ids = None if allowed is None else allowed.vector_ids
        answers = [self._keywords.best(self._scores(query), count, ids) for query in queries]
        return (
            np.array([scores for scores, _ in answers], dtype=np.float32).reshape(len(queries), count),
            np.array([found for _, found in answers], dtype=np.int64).reshape(len(queries), count),
        )

    def lexical_scores(self, query: Mapping[str, float], vector_ids: Sequence[int] | Ids) -> Scores:
        """BM25 of the passages of ascending ids, float32 (n,); 0 where no term stands."""
        return self._keywords.of(self._scores(query), np.asarray(vector_ids, dtype=np.int64))

    def ideal_lexical(self, query: Mapping[str, float]) -> float:
        """BM25 of a passage of mean length that holds each term of the query once, whether there is one or not."""
        return self._keywords.ideal(query)

    def dense_scores(self, query: NDArray[np.float32], vector_ids: Sequence[int] | Ids) -> Scores:
        """Inner products of a query (dimension,) with the vectors of ids, float32 (n,), as `search` scores them.

        Raises:
            StorageError: an id is not in the index.
        """
        return exact_scores(query, self._rows(vector_ids))

    def holding(self, terms: Sequence[str]) -> Ids:
        """Ascending ids of the passages that hold every one of the terms; of all passages if there are none."""
        return self._keywords.holding(terms)

    def terms_from(self, prefix: str) -> list[str]:
        """The index's terms that begin with `prefix`, sorted; of a long one what stands for it in a query."""
        return self._keywords.terms_from(prefix)

    def select(self, vector_ids: Sequence[int] | Ids) -> Allowed:
        """Any ids as what `search` and `lexical` may look at in this commit."""
        return Allowed(self.sequence, distinct(np.asarray(vector_ids, dtype=np.int64)))

    def texts(self, vector_ids: Iterable[int]) -> dict[int, tuple[str | None, str]]:
        """Title and text of passages, by vector id; ids that are not in the index are left out."""
        found: dict[int, tuple[str | None, str]] = {}
        for chunk in chunks([int(i) for i in vector_ids]):
            question = f"{TEXTS} WHERE vector_id IN ({marks(chunk)})"
            for vector_id, title, text in self._connection.execute(question, chunk):
                found[vector_id] = (title, text)
        return found

    def siblings(self, vector_ids: Sequence[int] | Ids) -> Ids:
        """Ascending ids of all passages of the documents that the given passages belong to."""
        if not len(vector_ids):
            return np.zeros(0, dtype=np.int64)
        return self._owned_by(self._owners_of(distinct(np.asarray(vector_ids, dtype=np.int64))))

    def facets(self, field: str, allowed: Allowed | None = None) -> list[tuple[FacetValue, int]]:
        """The values of a field with the number of documents that have them, the most frequent first.

        Args:
            allowed: counts only documents with a passage among these; from this view.
        """
        from yusa.storage.facets import facet_counts

        self._check(1, allowed)
        keys = None if allowed is None else self._owners_of(allowed.vector_ids)
        return facet_counts(self._connection, field, keys)

    def tuned(self) -> Mapping[str, Json]:
        """The choice that tuning stored for this encoding, `{}` if none."""
        return read_tuned(self._connection)

    def allowed(self, tree: Filter) -> Allowed:
        """The vectors of the documents that pass a filter.

        Raises:
            UsageError: the filter cannot be compiled.
        """
        # Not the tree itself: as dictionary keys `1`, `1.0` and `True` are one.
        key = (repr(tree), self.sequence)
        answer = self._filters.get(key)
        if answer is None:
            from yusa.storage.filter_sql import listed_keys

            ((text,),) = self._connection.execute(*listed_keys(tree)).fetchall()
            answer = Allowed(self.sequence, self._owned_by(np.fromstring(text or "", dtype=np.int64, sep=",")))
            self._filters.put(key, answer)
        return answer

    def passages(self, vector_ids: Iterable[int]) -> dict[int, PassageRow]:
        """Where vectors belong, by vector id; ids that are not in the index are left out."""
        wanted = [int(i) for i in vector_ids]
        rows: dict[int, PassageRow] = {}
        for chunk in chunks(wanted):
            found = self._passages(f"{_PASSAGES} WHERE vector_id IN ({marks(chunk)})", chunk)
            rows |= {row.vector_id: row for row in found}
        if len(rows) < len(set(wanted)):
            ids = np.setdiff1d(wanted, list(rows))
            lost = gather(self._snapshot.parts, ids)[0]
            if len(lost):
                raise damaged(self._connection, f"passage {lost[0]}, which is not there,")
        return rows

    def passages_of(self, key: int) -> list[PassageRow]:
        """A document's passages in their order."""
        own = f"{_PASSAGES} WHERE document = ? AND encoding_id = ? ORDER BY ordinal"
        return self._passages(own, (int(key), self._snapshot.encoding_id))

    def documents(self, keys: Iterable[int]) -> dict[int, DocumentRow]:
        """Documents by their internal keys; keys that are not in the index are left out."""
        wanted = [int(key) for key in keys]
        rows: dict[int, DocumentRow] = {}
        for chunk in chunks(wanted):
            rows |= self._documents(f"document.key IN ({marks(chunk)})", chunk)
        missing = [key for key in wanted if key not in rows]
        if missing and any(
            np.isin(part.owners if part.live is None else part.owners[part.live], missing).any()
            for part in self._snapshot.parts
        ):
            raise damaged(self._connection, "a document, which is not there,")
        return rows

    def require_passing(self, tree: Filter, rows: Iterable[DocumentRow]) -> None:
        """Compare what a filter let pass with the documents themselves.

        Raises:
            IndexFormatError: one does not pass: the index over metadata is damaged.
        """
        from yusa.storage.matching import passes

        for row in rows:
            if not passes(tree, row):
                raise damaged(self._connection, f"the filterable values of document {row.document.id!r}")

    def get(self, id: str) -> DocumentRow | None:
        """The document of an id."""
        if not storable(id):
            return None
        return next(iter(self._documents("document.id = ?", (id,)).values()), None)

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
        return self._rows(vector_ids).astype(np.float32).reshape(-1, self._settings.dimension)

    def _rows(self, vector_ids: Sequence[int] | Ids) -> Rows:
        """Vectors as stored, in the order of the ids."""
        wanted = np.asarray(vector_ids, dtype=np.int64).reshape(-1)
        ascending = bool(np.all(wanted[1:] > wanted[:-1]))
        unique, inverse = (wanted, None) if ascending else np.unique(wanted, return_inverse=True)
        ids, rows = gather(self._snapshot.parts, unique)
        if len(ids) != len(unique):
            missing = np.setdiff1d(unique, ids)[0]
            raise StorageError(f"there is no vector {missing} in the index at sequence {self.sequence}; search again")
        return rows if inverse is None else rows[inverse]

    @cached_property
    def _keywords(self) -> Keywords:
        # Once: asked again after a newer commit, the lexicon may cut the same passages into other blocks.
        return self._lexicon.at(self._connection, self._state, self._snapshot)

    def _scores(self, query: Mapping[str, float]) -> list[Scores]:
        key = tuple(query.items())
        if key not in self._keyword_scores:
            self._keyword_scores = {key: self._keywords.scores(query)}
        return self._keyword_scores[key]

    def _owned_by(self, keys: Ids) -> Ids:
        """Ascending ids of the live passages of documents."""
        found = [np.zeros(0, dtype=np.int64)]
        for part in self._snapshot.parts:
            chosen = np.isin(part.owners, keys)
            found.append(part.ids[chosen if part.live is None else chosen & part.live])
        return np.concatenate(found)

    def _owners_of(self, vector_ids: Ids) -> Ids:
        """Ascending keys of the documents that live passages, given by ascending ids, belong to."""
        found = [part.owners[part.among(vector_ids)] for part in self._snapshot.parts]
        return distinct(np.zeros(0, dtype=np.int64), *found)

    def _check(self, count: int, allowed: Allowed | None) -> None:
        if allowed is not None and allowed.sequence != self.sequence:
            raise UsageError("`allowed` belongs to another commit; compute it in this view")
        if count < 1:
            raise UsageError(f"count must be at least 1, not {count}")

    def _passages(self, question: str, values: Sequence[int]) -> list[PassageRow]:
        found = []
        for row in self._connection.execute(question, values):
            if not sound_passage(row):
                raise damaged(self._connection, f"passage {row[0]}")
            vector_id, document, _, ordinal, start, end, *_ = row
            found.append(PassageRow(vector_id, document, ordinal, start, end))
        return found

    def _documents(self, condition: str, values: Sequence[int | str]) -> dict[int, DocumentRow]:
        found = {}
        encoding = self._state.encoding_id
        for *row, passages in self._connection.execute(f"{_DOCUMENTS} WHERE {condition}", (encoding, *values)):
            if not sound_document(row):
                raise damaged(self._connection, f"document {row[1]!r}")
            key, id, source, _, _, _, title, metadata, text, _ = row
            document = Document(id=id, text=text, title=title, metadata=json.loads(metadata))
            found[key] = DocumentRow(key, document, source, passages)
        return found


_PASSAGES = f"SELECT {PASSAGE_COLUMNS} FROM passage"
_DOCUMENTS = f"""
SELECT {DOCUMENT_COLUMNS},
    (SELECT count(*) FROM passage WHERE passage.document = document.key AND passage.encoding_id = ?)
FROM {DOCUMENTS}
"""
