"""The texts that encoders are timed on: seeded, different, of the lengths asked."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.text_sets import Source, cut, english, generated, korean, spread


def starts(texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Tokens of two letters at most, none across a space."""
    return [
        np.array([n for n, letter in enumerate(text) if letter != " " and _inside(text, n) % 2 == 0], dtype=np.int64)
        for text in texts
    ]


def _inside(text: str, position: int) -> int:
    return position - (text.rfind(" ", 0, position) + 1)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_made_up_words_are_the_same_for_the_same_seed(language: str) -> None:
    texts = generated(language, 50, seed=3)
    assert len(texts) == 50
    assert texts == generated(language, 50, seed=3)
    assert texts != generated(language, 50, seed=4)
    assert all(4 <= len(text.split()) <= 40 for text in texts)
    letters = set("".join(texts)) - {" "}
    assert all(("가" <= letter <= "힣") is (language == "ko") for letter in letters)


def test_lengths_are_spread_evenly_and_shuffled() -> None:
    lengths = spread(8, 300, 293, seed=1)
    assert sorted(lengths) == list(range(8, 301))
    assert lengths != sorted(lengths)
    assert lengths == spread(8, 300, 293, seed=1)
    assert spread(128, 128, 3, seed=1) == [128, 128, 128]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_cut_texts_have_the_lengths_asked_and_are_different(language: str) -> None:
    lengths = spread(8, 300, 60, seed=1)
    texts = cut(generated(language, 500, seed=1), lengths, starts, 2)
    assert [len(own) + 2 for own in starts(texts)] == lengths
    assert len(set(texts)) == 60
    assert texts == cut(generated(language, 500, seed=1), lengths, starts, 2)


def test_a_source_too_small_gives_fewer_texts_and_none_twice() -> None:
    texts = cut(["ab cd ef gh ij kl mn op qr st uv wx yz ab cd ef"], [4, 4, 5], starts, 2)
    assert texts == ["ab cd", "ab cd ef"]


def test_without_the_sets_words_are_made_up(tmp_path: Path) -> None:
    assert english(tmp_path, seed=1).origin == korean(tmp_path, seed=1).origin == "generated words"


def test_the_sets_are_read_once_each_line_and_shuffled_by_the_seed(tmp_path: Path) -> None:
    (tmp_path / "en-short").mkdir()
    (tmp_path / "en-short" / "texts.txt").write_text(
        "\n".join(["one", "two", "two", "", *map(str, range(50))]), "utf-8"
    )
    for name in ("ko-klue-mrc-lead", "ko-tydiqa-goldp"):
        (tmp_path / name).mkdir()
        with gzip.open(tmp_path / name / "corpus.jsonl.gz", "wt", encoding="utf-8") as file:
            file.write(json.dumps({"_id": "d", "title": "", "text": name}) + "\n")
    (tmp_path / "ko-nsmc").mkdir()
    with gzip.open(tmp_path / "ko-nsmc" / "train.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("label\ttext\treview_id\n1\t좋은 영화\t7\n")
    first: Source = english(tmp_path, seed=1)
    assert sorted(first.texts) == sorted(["one", "two", *map(str, range(50))])
    assert first.origin == "en-short"
    assert first == english(tmp_path, seed=1)
    assert first.texts != english(tmp_path, seed=2).texts
    assert set(korean(tmp_path, seed=1).texts) == {"ko-klue-mrc-lead", "ko-tydiqa-goldp", "좋은 영화"}
