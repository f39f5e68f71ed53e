"""Which passages a query may find: what passes `where`, holds its phrases, and lies in no excluded document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from yusa.errors import UsageError
from yusa.search.query import Query
from yusa.text.analyzer import Analyzer, folded
from yusa.text.phrases import holds

if TYPE_CHECKING:
    from yusa.storage.filters import Filter
    from yusa.storage.view import Allowed, FilterCache, View

_MOST_EXPANDED: Final = 1000
_LEAST_STEM: Final = 4
_LONGEST_ENDING: Final = 3


def allowed_passages(
    view: View, tree: Filter | None, query: Query, analyzer: Analyzer, cache: FilterCache
) -> Allowed | None:
    """The passages a query may find, None for all."""
    if not query.phrases and not query.excluded:
        return None if tree is None else view.allowed(tree)
    key = (repr((tree, query.phrases, query.excluded)), view.sequence)
    answer = cache.get(key)
    if answer is None:
        ids = view.holding([]) if tree is None else view.allowed(tree).vector_ids
        for phrase in query.phrases:
            ids = _that_hold(view, ids, phrase, analyzer)
        for phrase in query.excluded:
            ids = np.setdiff1d(ids, _of_documents_that_hold(view, phrase, analyzer), assume_unique=True)
        answer = view.select(ids)
        cache.put(key, answer)
    return answer


def _that_hold(view: View, ids: NDArray[np.int64], phrase: str, analyzer: Analyzer) -> NDArray[np.int64]:
    likely = np.intersect1d(ids, view.holding(analyzer.required(phrase)), assume_unique=True)
    held = [
        vector_id
        for vector_id, (title, text) in view.texts(likely.tolist()).items()
        if holds(text, phrase) or (title is not None and holds(title, phrase))
    ]
    return np.array(sorted(held), dtype=np.int64)


def _of_documents_that_hold(view: View, phrase: str, analyzer: Analyzer) -> NDArray[np.int64]:
    every = view.holding([])
    found = view.siblings(_that_hold(view, every, phrase, analyzer))
    if len(phrase.split()) == 1:
        return found
    # Several words may begin in one passage and end in the next.
    rest = np.setdiff1d(every, found, assume_unique=True)
    for term in analyzer.required(phrase):
        rest = np.intersect1d(rest, view.siblings(view.holding([term])), assume_unique=True)
    passages = view.passages(rest.tolist())
    documents = view.documents({passage.document for passage in passages.values()})
    held = {key for key, row in documents.items() if holds(row.document.text, phrase)}
    spanned = [vector_id for vector_id, passage in passages.items() if passage.document in held]
    return np.union1d(found, np.array(spanned, dtype=np.int64))


def weighted_terms(view: View, query: Query, analyzer: Analyzer) -> dict[str, float]:
    """The terms that lexical search looks for, with their weights; those that prefixes stand for included.

    Raises:
        UsageError: a prefix stands for too many terms.
    """
    terms = analyzer.query_terms(query.text)
    for prefix in query.prefixes:
        word = "".join(c for c in folded(prefix) if c.isalnum())
        # A stem may end before the prefix does: librarie* stands for libraries, of which the index has librari.
        near = view.terms_from(word[: max(_LEAST_STEM, len(word) - _LONGEST_ENDING)])
        expanded = [term for term in near if term.startswith(word) or word.startswith(term)]
        if len(expanded) > _MOST_EXPANDED:
            raise UsageError(
                f"{prefix}* stands for {len(expanded):,} terms, at most {_MOST_EXPANDED:,} work; write more of the word"
            )
        terms = {**dict.fromkeys(expanded, 1.0), **terms}
    return terms
