"""Which sentence is marked."""

from __future__ import annotations

import pytest

from yusa.search.highlight import highlight
from yusa.text.terms import bigrams

PASSAGE = "고양이는 낮에 잔다. 개는 학교에서 논다. The capital of France is Paris. It rains."


@pytest.mark.parametrize(
    ("query", "marked"),
    [
        ("학교에 가는 개", "개는 학교에서 논다."),
        ("고양이", "고양이는 낮에 잔다."),
        ("CAPITAL france", "The capital of France is Paris."),
        ("비행기 xyz", None),
        ("!?", None),
    ],
)
def test_the_sentence_that_shares_most_is_marked(query: str, marked: str | None) -> None:
    spans = highlight(frozenset(bigrams(query)), PASSAGE)
    assert [PASSAGE[start:end] for start, end in spans] == ([marked] if marked else [])


def test_a_long_sentence_does_not_win_by_its_length() -> None:
    long = "The cat " + " ".join(f"word{n}" for n in range(100)) + " sat."
    text = f"{long} The cat sat."
    ((start, end),) = highlight(frozenset(bigrams("the cat sat")), text)
    assert text[start:end] == "The cat sat."


def test_of_equal_sentences_the_first_is_marked_and_empty_text_has_none() -> None:
    assert highlight(frozenset(bigrams("비가 온다")), "비가 온다. 비가 온다.") == ((0, 6),)
    assert highlight(frozenset(bigrams("비가 온다")), "") == ()
