"""Phrases are found as people write them."""

from __future__ import annotations

import unicodedata

import pytest

from yusa.text.phrases import holds


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("초등학교에서 만났다", "학교"),
        ("The  Quick\nbrown fox", "quick brown"),
        ("RFC-2119는 오래되었다", "rfc-2119"),
        ("C++ and C#", "c++"),
        (unicodedata.normalize("NFD", "한국어"), "한국"),
        ("한국어", unicodedata.normalize("NFD", "한국")),
        ("Straße", "STRASSE"),
        ("anything", "  "),
        ("a+b (c)", "(c)"),
    ],
)
def test_held(text: str, phrase: str) -> None:
    assert holds(text, phrase)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("concat", "cat"),
        ("2012년", "12"),
        ("thequick brown", "quick brown"),
        ("학 교", "학교"),
        ("RFC-21190", "RFC-2119"),
    ],
)
def test_not_held(text: str, phrase: str) -> None:
    assert not holds(text, phrase)
