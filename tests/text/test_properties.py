"""Any text at all: one normal form, offsets that index it exactly, passages that leave nothing out, and linear time."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stubs import StubEncoder

from yusa.errors import InputError
from yusa.indexer import Rejected, Row, documents_source
from yusa.indexer.intake import Candidate
from yusa.indexer.prepare import prepare
from yusa.text.analyzer import load_analyzer
from yusa.text.normal import nfc, normalize
from yusa.text.sentences import sentences

ODD = [
    "\0",
    "\ufeff",
    "\u200b\u200d\ufeff",
    "\u202eمرحبا שלום\u202c",
    unicodedata.normalize("NFD", "한국어를 배운다. "),
    "\u1112\u1161\u11ab",
    "\u0f73\u0f75\u0f81\u0345\u0344\u0301\u0323",
    "👩\u200d👩\u200d👧",
    "\r\n\r\x0b\x85\u2028\u2029",
    "다. ",
    "\n\n",
    "\u3000 \t",
]
UNICODE = st.characters(exclude_categories=["Cs"])
TEXTS = st.lists(st.sampled_from(ODD) | st.text(UNICODE, max_size=20), max_size=20).map("".join)
MARKS = "\u0301\u0323\u0345\u0f73\u0344\u0f81\u302a\u3099"


@given(TEXTS)
@example("\0\ufefftext")
def test_normal_form_is_reached_in_one_step_and_never_left(text: str) -> None:
    once = normalize(text)
    assert normalize(once) == once
    assert unicodedata.normalize("NFC", once) == once
    assert normalize(unicodedata.normalize("NFD", once)) == once
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", once)


@given(st.text(st.sampled_from("aé각\u1100" + MARKS), max_size=12), st.integers(1, 60), st.text(UNICODE, max_size=40))
@example("\u0301\u0323", 200, "")
@example("e\u0301\u0323\u0f73", 200, "\u0327")
def test_long_runs_of_marks_have_the_same_normal_form(base: str, times: int, after: str) -> None:
    for text in (base * times + after, after + base * times, (base + "a") * times):
        assert nfc(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("marks", ["\u0301\u0323", "\u0f73\u0323", "\u0344\u0f71"])
def test_hundreds_of_thousands_of_combining_marks_take_linear_time(marks: str) -> None:
    # Sorted by insertion, as unicodedata does it, they would take minutes.
    text = "가" + marks * 200_000
    once = normalize(text)
    assert unicodedata.normalize("NFC", once) == once
    ordered = sorted(unicodedata.normalize("NFD", marks) * 200_000, key=unicodedata.combining)
    assert once == unicodedata.normalize("NFC", "가" + "".join(ordered))


def test_a_text_of_marks_is_analyzed_and_cut_in_linear_time() -> None:
    text = normalize("가" + "\u0301\u0323" * 100_000 + "다. " + "\u200b" * 100_000)
    assert load_analyzer("standard").terms(text)
    assert sentences(text)
    assert _passages(text, title=None, passage_tokens=8, overlap=2)


@given(st.text(UNICODE, max_size=10), st.integers(0xD800, 0xDFFF), st.text(UNICODE, max_size=10))
def test_half_a_surrogate_pair_is_refused_by_its_name(before: str, code: int, after: str) -> None:
    text = before + chr(code) + after
    with pytest.raises(InputError, match=f"U\\+{code:04X} at character {len(before)}\\b"):
        normalize(text)
    [item] = documents_source([{"id": "a", "text": text}], "s")
    assert isinstance(item, Rejected)
    assert item.id == "a"
    assert f"U+{code:04X}" in item.reason


def _passages(
    text: str, *, title: str | None, passage_tokens: int, overlap: int
) -> tuple[str, list[tuple[int, int]], tuple[str, ...], StubEncoder] | None:
    """The stored text, the offsets of its passages and what is encoded; None where there is no text."""
    [item] = documents_source([{"id": "a", "text": text, "title": title}], "s")
    if isinstance(item, Rejected):
        assert not normalize(text).strip()
        assert item.reason.startswith("no text")
        return None
    assert isinstance(item, Row)
    encoder = StubEncoder(document_budget=16)
    candidate = Candidate(item.document, "s", b"", b"", len(text), replaces=False)
    [prepared] = prepare([candidate], {}, encoder, passage_tokens=passage_tokens, overlap=overlap)
    assert [p.ordinal for p in prepared.work.passages] == list(range(len(prepared.work.passages)))
    return item.document.text, [(p.start, p.end) for p in prepared.work.passages], prepared.work.texts, encoder


@given(TEXTS, st.none() | TEXTS, st.integers(1, 12), st.integers(0, 12))
def test_passages_of_what_is_stored(text: str, title: str | None, passage_tokens: int, overlap: int) -> None:
    made = _passages(text, title=title, passage_tokens=passage_tokens, overlap=overlap)
    if made is None:
        return
    stored, spans, texts, encoder = made
    assert stored == normalize(text)
    head = normalize(title or "").strip()
    covered = np.zeros(len(stored), dtype=np.bool_)
    for (start, end), encoded in zip(spans, texts, strict=True):
        piece = stored[start:end]
        assert piece
        assert piece == piece.strip()
        assert encoded.endswith(piece)
        assert head.startswith(encoded.removesuffix(piece).rstrip())
        covered[start:end] = True
        assert len(encoder.token_starts([piece])[0]) <= passage_tokens
        assert len(encoder.token_starts([encoded])[0]) <= encoder.document_budget
    for before, after in pairwise(spans):
        assert before[0] < after[0]
        assert before[1] < after[1]
    assert all(covered[i] or c.isspace() for i, c in enumerate(stored))
