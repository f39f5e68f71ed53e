"""BM25 in the obvious way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from terms import Words

from yusa.storage import Entry
from yusa.storage.blocks import keyword_text
from yusa.storage.postings import TermSource


def bm25(
    model: Mapping[str, Entry],
    owned: Mapping[str, list[int]],
    query: Mapping[str, float],
    source: TermSource | None = None,
) -> dict[int, float]:
    """The score of every passage that holds a term of the query, by vector id."""
    analyzer = source or Words()
    terms = {
        vector_id: Counter(analyzer.terms(keyword_text(entry.document.title, entry.document.text[p.start : p.end])))
        for id, entry in model.items()
        for vector_id, p in zip(owned[id], entry.passages, strict=True)
    }
    mean = sum(counts.total() for counts in terms.values()) / len(terms)
    scores = {}
    holders = {term: sum(term in other for other in terms.values()) for term in query}
    for vector_id, counts in terms.items():
        score = 0.0
        for term, weight in query.items():
            held = holders[term]
            idf = math.log(1 + (len(terms) - held + 0.5) / (held + 0.5))
            norm = 1.2 * (1 - 0.75 + 0.75 * counts.total() / mean)
            score += weight * idf * counts[term] * 2.2 / (counts[term] + norm)
        if score > 0:
            scores[vector_id] = score
    return scores
