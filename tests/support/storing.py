"""What the tests of storage share: settings, entries whose vectors follow from their text, a dictionary as oracle."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from terms import words

from yusa.storage import Document, Entry, Passage, Settings, Store, View
from yusa.storage.blocks import keyword_text
from yusa.storage.settings import VectorType

DIMENSION = 8


def make_settings(*, dimension: int = DIMENSION, vector_dtype: VectorType = "float16") -> Settings:
    return Settings(
        encoder="stub",
        encoder_options={"pooling": "mean", "prompts": {"query": "질문: "}},
        fingerprint={"weights": "stub"},
        provenance={"device": "cpu"},
        dimension=dimension,
        passage_tokens=64,
        overlap=8,
        vector_dtype=vector_dtype,
        probe_texts=("안녕하세요", "hello"),
        probe_is_query=(True, False),
        probe_vectors=np.eye(2, dimension, dtype=np.float32),
    )


def vector_of(text: str, dimension: int = DIMENSION) -> NDArray[np.float32]:
    """A unit vector that is exact in float16 and follows from the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    row = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    return (row / np.linalg.norm(row)).astype(np.float16).astype(np.float32)


def make_entry(
    id: str,
    text: str = "",
    *,
    source: str = "a",
    passages: int = 1,
    metadata: Mapping[str, Any] | None = None,
    title: str | None = None,
    dimension: int = DIMENSION,
) -> Entry:
    """An entry whose passages cut its text evenly and whose vectors are those of the passages' texts."""
    text = text or f"text of {id}"
    bounds = [len(text) * i // passages for i in range(passages + 1)] if passages else []
    spans = tuple(Passage(i, start, end) for i, (start, end) in enumerate(pairwise(bounds)))
    vectors = [vector_of(text[span.start : span.end], dimension) for span in spans]
    return Entry(
        document=Document(id=id, text=text, title=title, metadata=dict(metadata or {})),
        source=source,
        content_hash=hashlib.sha256(repr((text, title, metadata)).encode()).digest()[:16],
        encoding_hash=hashlib.sha256(repr((text, title)).encode()).digest()[:16],
        passages=spans,
        vectors=np.array(vectors, dtype=np.float32).reshape(len(spans), dimension),
    )


def make_entries(numbers: Iterable[int], **options: Any) -> list[Entry]:
    return [make_entry(f"d{number}", metadata={"number": number}, **options) for number in numbers]


def create_store(path: Path, settings: Settings) -> Store:
    """A new index whose terms are words."""
    return Store.create(path, settings, words)


def open_store(path: Path) -> Store:
    """An index opened with words as its terms."""
    return Store.open(path, words)


def filled(path: Path, numbers: Iterable[int], *, batch: int = 100, **options: Any) -> Store:
    """A new index of documents `d0`, `d1`, …"""
    store = create_store(path, make_settings())
    entries = make_entries(numbers, **options)
    with store.write() as writer:
        for start in range(0, len(entries), batch):
            writer.put(entries[start : start + batch])
    return store


def brute_force(
    vectors: NDArray[np.float32], ids: Sequence[int], query: NDArray[np.float32], count: int
) -> tuple[list[float], list[int]]:
    """The definition: inner products in double precision, best first, ties by the smaller id."""
    scores = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1).astype(np.float32)
    order = sorted(range(len(ids)), key=lambda i: (-scores[i], ids[i]))[:count]
    return [float(scores[i]) for i in order], [ids[i] for i in order]


def check_against(store: Store, model: Mapping[str, Entry], *, seed: int = 0) -> None:
    """What the store holds and finds is what the model holds."""
    with store.read() as view:
        check_view(view, model, vector_ids(store.path), seed=seed)


def vector_ids(path: Path) -> dict[str, list[int]]:
    """The vector ids of each document, straight from the database."""
    unwritable = "" if os.access(path, os.W_OK) else "&immutable=1"
    connection = sqlite3.connect(f"{(path / 'index.db').absolute().as_uri()}?mode=ro{unwritable}", uri=True)
    owners: dict[str, list[int]] = {}
    for id, vector_id in connection.execute(
        "SELECT document.id, passage.vector_id FROM document LEFT JOIN passage ON passage.document = document.key "
        "ORDER BY document.key, passage.ordinal"
    ):
        owners.setdefault(id, []).extend([] if vector_id is None else [vector_id])
    connection.close()
    return owners


def _check_keywords(view: View, model: Mapping[str, Entry], owned: Mapping[str, list[int]]) -> None:
    """Every passage is held by exactly the terms of its text."""
    expected: dict[str, set[int]] = {}
    for id, entry in model.items():
        for vector_id, passage in zip(owned[id], entry.passages, strict=True):
            text = keyword_text(entry.document.title, entry.document.text[passage.start : passage.end])
            for term in words("").terms(text):
                expected.setdefault(term, set()).add(vector_id)
    assert set(view.terms_from("")) >= expected.keys()
    for term in sorted(expected)[:: max(1, len(expected) // 40)]:
        assert set(view.holding([term]).tolist()) == expected[term], term


def check_view(view: View, model: Mapping[str, Entry], owned: Mapping[str, list[int]], *, seed: int = 0) -> None:
    """Counts, every vector, a few whole documents, and searches against brute force."""
    assert {id: len(entry.passages) for id, entry in model.items()} == {id: len(ids) for id, ids in owned.items()}
    assert view.document_count() == len(model)
    assert view.live() == sum(len(ids) for ids in owned.values())
    random = np.random.default_rng(seed)
    for id in random.permutation(sorted(model))[:5].tolist():
        stored, entry = view.get(id), model[id]
        assert stored is not None
        assert (stored.document, stored.source, stored.passages) == (entry.document, entry.source, len(entry.passages))
        spans = [(p.vector_id, p.ordinal, p.start, p.end) for p in view.passages_of(stored.key)]
        assert spans == [(v, p.ordinal, p.start, p.end) for v, p in zip(owned[id], entry.passages, strict=True)]
    ids = [vector_id for id in model for vector_id in owned[id]]
    if not ids:
        return
    vectors = np.concatenate([entry.vectors for entry in model.values()])
    np.testing.assert_array_equal(view.vectors(ids), vectors)
    queries = random.standard_normal((3, vectors.shape[1])).astype(np.float32)
    scores, found = view.search(queries, 7)
    for row, query in enumerate(queries):
        expected_scores, expected_ids = brute_force(vectors, ids, query, 7)
        assert found[row].tolist() == expected_ids + [-1] * (7 - len(expected_ids))
        np.testing.assert_allclose(scores[row][: len(expected_ids)], expected_scores, atol=1e-6)
        assert np.isneginf(scores[row][len(expected_ids) :]).all()
    _check_keywords(view, model, owned)
    hits = view.passages(found[0][found[0] >= 0])
    documents = view.documents(hit.document for hit in hits.values())
    for vector_id, hit in hits.items():
        assert vector_id in owned[documents[hit.document].document.id]
