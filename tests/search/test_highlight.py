"""Which words are marked and which sentence is shown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from yusa.search.highlight import matches, nearest_snippets, snippet
from yusa.search.page import marked_terms
from yusa.text.analyzer import load_analyzer
from yusa.text.terms import bigrams

PASSAGE = "고양이는 낮에 잔다. 개는 학교에서 논다. The capital of France is Paris. It rains."
ANALYZER = load_analyzer("standard")


def marked(query: str, text: str) -> list[str]:
    spans = matches(frozenset(marked_terms(query, ANALYZER)), text, ANALYZER.terms)
    assert list(spans) == sorted(spans)
    assert all(start < end for start, end in spans)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    return [text[start:end] for start, end in spans]


@pytest.mark.parametrize(
    ("query", "text", "words"),
    [
        ("학교", PASSAGE, ["학교"]),
        ("학교에서", PASSAGE, ["학교에서"]),
        ("학교", "초등학교와 학교가", ["학교", "학교"]),
        ("초등학교", "초등 학교와 학교", ["초등", "학교", "학교"]),
        ("대한민국 헌법", "대한민국헌법에서", ["대한민국헌법"]),
        ("CAPITAL france", PASSAGE, ["capital", "France"]),
        ("raining", PASSAGE, ["rains"]),
        ("cap", PASSAGE, []),
        ("비행기 xyz", PASSAGE, []),
        ("!?", PASSAGE, []),
        ("개", "개는 개 안의 개미", ["개"]),
        ("무엇은 어떻게", "그것은 어떻게 무엇을", []),
        ("제12조", "제12조에서 2012년 12월", ["제12조", "12"]),
        ("2012년", "서기 2012년 12월 20일", ["2012년"]),
        ("RFC 2119", "RFC2119 RFC-2119 rfc", ["RFC2119", "RFC", "2119", "rfc"]),
        ("ca", "café ca", ["ca"]),
        ("café", "Café CAFE", ["Café"]),
        ("대한민국", "大韓民國 만세", ["大韓民國"]),
        ("東京", "東京都에서", ["東京"]),
        ("", PASSAGE, []),
        ("학교", "", []),
    ],
)
def test_words_that_match_are_marked(query: str, text: str, words: list[str]) -> None:
    assert marked(query, text) == words


@given(
    st.text(st.sampled_from("학교에서는ab12 -.é大學İß"), max_size=20),
    st.text(st.sampled_from("학교ab12 -é大İß"), max_size=8),
)
def test_marks_are_within_the_text_and_in_order(text: str, query: str) -> None:
    for word in marked(query, text):
        assert word.strip() == word != ""
        # What is marked shares a term with the query.
        assert set(ANALYZER.terms(word)) & set(ANALYZER.query_terms(query))


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("학교에 가는 개", "개는 학교에서 논다. The capital of France is Paris."),
        ("고양이", "고양이는 낮에 잔다. 개는 학교에서 논다."),
        ("CAPITAL france", "The capital of France is Paris. It rains."),
        ("rains", "It rains."),
        ("비행기 xyz", None),
        ("!?", None),
    ],
)
def test_the_sentence_that_shares_most_is_shown_and_the_next_beside_a_short_one(query: str, shown: str | None) -> None:
    span = snippet(frozenset(bigrams(query)), PASSAGE)
    assert (None if span is None else PASSAGE[slice(*span)]) == shown


def test_a_long_sentence_does_not_win_by_its_length_and_stands_alone() -> None:
    long = "The cat " + " ".join(f"word{n}" for n in range(100)) + " sat."
    text = f"{long} The cat sat. {long}"
    span = snippet(frozenset(bigrams("the cat sat")), text)
    assert span is not None
    assert text[slice(*span)].startswith("The cat sat.")
    span = snippet(frozenset(bigrams("word7 word8")), text)
    assert span is not None
    assert text[slice(*span)] == long


def test_of_equal_sentences_the_first_is_shown_and_empty_text_has_none() -> None:
    span = snippet(frozenset(bigrams("비가 온다")), "비가 온다. 비가 온다.")
    assert span is not None
    assert span[0] == 0
    assert snippet(frozenset(bigrams("비가 온다")), "") is None


class Encoder:
    """Vectors that say which of a few words a sentence holds; keeps what it was asked."""

    words = ("red", "green", "blue")

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.batches.append(list(texts))
        return np.array([[word in text for word in self.words] for text in texts], dtype=np.float32)


GREEN = np.array([0, 1, 0], dtype=np.float32)
LONG = "and so on and so on and so on and so on."


def test_without_a_shared_word_the_sentence_nearest_to_the_query_is_shown() -> None:
    encode = Encoder()
    texts = [f"One red {LONG} Two green {LONG} Three blue {LONG}", "Only one sentence.", "", f"No {LONG} Yes green."]
    found = nearest_snippets(GREEN, texts, encode)
    assert [text[slice(*span)] for text, span in zip(texts, found, strict=True)] == [
        f"Two green {LONG}", "Only one sentence.", "", "Yes green.",
    ]  # fmt: skip
    # One batch, and nothing is encoded where there is no choice.
    assert [len(batch) for batch in encode.batches] == [5]


def test_at_most_12_sentences_are_encoded_and_the_other_texts_show_their_first() -> None:
    encode = Encoder()
    text = f"One red {LONG} Two green {LONG} Three blue {LONG}"
    found = nearest_snippets(GREEN, [text] * 20, encode)
    assert [len(batch) for batch in encode.batches] == [12]
    shown = [text[slice(*span)] for span in found]
    assert shown == [f"Two green {LONG}"] * 4 + [f"One red {LONG}"] * 16


def test_without_an_encoder_the_first_sentence_is_shown() -> None:
    text = f"One red {LONG} Two green {LONG}"
    ((start, end),) = nearest_snippets(GREEN, [text], None)
    assert text[start:end] == f"One red {LONG}"
    assert nearest_snippets(GREEN, [], Encoder()) == []


def test_the_joint_of_a_word_and_its_particle_is_not_marked_in_other_words() -> None:
    assert marked("초콜릿을 먹은 개", "태블릿을 든 개가 초콜릿을 먹었다") == ["초콜릿"]
