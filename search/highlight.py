"""What to show of a passage: its best sentences, and the words in it that match."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from yusa.text.analyzer import LATIN, folded
from yusa.text.sentences import sentences
from yusa.text.span import Span
from yusa.text.terms import bigrams

# Runs of Latin letters and digits, and of all other letters: the analyzer's units.
_RUN = re.compile(rf"(?P<latin>[{LATIN}]+)|[^\W_{LATIN}]+", re.IGNORECASE)
# Pairs of syllables that only endings and particles have; they say nothing and are not marked by themselves.
_ENDED = """
에서 으로 에게 까지 부터 보다 처럼 이나 라고 이라 라는 하고 하는 하며 하여 해서 한다
된다 되는 이다 니다 습니 입니 인가 는가 은가 을까 나요 까요 어요 아요 해요 세요 었다
았다 였다 했다 있는 있다 없는 것은 것이 것을 무엇 어떤 어떻 떻게 언제 누가 누구 어디
"""
_ENDINGS: Final = frozenset(_ENDED.split())
_SHORT: Final = 40
_WORDS: Final = 1 << 14
_LONGEST_WORD: Final = 40
_MOST_SENTENCES: Final = 12

Analyze = Callable[[str], Sequence[str]]
Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def remembered_words(analyze: Analyze) -> Analyze:
    """`analyze`, which does not take the same words of hits apart again and again; safe to use from many threads."""
    remembered = lru_cache(_WORDS)(analyze)
    return lambda word: remembered(word) if len(word) <= _LONGEST_WORD else analyze(word)


def matches(terms: frozenset[str], text: str, analyze: Analyze) -> tuple[tuple[int, int], ...]:
    """Spans of `text` whose terms are among the query's, ascending, not touching.

    A word of Latin letters or digits is marked whole, with the syllables beside it where they make a term (제12조). Of
    Korean words the run from the first to the last pair of syllables that match is marked: of 학교에서는 the 학교,
    where the query has 학교.

    Args:
        terms: the query's, from the index's analyzer.
    """
    spans: list[tuple[int, int]] = []
    for match in _RUN.finditer(text):
        found = _latin(terms, text, match, analyze) if match["latin"] else _others(terms, match, analyze)
        for start, end in found:
            if spans and start <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            else:
                spans.append((start, end))
    return tuple(spans)


def _latin(terms: frozenset[str], text: str, match: re.Match[str], analyze: Analyze) -> list[tuple[int, int]]:
    word, (start, end) = match[0], match.span()
    if terms.isdisjoint(analyze(word)):
        return []
    before = folded(text[start - 1 : start] + word) in terms
    after = folded(word + text[end : end + 1]) in terms
    return [(start - (before and start > 0), end + (after and end < len(text)))]


def _others(terms: frozenset[str], match: re.Match[str], analyze: Analyze) -> list[tuple[int, int]]:
    word, start = match[0], match.start()
    if len(word) == 1:
        return [] if terms.isdisjoint(analyze(word)) else [match.span()]
    characters = [folded(character) for character in word]
    pairs = [one + other for one, other in pairwise(characters)]
    found = [i for i, pair in enumerate(pairs) if pair in terms]
    if found:
        runs = [run for run in _runs(found) if not _ENDINGS.issuperset(pairs[run[0] : run[1] + 1])]
        return [(start + first, start + last + 2) for first, last in runs]
    own = {term for term in analyze(word) if len(term) > 1}
    return [] if terms.isdisjoint(own) else [match.span()]


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

    None where nothing is shared and there is more than one to choose from. The measure is the cosine of the two sets of
    character bigrams, so that a long sentence does not win by its length; of equal ones the first is taken.

    Args:
        shares: the query's character bigrams, from `bigrams`.
    """
    spans = sentences(text)
    if len(spans) == 1:
        return spans[0].start, spans[0].end
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
        encode: sentences to vectors, called once with at most 12 sentences. Texts beyond, and all without it, show
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
