from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yusa.errors import InputError
from yusa.text.normal import normalize

_ANY = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("page\x0cnext\x0bline\x85end", "page\nnext\nline\nend"),
        ("nul\x00 bell\x07 escape\x1b delete\x7f c1\x9b", "nul bell escape delete c1"),
        ("\ttab stays", "\ttab stays"),
        ("\ufeff\ufeffbom", "bom"),
        (unicodedata.normalize("NFD", "한국어 학교 é"), "한국어 학교 é"),
        ("e\x00\u0301", "é"),
        ("", ""),
    ],
)
def test_normal_form(text: str, expected: str) -> None:
    assert normalize(text) == expected


def test_half_a_surrogate_pair_is_refused_with_its_place() -> None:
    with pytest.raises(InputError, match=r"U\+D83D at character 3"):
        normalize("한국어\ud83d")


@given(_ANY)
def test_once_is_enough(text: str) -> None:
    once = normalize(text)
    assert normalize(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert not any(unicodedata.category(c) == "Cc" and c not in "\t\n" for c in once)
