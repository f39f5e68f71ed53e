"""The way of a query: filter, encode, candidates, then rows and highlights for the page that is shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final
from unicodedata import normalize as unicode_normalize

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.base import SentenceEncoder
from yusa.errors import DocumentNotFoundError, InputError, UsageError
from yusa.search.candidates import Candidate, nearest
from yusa.search.highlight import highlight
from yusa.search.hit import Hit, PassageRef
from yusa.search.where import parse
from yusa.storage.filters import Filter
from yusa.storage.records import DocumentRow
from yusa.text.normal import normalize
from yusa.text.terms import bigrams

if TYPE_CHECKING:
    from yusa.storage.store import Store
    from yusa.storage.view import Allowed, View

MODES: Final = ("dense",)
MAX_RESULTS: Final = 10_000
"""How deep into the ranking `offset + top_k` may reach."""


class Searcher:
    """Answers queries from a store; safe to use from many threads.

    Args:
        encoder: called when a query must be encoded, and not before.
    """

    def __init__(self, store: Store, encoder: Callable[[], SentenceEncoder]) -> None:
        self._store = store
        self._encoder = encoder

    def search(
        self,
        queries: Sequence[str],
        *,
        top_k: int = 10,
        offset: int = 0,
        mode: str = "dense",
        where: str | Filter | None = None,
        passages: bool = False,
        min_score: float | None = None,
    ) -> list[list[Hit]]:
        """The hits of each query, best first, all from one commit; `min(top_k, what matches)` of them.

        Args:
            top_k: at least 1; `offset + top_k` at most `MAX_RESULTS`.
            where: a condition on metadata (`yusa.search.where`), or its tree.
            passages: every passage is a hit of its own, instead of the best of each document.
            min_score: leaves out hits whose cosine (`scores["dense"]`) is less.

        Raises:
            UsageError: an argument out of range, an empty query or an unknown mode.
            FilterError: `where` cannot be understood.
        """
        _check_page(top_k, offset)
        if mode not in MODES:
            raise UsageError(f"there is no mode {mode!r} in this version; use {', '.join(map(repr, MODES))}")
        if min_score is not None and not math.isfinite(min_score):
            raise UsageError(f"min_score must be a finite number, not {min_score}")
        tree = _filter(where)
        texts = _queries(queries)
        if not texts:
            return []
        # Before the read transaction, which must be short.
        vectors = self._encoder().encode_queries(texts)
        with self._store.read() as view:
            found = nearest(
                view,
                vectors,
                offset + top_k,
                allowed=_allowed(view, tree),
                passages=passages,
                min_score=min_score,
            )
            pages = [candidates[offset:] for candidates in found]
            documents = _documents(view, pages)
        return [
            _hits(page, documents, frozenset(bigrams(text)), offset) for page, text in zip(pages, texts, strict=True)
        ]

    def similar(
        self,
        document_id: str,
        *,
        top_k: int = 10,
        offset: int = 0,
        where: str | Filter | None = None,
        passages: bool = False,
    ) -> list[Hit]:
        """The documents nearest to a stored one, itself left out. Loads no encoder.

        The query is the mean of the document's stored vectors, normalised: one search however long the document is, and
        led by what it is about. The best over all pairs of passages would let one shared footer decide.

        Raises:
            DocumentNotFoundError: no document has this id.
            UsageError: `top_k` or `offset` out of range.
            FilterError: `where` cannot be understood.
        """
        _check_page(top_k, offset)
        tree = _filter(where)
        with self._store.read() as view:
            row = view.get(unicode_normalize("NFC", document_id))
            if row is None:
                raise DocumentNotFoundError(f"no document has the id {document_id!r}; ids are exact, case included")
            own = [passage.vector_id for passage in view.passages_of(row.key)]
            if not own:
                return []
            found = nearest(
                view,
                _mean(view.vectors(own)),
                offset + top_k,
                allowed=_allowed(view, tree),
                passages=passages,
                without=row.key,
            )
            page = found[0][offset:]
            documents = _documents(view, [page])
        terms = frozenset(bigrams(f"{row.document.title or ''} {row.document.text}"))
        return _hits(page, documents, terms, offset)


def _check_page(top_k: int, offset: int) -> None:
    if top_k < 1:
        raise UsageError(f"top_k must be at least 1, not {top_k}")
    if offset < 0:
        raise UsageError(f"offset must be at least 0, not {offset}")
    if offset + top_k > MAX_RESULTS:
        raise UsageError(f"offset + top_k is {offset + top_k:,}, at most {MAX_RESULTS:,} work; narrow it with `where`")


def _filter(where: str | Filter | None) -> Filter | None:
    return parse(where) if isinstance(where, str) else where


def _queries(queries: Sequence[str]) -> list[str]:
    if isinstance(queries, str):
        raise UsageError("queries must be a list of strings; put the one query into a list")
    texts = []
    for number, query in enumerate(queries, 1):
        which = f"query {number} of {len(queries)}" if len(queries) > 1 else "the query"
        try:
            text = normalize(query)
        except InputError as error:
            raise UsageError(f"{which} cannot be read: {error}") from None
        if not text.strip():
            raise UsageError(f"{which} is empty; write what to look for")
        texts.append(text)
    return texts


def _allowed(view: View, tree: Filter | None) -> Allowed | None:
    return None if tree is None else view.allowed(tree)


def _mean(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    mean = vectors.mean(axis=0, keepdims=True)
    norm = np.linalg.norm(mean)
    # Vectors that cancel out have no mean direction; the first passage then stands for the document.
    return mean / norm if norm > 1e-6 else vectors[:1]


def _documents(view: View, pages: Iterable[Iterable[Candidate]]) -> dict[int, DocumentRow]:
    return view.documents({candidate.passage.document for page in pages for candidate in page})


def _hits(
    page: Sequence[Candidate], documents: Mapping[int, DocumentRow], terms: AbstractSet[str], offset: int
) -> list[Hit]:
    return [
        _hit(rank, candidate, documents[candidate.passage.document], terms)
        for rank, candidate in enumerate(page, offset + 1)
    ]


def _hit(rank: int, candidate: Candidate, row: DocumentRow, terms: AbstractSet[str]) -> Hit:
    passage = candidate.passage
    text = row.document.text[passage.start : passage.end]
    return Hit(
        rank=rank,
        id=row.document.id,
        score=candidate.score,
        title=row.document.title,
        text=text,
        highlights=highlight(terms, text),
        metadata=row.document.metadata,
        passage=PassageRef(passage.ordinal, passage.start, passage.end),
        scores={"dense": candidate.score},
        source=row.source,
    )
