"""Which sentence of a passage to mark."""

from __future__ import annotations

from collections.abc import Set
from math import sqrt

from yusa.text.sentences import sentences
from yusa.text.terms import bigrams


def highlight(terms: Set[str], text: str) -> tuple[tuple[int, int], ...]:
    """The span of the sentence of `text` that shares most with the query, none where nothing is shared.

    Args:
        terms: the query's character bigrams, from `bigrams`.

    The measure is the cosine of the two sets of bigrams, so that a long sentence does not win by its length; of equal
    ones the first is marked.
    """
    best = 0.0
    spans: tuple[tuple[int, int], ...] = ()
    for sentence in sentences(text):
        own = set(bigrams(text[sentence.start : sentence.end]))
        share = len(own & terms) / sqrt(len(own) or 1)
        if share > best:
            best, spans = share, ((sentence.start, sentence.end),)
    return spans
