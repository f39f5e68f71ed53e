"""The sets of hard lexical cases are what their READMEs say."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def _rows(name: str) -> list[dict[str, Any]]:
    text = (HERE / name).read_text(encoding="utf-8")
    assert unicodedata.is_normalized("NFC", text)
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(("name", "each"), [("hard_lexical.jsonl", 8), ("hard_lexical_second.jsonl", 9)])
def test_a_set_has_equally_many_cases_of_eight_kinds(name: str, each: int) -> None:
    rows = _rows(name)
    counts = Counter(row["category"] for row in rows)
    assert len(counts) == 8
    assert set(counts.values()) == {each}
    assert all(row["query"].strip() and 30 < len(row["document"]["text"]) < 300 for row in rows)


def test_no_case_stands_twice() -> None:
    rows = _rows("hard_lexical.jsonl") + _rows("hard_lexical_second.jsonl")
    for values in (
        [row["id"] for row in rows],
        [row["query"] for row in rows],
        [row["document"]["id"] for row in rows],
        [row["document"]["text"] for row in rows],
    ):
        assert len(set(values)) == len(rows) == 136
