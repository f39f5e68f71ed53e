"""What to show of a passage: its best sentences, and the words in it that match."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from yusa.text.sentences import sentences
from yusa.text.span import Span
from yusa.text.terms import bigrams

_WORD = re.compile(r"\w+")
_SHORT: Final = 40
_MOST_SENTENCES: Final = 32

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def matches(terms: frozenset[str], text: str, analyze: Callable[[str], Sequence[str]]) -> tuple[tuple[int, int], ...]:
    """Spans of `text` whose terms are among the query's, ascending, not overlapping.

    A word of Latin letters or digits is marked whole. Of a Korean word the run from the first to the last of the pairs
    of
    syllables that match is marked: of 학교에서는 the 학교, where the query has 학교.

    Args:
        terms: the query's, from the index's analyzer.
    """
    spans: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        word = match.group()
        if word.isascii() or len(word) == 1:
            if terms.intersection(analyze(word)):
                spans.append(match.span())
            continue
        folded = [unicodedata.normalize("NFC", character.casefold()) for character in word]
        hits = [i for i in range(len(word) - 1) if folded[i] + folded[i + 1] in terms]
        if hits:
            spans += [(match.start() + first, match.start() + last + 2) for first, last in _runs(hits)]
        elif terms.intersection(term for term in analyze(word) if len(term) > 1):
            spans.append(match.span())
    return tuple(spans)


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of every run of numbers that lie at most one apart, so that what they mark touches."""
    runs = [(numbers[0], numbers[0])]
    for number in numbers[1:]:
        if number <= runs[-1][1] + 2:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def snippet(shares: frozenset[str], text: str) -> tuple[int, int] | None:
    """The span of the sentence of `text` that shares most with the query, with the one after it if both are short.

    None where nothing is shared. The measure is the cosine of the two sets of character bigrams, so that a long
    sentence does not win by its length; of equal ones the first is taken.

    Args:
        shares: the query's character bigrams, from `bigrams`.
    """
    spans = sentences(text)
    values = []
    for span in spans:
        own = set(bigrams(text[span.start : span.end]))
        values.append(len(own & shares) / sqrt(len(own) or 1))
    if not values or max(values) == 0:
        return None
    return _widened(spans, int(np.argmax(values)))


def nearest_snippets(query: NDArray[np.float32], texts: Sequence[str], encode: Encode | None) -> list[tuple[int, int]]:
    """For texts that share no word with the query: the span of the sentence whose vector is nearest to the query's.

    Args:
        query: float32 (dimension,).
        encode: sentences to vectors, called once with at most 32 sentences. Texts beyond, and all without it, show
            their first sentence.
    """
    cut = [sentences(text) for text in texts]
    chosen: list[tuple[int, Span]] = [
        (number, span) for number, spans in enumerate(cut) if len(spans) > 1 for span in spans
    ]
    chosen = chosen[:_MOST_SENTENCES] if encode is not None else []
    best = [0] * len(texts)
    if chosen and encode is not None:
        scores = encode([texts[number][span.start : span.end] for number, span in chosen]) @ query
        for number in {number for number, _ in chosen}:
            own = [score for (other, _), score in zip(chosen, scores.tolist(), strict=True) if other == number]
            best[number] = int(np.argmax(own))
    return [_widened(spans, at) if spans else (0, 0) for spans, at in zip(cut, best, strict=True)]


def _widened(spans: Sequence[Span], at: int) -> tuple[int, int]:
    end = at + 1 if at + 1 < len(spans) and spans[at].end - spans[at].start < _SHORT else at
    return spans[at].start, spans[end].end
