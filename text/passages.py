"""Cutting a text into passages that an encoder can take whole."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from yusa.text.sentences import sentences
from yusa.text.span import Span, stripped

_WORD = re.compile(r"\S+")
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_SHARE_OF_A_PARAGRAPH: Final = 4


def cut(text: str, starts: NDArray[np.int64], *, budget: int, overlap: int) -> list[Span]:
    """Passages of at most `budget` tokens that end at sentence ends where possible and repeat up to `overlap` tokens.

    A blank line ends a passage that has a quarter of the budget already, and nothing is repeated across it: a vector of
    two paragraphs about two things is near to neither.

    Spans have no outer white space, rise strictly in start and end, and together cover every character that is not
    white space. A passage repeats whole sentences from the end of the one before it, never all of it. A sentence longer
    than `budget` is cut between words, a word longer than `budget` between tokens. Only a single character of more than
    `budget` tokens goes beyond the budget.

    Args:
        text: in normal form.
        starts: int64 (tokens,), where each token of `text` begins, in code points, ascending.
        budget: tokens a passage may have, at least 1.
        overlap: tokens a passage may repeat, 0 for none.
    """
    whole = stripped(text, 0, len(text))
    if whole is None or len(starts) <= budget:
        return [] if whole is None else [whole]
    pieces = _pieces(text, starts, budget)
    # A token that begins in the white space between two pieces counts for the second.
    reach = np.searchsorted(starts, [piece.end for piece in pieces]).tolist()
    opens = [
        i > 0 and _BLANK_LINE.search(text, pieces[i - 1].end, piece.start) is not None for i, piece in enumerate(pieces)
    ]
    return [Span(pieces[first].start, pieces[last].end) for first, last in _pack([0, *reach], opens, budget, overlap)]


def _pack(reach: list[int], opens: list[bool], budget: int, overlap: int) -> list[tuple[int, int]]:
    """First and last piece of every passage.

    Args:
        reach: piece i has the tokens from reach[i] to reach[i + 1].
        opens: whether piece i begins a paragraph.
    """
    count = len(reach) - 1
    least = budget // _SHARE_OF_A_PARAGRAPH
    packed: list[tuple[int, int]] = []
    first = last = 0
    while True:
        while last + 1 < count and reach[last + 2] - reach[first] <= budget:
            if opens[last + 1] and reach[last + 1] - reach[first] >= least:
                break
            last += 1
        packed.append((first, last))
        if last + 1 == count:
            return packed
        following = last + 1
        previous, first = first, following
        room = min(overlap, budget - (reach[following + 1] - reach[following]))
        while first - 1 > previous and not opens[first] and reach[following] - reach[first - 1] <= room:
            first -= 1
        last = following


def _pieces(text: str, starts: NDArray[np.int64], budget: int) -> list[Span]:
    """Sentences; for one that is too long its words; for such a word its stretches of `budget` tokens."""
    pieces: list[Span] = []
    spans = sentences(text)
    reach = [0, *np.searchsorted(starts, [span.end for span in spans]).tolist()]
    for i, sentence in enumerate(spans):
        if reach[i + 1] - reach[i] <= budget:
            pieces.append(sentence)
            continue
        low = reach[i]
        for word in _WORD.finditer(text, sentence.start, sentence.end):
            pieces.extend(_word_pieces(starts, low, *word.span(), budget))
            low = int(np.searchsorted(starts, word.end()))
    return pieces


def _word_pieces(starts: NDArray[np.int64], low: int, start: int, end: int, budget: int) -> list[Span]:
    """A word whose first token is number `low`, in stretches of at most `budget` tokens."""
    high = int(np.searchsorted(starts, end))
    cuts = [start]
    while high - low > budget:
        at = int(starts[low + budget])
        if at <= cuts[-1]:  # one character of more tokens than the budget: go on behind it
            at = cuts[-1] + 1
            if at >= end:
                break
        cuts.append(at)
        low = int(np.searchsorted(starts, at))
    return [Span(a, b) for a, b in pairwise([*cuts, end])]
