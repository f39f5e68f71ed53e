from __future__ import annotations

import unicodedata

import pytest

from yusa.text.terms import bigrams


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("학교에서 공부", ["학교", "교에", "에서", "공부"]),
        ("A cat, a CAT!", ["a", "ca", "at", "a", "ca", "at"]),
        (unicodedata.normalize("NFD", "학교"), ["학교"]),
        ("Straße", ["st", "tr", "ra", "as", "ss", "se"]),
        ("  ...  ", []),
        ("", []),
    ],
)
def test_bigrams(text: str, terms: list[str]) -> None:
    assert bigrams(text) == terms
