"""The normalisation map against a plain dictionary, through the library that reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers

from yusa.encoder.charsmap import charsmap

characters = st.characters(min_codepoint=1, exclude_categories=("Cs", "Mn", "Me", "Mc", "Cf", "Cc", "Sk", "Lo"))


@given(
    replacements=st.dictionaries(characters, st.text(characters, max_size=4), min_size=1, max_size=60),
    rest=st.text(characters, max_size=20),
)
def test_every_key_is_replaced_and_nothing_else(replacements: dict[str, str], rest: str) -> None:
    normalizer = normalizers.Precompiled(charsmap(replacements))
    for text in (*replacements, rest):
        for character in text:
            assert normalizer.normalize_str(character) == replacements.get(character, character)


def test_nodes_do_not_lend_each_other_their_children() -> None:
    keys = ["0", "@", "A", "B", "Ã", "Ð", "ࠚ", "၀", "\U00039054"]
    assert normalizers.Precompiled(charsmap(dict.fromkeys(keys, ""))).normalize_str("Ô") == "Ô"


def test_a_map_of_thousands_replaces_its_keys_alone() -> None:
    replacements = {chr(code): "x" for code in range(0x80, 0x3000, 3)}
    normalizer = normalizers.Precompiled(charsmap(replacements))
    wrong = [c for c in map(chr, range(1, 0x3000)) if normalizer.normalize_str(c) != replacements.get(c, c)]
    assert wrong == []


def test_keys_that_begin_alike() -> None:
    normalizer = normalizers.Precompiled(charsmap({"a": "1", "가": "x", "각": "", "😀": "yz"}))
    assert normalizer.normalize_str("ab 가각갂 😀") == "1b x갂 yz"


def test_a_map_that_is_too_large_for_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    from yusa.encoder import charsmap as module

    monkeypatch.setattr(module._Units, "_base", lambda *_: 1 << 21)
    with pytest.raises(ValueError, match="too many entries"):
        charsmap({"a": "b"})
