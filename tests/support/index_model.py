"""An index as a dictionary of documents: what it should answer in every mode, with filters and facets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pytest
from bm25_oracle import bm25
from filtering import matches
from stubs import StubEncoder

import yusa
from yusa.indexer.intake import Candidate
from yusa.indexer.prepare import prepare
from yusa.indexer.rows import make_document
from yusa.search.hit import Hit
from yusa.search.where import parse
from yusa.storage import Document, Entry
from yusa.text.analyzer import load_analyzer

DIMENSION: Final = 16
TOKENS: Final = 6
WHERES: Final = [
    None,
    "year >= 2021",
    "tags != 'x'",
    "not tags in ('x', 'y')",
    "year is null or source = '웹'",
    "tags like '%Y%' and not (ok = true and year between 2020 and 2021)",
    "id in ('d1', 'd2', 'd3', '../up', 'id'' OR ''1''=''1')",
]
QUERIES: Final = ["sea tree", "가을 바다의 tree", "unheard"]
WEIGHT: Final = 0.6


@dataclass(frozen=True)
class Held:
    """A document with the source it came from, its passages, their vectors, and the texts that these are of."""

    document: Document
    source: str
    entry: Entry
    texts: tuple[str, ...]


def held(row: Mapping[str, Any], source: str) -> Held:
    """What the index should make of a row."""
    data = {key: value for key, value in row.items() if key not in ("id", "text", "title")}
    document = make_document(row["id"], row["text"], row.get("title"), data)
    encoder = StubEncoder(DIMENSION)
    candidate = Candidate(document, source, b"", b"", len(document.text), replaces=False)
    [made] = prepare([candidate], {}, encoder, passage_tokens=TOKENS, overlap=2)
    entry = Entry(document, source, b"", b"", made.work.passages, encoder.encode_documents(made.work.texts))
    return Held(document, source, entry, made.work.texts)


def encoded(one: Held) -> tuple[str | None, str]:
    """Documents that are alike in this are encoded once."""
    return one.document.title, one.document.text


def check(index: yusa.Index, model: Mapping[str, Held], turn: int) -> None:
    """Every mode with one of the filters, all documents at once, and the facets."""
    assert index.stats().documents == len(model)
    where, query = WHERES[turn % len(WHERES)], QUERIES[turn % len(QUERIES)]
    tree = None if where is None else parse(where)
    passing = {id: one for id, one in model.items() if tree is None or matches(tree, one.document, one.source)}
    vector = StubEncoder(DIMENSION).encode_queries([query])[0].astype(np.float64)
    cosines = {id: (one.entry.vectors.astype(np.float64) @ vector).max() for id, one in passing.items()}

    dense = index.search(query, mode="dense", where=where, top_k=100)
    check_hits(dense, passing)
    assert {hit.id: pytest.approx(hit.score, abs=1e-5) for hit in dense} == cosines

    numbered, owned = numbers(model)
    terms = load_analyzer("standard").query_terms(query)
    scores = (
        bm25({id: one.entry for id, one in model.items()}, owned, terms, load_analyzer("standard")) if model else {}
    )
    best: dict[str, float] = {}
    for vector_id, score in scores.items():
        id = numbered[vector_id]
        if id in passing:
            best[id] = max(best.get(id, 0.0), score)
    lexical = index.search(query, mode="lexical", where=where, top_k=100)
    check_hits(lexical, passing)
    assert {hit.id: pytest.approx(hit.score, rel=1e-4) for hit in lexical} == best

    hybrid = index.search(query, mode="hybrid", weight=WEIGHT, where=where, top_k=100)
    check_hits(hybrid, passing)
    assert {hit.id for hit in hybrid} == passing.keys()
    for hit in hybrid:
        passage = model[hit.id].entry.vectors[hit.passage.ordinal].astype(np.float64)
        assert hit.scores["dense"] == pytest.approx(passage @ vector, abs=1e-5)
        expected = scores.get(owned[hit.id][hit.passage.ordinal], 0.0)
        assert hit.scores["lexical"] == pytest.approx(expected, rel=1e-4)
    pages = [index.search(query, weight=WEIGHT, mode="hybrid", where=where, top_k=2, offset=n) for n in (0, 2)]
    assert [hit.id for page in pages for hit in page] == [hit.id for hit in hybrid[:4]]

    for field in ("year", "tags", "ok", "source"):
        assert {(type(value) is bool, value): count for value, count in index.facets(field, where=where)} == counts(
            passing, field
        )
        found = {(type(value) is bool, value): count for value, count in index.facets(field, query, mode="lexical")}
        matching = {numbered[vector_id] for vector_id in scores}
        assert found == counts({id: one for id, one in model.items() if id in matching}, field)


def check_hits(hits: list[Hit], passing: Mapping[str, Held]) -> None:
    """One hit a document, best first, each with the text, the source and the metadata that belong to its id."""
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert [-hit.score for hit in hits] == sorted(-hit.score for hit in hits)
    assert len({hit.id for hit in hits}) == len(hits)
    for hit in hits:
        one = passing[hit.id]
        passage = one.entry.passages[hit.passage.ordinal]
        assert (hit.passage.start, hit.passage.end) == (passage.start, passage.end)
        assert hit.text == one.document.text[passage.start : passage.end]
        assert (hit.title, hit.metadata, hit.source) == (one.document.title, one.document.metadata, one.source)
        for start, end in (hit.snippet, *hit.highlights):
            assert 0 <= start <= end <= len(hit.text)


def numbers(model: Mapping[str, Held]) -> tuple[list[str], dict[str, list[int]]]:
    """A number for each passage: whose it is, and which numbers a document has."""
    numbered: list[str] = []
    owned: dict[str, list[int]] = {}
    for id, one in model.items():
        owned[id] = [len(numbered) + ordinal for ordinal in range(len(one.entry.passages))]
        numbered += [id] * len(one.entry.passages)
    return numbered, owned


def counts(model: Mapping[str, Held], field: str) -> Counter[tuple[bool, Any]]:
    counted: Counter[tuple[bool, Any]] = Counter()
    for one in model.values():
        value = one.source if field == "source" else one.document.metadata.get(field, [])
        counted.update({(type(v) is bool, v) for v in (value if isinstance(value, list) else [value])})
    return counted
