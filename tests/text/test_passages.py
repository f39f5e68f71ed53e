from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from yusa.text.normal import normalize
from yusa.text.passages import cut
from yusa.text.span import Span


def _starts(text: str) -> NDArray[np.int64]:
    """Words of at most three characters, like the pieces of a subword tokenizer."""
    return np.array([m.start() for m in re.finditer(r"\w{1,3}|[^\w\s]", text)], dtype=np.int64)


def _words(text: str) -> NDArray[np.int64]:
    return np.array([m.start() for m in re.finditer(r"\S+", text)], dtype=np.int64)


def _cut(text: str, *, budget: int, overlap: int = 0) -> list[str]:
    return [text[s.start : s.end] for s in cut(text, _words(text), budget=budget, overlap=overlap)]


def test_a_short_text_is_one_passage_without_outer_space() -> None:
    assert cut("  짧은 글.  ", _words("  짧은 글.  "), budget=2, overlap=1) == [Span(2, 7)]


def test_ends_at_sentence_ends() -> None:
    assert _cut("One two. Three four. Five six.", budget=5) == ["One two. Three four.", "Five six."]


def test_overlap_is_whole_sentences() -> None:
    text = "a b c. D e. F g. H i. J k."
    assert _cut(text, budget=7, overlap=2) == ["a b c. D e. F g.", "F g. H i. J k."]
    assert _cut(text, budget=7, overlap=3) == ["a b c. D e. F g.", "F g. H i. J k."]
    assert _cut(text, budget=7, overlap=1) == ["a b c. D e. F g.", "H i. J k."]


def test_overlap_gives_way_to_the_next_sentence() -> None:
    assert _cut("A b. C d. E f g.", budget=4, overlap=3) == ["A b. C d.", "E f g."]


def test_a_long_sentence_is_cut_between_words_and_overlaps_in_words() -> None:
    assert _cut("a b c d e f g", budget=3) == ["a b c", "d e f", "g"]
    assert _cut("a b c d e", budget=3, overlap=1) == ["a b c", "c d e"]


def test_a_long_word_is_cut_between_tokens() -> None:
    text = "x" * 10
    assert cut(text, np.arange(10), budget=4, overlap=0) == [Span(0, 4), Span(4, 8), Span(8, 10)]


def test_one_character_of_more_tokens_than_the_budget() -> None:
    starts = np.array([0, 0, 0, 0, 1, 1, 1, 1], dtype=np.int64)
    assert cut("😀😀", starts, budget=3, overlap=2) == [Span(0, 1), Span(1, 2)]
    assert cut("😀", starts[:4], budget=3, overlap=2) == [Span(0, 1)]


def test_text_without_tokens_is_one_passage_and_white_space_none() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert cut("\u200b\u200d", none, budget=1, overlap=0) == [Span(0, 2)]
    assert cut(" \n ", none, budget=1, overlap=0) == []


def test_tokens_that_begin_in_white_space_count_for_the_word_behind_it() -> None:
    text = "aa bb cc dd"
    starts = np.array([0, 2, 5, 8], dtype=np.int64)  # as a metaspace tokenizer reports them
    assert cut(text, starts, budget=2, overlap=0) == [Span(0, 5), Span(6, 11)]


_PIECES = st.sampled_from(
    [
        "가",
        "다",
        "한국",
        ". ",
        "다. ",
        "! ",
        "\n",
        "\n\n",
        " ",
        "word ",
        "3.14",
        "Dr. ",
        "x" * 40,
        "😀",
        "👩‍👩‍👧",
        "\u200b",
        "مرحبا ",
        "שלום. ",
    ]
)
_TEXT = st.one_of(
    st.lists(_PIECES, max_size=60).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    st.lists(_PIECES, max_size=40).map(lambda parts: unicodedata.normalize("NFD", "".join(parts))),
)


@pytest.mark.parametrize("tokens", [_starts, _words])
@given(text=_TEXT.map(normalize), budget=st.integers(1, 12), overlap=st.integers(0, 12))
def test_passages_of_any_text(tokens: type, text: str, budget: int, overlap: int) -> None:
    starts = tokens(text)
    spans = cut(text, starts, budget=budget, overlap=overlap)
    assert spans == cut(text, starts, budget=budget, overlap=overlap)
    assert bool(spans) == bool(text.strip())
    covered = np.zeros(len(text), dtype=bool)
    for span in spans:
        assert 0 <= span.start < span.end <= len(text)
        assert text[span.start : span.end] == text[span.start : span.end].strip()
        assert np.count_nonzero((starts >= span.start) & (starts < span.end)) <= budget
        covered[span.start : span.end] = True
    for before, after in pairwise(spans):
        assert before.start < after.start
        assert before.end < after.end
        if overlap == 0:
            assert before.end <= after.start
        else:
            assert np.count_nonzero((starts >= after.start) & (starts < before.end)) <= overlap
    assert all(covered[i] or c.isspace() for i, c in enumerate(text))
