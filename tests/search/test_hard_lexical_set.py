"""The set of hard lexical cases is what its README says."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from pathlib import Path

SET = Path(__file__).parent / "hard_lexical.jsonl"


def test_the_set_is_whole() -> None:
    text = SET.read_text(encoding="utf-8")
    assert unicodedata.is_normalized("NFC", text)
    rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) == len({row["id"] for row in rows}) == len({row["document"]["id"] for row in rows}) == 64
    assert set(Counter(row["category"] for row in rows).values()) == {8}
    assert all(row["query"].strip() and 30 < len(row["document"]["text"]) < 300 for row in rows)
