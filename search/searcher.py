"""The way of a query: parse, encode, constrain, rank, fuse, rerank, then rows and snippets of what is shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.base import SentenceEncoder
from yusa.errors import DocumentNotFoundError, UsageError
from yusa.search.candidates import candidates
from yusa.search.constraints import allowed_passages, weighted_terms
from yusa.search.highlight import remembered_words
from yusa.search.hit import Hit
from yusa.search.page import Shown, bare_hits, hits_of
from yusa.search.query import Query, parse_query
from yusa.search.ranking import DEFAULT_WEIGHT, DenseRanking, HybridRanking, LexicalRanking, Listed, Ranking
from yusa.search.rerank import DEFAULT_DEPTH, Reranker, reranked
from yusa.text.analyzer import Analyzer
from yusa.text.normal import nfc

if TYPE_CHECKING:
    from yusa.storage import Settings
    from yusa.storage.facets import FacetValue
    from yusa.storage.filters import Filter
    from yusa.storage.store import Store
    from yusa.storage.view import Allowed, FilterCache, View

T = TypeVar("T")
Mode = Literal["dense", "lexical", "hybrid"]
MODES: Final[tuple[Mode, ...]] = ("dense", "lexical", "hybrid")
CHOICES: Final = ("mode", "weight", "rerank", "rerank_depth")
"""What tuning may choose for an index."""
MAX_RESULTS: Final = 10_000
"""How deep into the ranking `offset + top_k` may reach."""

_KINDS: Final = (
    ("weight", (int, float), "a number"),
    ("rerank", str, "the name or directory of a cross-encoder"),
    ("rerank_depth", int, "a whole number"),
)
_OWN_FIELDS: Final = frozenset({"id", "title", "source"})


class Searcher:
    """Answers queries from a store; safe to use from many threads.

    Args:
        encoder: called when a query must be encoded, and not before.
        analyzer: of the index's keywords.
        cache: keeps what phrases and exclusions leave.
    """

    def __init__(
        self, store: Store, encoder: Callable[[], SentenceEncoder], analyzer: Analyzer, cache: FilterCache
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._analyzer = analyzer
        self._cache = cache
        self._word_terms = remembered_words(analyzer.terms)

    def search(
        self,
        queries: Sequence[str],
        *,
        top_k: int = 10,
        offset: int = 0,
        mode: str = "hybrid",
        where: str | Filter | None = None,
        passages: bool = False,
        min_score: float | None = None,
        weight: float | None = None,
        reranker: Reranker | None = None,
        rerank_depth: int | None = None,
        collapse: bool = False,
        context: int = 0,
        literal: bool = False,
        snippets: bool = True,
    ) -> list[list[Hit]]:
        """The hits of each query, best first, all from one commit; `min(top_k, what matches)` of them.

        What matches is every document that passes `where`, holds the query's phrases and nothing excluded; in mode
        "lexical" it also holds a term of the query.

        Args:
            top_k: at least 1; `offset + top_k` at most `MAX_RESULTS`.
            mode: "dense", "lexical" or "hybrid".
            where: a condition on metadata (`yusa.search.where`), or its tree.
            passages: every passage is a hit of its own, instead of the best of each document.
            min_score: leaves out hits whose cosine (`scores["dense"]`) is less; not in mode "lexical".
            weight: of the dense score in mode "hybrid", 0 to 1.
            reranker: puts the first `rerank_depth` hits in an order of its own.
            collapse: leaves out hits that say nearly the same as a better one.
            context: how many passages before and after a hit come with it.
            literal: quotes, minus and star in a query have no meaning.
            snippets: without them hits have no `snippet` and no `highlights`, which saves most of the time of a deep
                ranking that nobody reads.

        Raises:
            UsageError: an argument out of range, an empty query or an unknown mode.
            FilterError: `where` cannot be understood.
        """
        _check(top_k, offset, mode, min_score, weight, rerank_depth, context)
        tree = _tree(where)
        parsed = _parsed(queries, literal=literal)
        if not parsed:
            return []
        floor = -math.inf if min_score is None else min_score
        share = DEFAULT_WEIGHT if weight is None else weight
        depth = (DEFAULT_DEPTH if rerank_depth is None else rerank_depth) if reranker else 0
        wanted = offset + top_k

        def encode(_: Settings) -> tuple[SentenceEncoder | None, NDArray[np.float32] | None]:
            if mode == "lexical":
                return None, None
            encoder = self._encoder()
            return encoder, encoder.encode_queries([query.text for query in parsed])

        with self._encoded(encode) as (view, (encoder, vectors)):
            pages = []
            for query, allowed, vector, first in self._constrained(view, tree, parsed, vectors, wanted):
                ranking = self._ranking(view, query, vector, allowed, first, mode=mode, floor=floor, weight=share)
                found = candidates(view, ranking, max(wanted, depth), passages=passages, collapse=collapse)
                pages.append(found if reranker else found[offset:])
            shown = Shown.read(view, pages, tree, context=context)
        # After it, like all work of models.
        if reranker:
            pages = [
                reranked(reranker, query.text, shown.texts(found[:depth]), found)[offset:wanted]
                for query, found in zip(parsed, pages, strict=True)
            ]
        if not snippets:
            return [bare_hits(page, shown, offset=offset) for page in pages]
        rows = [None] * len(parsed) if vectors is None else list(vectors)
        return [
            hits_of(
                page,
                shown,
                query.text,
                row,
                self._analyzer,
                self._word_terms,
                None if encoder is None else encoder.encode_documents,
                offset=offset,
            )
            for page, query, row in zip(pages, parsed, rows, strict=True)
        ]

    def similar(
        self,
        document_id: str,
        *,
        passage: int | None = None,
        top_k: int = 10,
        offset: int = 0,
        where: str | Filter | None = None,
        passages: bool = False,
    ) -> list[Hit]:
        """The documents nearest to a stored one, or to one of its passages, itself left out. Loads no encoder.

        The query is the mean of the document's stored vectors, normalised: one search however long the document is, and
        led by what it is about. The best over all pairs of passages would let one shared footer decide.

        Args:
            passage: the ordinal of the one passage that is meant.

        Raises:
            DocumentNotFoundError: no document has this id, or it has no such passage.
            UsageError: `top_k` or `offset` out of range.
            FilterError: `where` cannot be understood.
        """
        _check(top_k, offset)
        tree = _tree(where)
        with self._store.read() as view:
            row = view.get(nfc(document_id))
            if row is None:
                raise DocumentNotFoundError(f"no document has the id {document_id!r}; ids are exact, case included")
            own = [one for one in view.passages_of(row.key) if passage is None or one.ordinal == passage]
            if passage is not None and not own:
                raise DocumentNotFoundError(
                    f"document {document_id!r} has no passage {passage}; it has {row.passages}, counted from 0"
                )
            if not own:
                return []
            vector = _mean(view.vectors([one.vector_id for one in own]))
            ranking = DenseRanking(view, vector, None if tree is None else view.allowed(tree))
            page = candidates(view, ranking, offset + top_k, passages=passages, without=row.key)[offset:]
            shown = Shown.read(view, [page], tree)
        text = " ".join(row.document.text[one.start : one.end] for one in own)
        return hits_of(
            page,
            shown,
            f"{row.document.title or ''} {text}",
            None,
            self._analyzer,
            self._word_terms,
            None,
            offset=offset,
        )

    def similar_text(
        self,
        encode: Callable[[Settings], tuple[str, NDArray[np.float32]]],
        *,
        top_k: int = 10,
        offset: int = 0,
        where: str | Filter | None = None,
        passages: bool = False,
    ) -> list[Hit]:
        """The documents nearest to a text that is not stored.

        Args:
            encode: gives the text and the vectors (n, dimension) of its passages, as the index would cut and encode it.
        """
        _check(top_k, offset)
        tree = _tree(where)
        with self._encoded(encode) as (view, (text, vectors)):
            ranking = DenseRanking(view, _mean(vectors), None if tree is None else view.allowed(tree))
            page = candidates(view, ranking, offset + top_k, passages=passages)[offset:]
            shown = Shown.read(view, [page], tree)
        return hits_of(page, shown, text, None, self._analyzer, self._word_terms, None, offset=offset)

    def facets(
        self,
        field: str,
        query: str | None = None,
        *,
        mode: str = "hybrid",
        where: str | Filter | None = None,
        literal: bool = False,
    ) -> list[tuple[FacetValue, int]]:
        """The values of a field with the number of matching documents that have them, the most frequent first.

        Args:
            field: of the metadata; `id`, `title` and `source` are the document's own.
            query: its phrases and exclusions count; in mode "lexical" only documents that hold one of its terms do.

        Raises:
            UsageError: an unknown mode, or a query that cannot be read.
            FilterError: `where` cannot be understood.
        """
        _check(1, 0, mode)
        tree = _tree(where)
        parsed = _parsed([query], literal=literal)[0] if query is not None else None
        name = f"yusa.{field}" if field in _OWN_FIELDS else nfc(field)
        with self._store.read() as view:
            if parsed is None:
                return view.facets(name, None if tree is None else view.allowed(tree))
            allowed = allowed_passages(view, tree, parsed, self._analyzer, self._cache)
            if mode == "lexical":
                terms = weighted_terms(view, parsed, self._analyzer)
                _, ids = view.lexical([terms], max(1, view.live()), allowed)
                allowed = view.select(ids[0][ids[0] >= 0])
            return view.facets(name, allowed)

    @contextmanager
    def _encoded(self, encode: Callable[[Settings], T]) -> Iterator[tuple[View, T]]:
        """A view, and what `encode` makes for the encoding it holds."""
        while True:
            # Before the read transaction, which must be short.
            settings = self._store.settings
            encoded = encode(settings)
            with self._store.read() as view:
                # If not, a reindex has switched between the two.
                if view.settings is settings:
                    yield view, encoded
                    return

    def _constrained(
        self,
        view: View,
        tree: Filter | None,
        queries: Sequence[Query],
        vectors: NDArray[np.float32] | None,
        wanted: int,
    ) -> Iterator[tuple[Query, Allowed | None, NDArray[np.float32] | None, Listed | None]]:
        """Each query with what it may find and, where several share that, the beginning of its dense list."""
        allowed = [allowed_passages(view, tree, query, self._analyzer, self._cache) for query in queries]
        count = min(2 * wanted, view.live() if allowed[0] is None else len(allowed[0].vector_ids))
        lists: list[Listed | None] = [None] * len(queries)
        if vectors is not None and count and len(queries) > 1 and all(one is allowed[0] for one in allowed):
            scores, ids = view.search(vectors, count, allowed[0])
            lists = list(zip(scores, ids, strict=True))
        rows = [None] * len(queries) if vectors is None else list(vectors)
        yield from zip(queries, allowed, rows, lists, strict=True)

    def _ranking(
        self,
        view: View,
        query: Query,
        vector: NDArray[np.float32] | None,
        allowed: Allowed | None,
        first: Listed | None,
        *,
        mode: str,
        floor: float,
        weight: float,
    ) -> Ranking:
        if vector is None:
            return LexicalRanking(view, weighted_terms(view, query, self._analyzer), allowed)
        dense = DenseRanking(view, vector, allowed, floor=floor, first=first)
        if mode == "dense":
            return dense
        return HybridRanking(dense, LexicalRanking(view, weighted_terms(view, query, self._analyzer), allowed), weight)


def _tree(where: str | Filter | None) -> Filter | None:
    if not isinstance(where, str):
        return where
    from yusa.search.where import parse

    return parse(where)


def check_choice(choice: Mapping[str, Any]) -> None:
    """Refuse, with UsageError, what cannot be stored as the answer of tuning."""
    unknown = [name for name in choice if name not in CHOICES]
    if unknown:
        raise UsageError(f"tuning cannot choose {unknown[0]!r}; it chooses {', '.join(CHOICES)}")
    for name, kind, what in _KINDS:
        if choice.get(name) is not None and not isinstance(choice[name], kind):
            raise UsageError(f"{name} must be {what}, not {choice[name]!r}")
    _check(1, 0, choice.get("mode", "hybrid"), weight=choice.get("weight"), rerank_depth=choice.get("rerank_depth"))


def _check(
    top_k: int,
    offset: int,
    mode: str = "dense",
    min_score: float | None = None,
    weight: float | None = None,
    rerank_depth: int | None = None,
    context: int = 0,
) -> None:
    if top_k < 1:
        raise UsageError(f"top_k must be at least 1, not {top_k}")
    if offset < 0:
        raise UsageError(f"offset must be at least 0, not {offset}")
    if offset + top_k > MAX_RESULTS:
        raise UsageError(f"offset + top_k is {offset + top_k:,}, at most {MAX_RESULTS:,} work; narrow it with `where`")
    if mode not in MODES:
        raise UsageError(f"there is no mode {mode!r}; use {', '.join(map(repr, MODES))}")
    if min_score is not None and not math.isfinite(min_score):
        raise UsageError(f"min_score must be a finite number, not {min_score}")
    if min_score is not None and mode == "lexical":
        raise UsageError("min_score tests the cosine, which mode 'lexical' does not compute; use another mode")
    if weight is not None and not 0 <= weight <= 1:
        raise UsageError(f"weight must be from 0 to 1, not {weight}")
    if rerank_depth is not None and not 1 <= rerank_depth <= MAX_RESULTS:
        raise UsageError(f"rerank_depth must be from 1 to {MAX_RESULTS:,}, not {rerank_depth}")
    if context < 0:
        raise UsageError(f"context must be at least 0, not {context}")


def _parsed(queries: Sequence[str], *, literal: bool) -> list[Query]:
    if isinstance(queries, str):
        raise UsageError("queries must be a list of strings; put the one query into a list")
    parsed = []
    for number, query in enumerate(queries, 1):
        try:
            parsed.append(parse_query(query, literal=literal))
        except UsageError as error:
            which = f"query {number} of {len(queries)}" if len(queries) > 1 else "the query"
            raise UsageError(f"{which} {error}") from None
    return parsed


def _mean(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = vectors.mean(axis=0)
    norm = np.linalg.norm(mean)
    # Vectors that cancel out have no mean direction; the first passage then stands for the document.
    return mean / norm if norm > 1e-6 else vectors[0]
