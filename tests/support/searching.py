"""What the tests of search share: documents that are their lines, a store with the standard analyzer, and searchers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from storing import make_settings
from stubs import StubEncoder

from yusa.encoder.base import SentenceEncoder
from yusa.search.hit import Hit
from yusa.search.searcher import Searcher
from yusa.storage import Document, Entry, Passage, Store
from yusa.text.analyzer import load_analyzer

DIMENSION = 16


def new_store(path: Path) -> Store:
    """A new index whose terms are the standard analyzer's."""
    return Store.create(path, make_settings(dimension=DIMENSION), load_analyzer)


def make_searcher(store: Store, encoder: SentenceEncoder | None = None) -> Searcher:
    """A searcher of a store, with a stub where no encoder is given."""
    chosen = StubEncoder(DIMENSION) if encoder is None else encoder
    return Searcher(store, lambda: chosen, load_analyzer("standard"), store.constraints)


def without_encoder(store: Store) -> Searcher:
    """A searcher that fails where it needs an encoder."""

    def no_encoder() -> SentenceEncoder:
        raise AssertionError("the encoder was loaded")

    return Searcher(store, no_encoder, load_analyzer("standard"), store.constraints)


def make_entry(
    id: str, lines: Sequence[str], vectors: NDArray[np.float32], metadata: Mapping[str, Any], title: str | None = None
) -> Entry:
    """A document whose passages are its lines."""
    text = "\n".join(lines)
    starts = np.cumsum([0] + [len(line) + 1 for line in lines]).tolist()
    return Entry(
        document=Document(id, text, title, metadata),
        source="test",
        content_hash=hashlib.sha256(repr((text, title, metadata)).encode()).digest()[:16],
        encoding_hash=hashlib.sha256(repr((text, title)).encode()).digest()[:16],
        passages=tuple(
            Passage(n, start, start + len(line)) for n, (start, line) in enumerate(zip(starts, lines, strict=False))
        ),
        vectors=vectors,
    )


def put(store: Store, documents: Mapping[str, Sequence[str]], *, title: str | None = None, **metadata: Any) -> None:
    """Stores documents, each with its lines as passages, the stub's vectors, and its id in its metadata."""
    encoder = StubEncoder(DIMENSION)
    with store.write() as writer:
        writer.put(
            [
                make_entry(id, lines, encoder.encode_documents(lines), {"id": id, **metadata}, title)
                for id, lines in documents.items()
            ]
        )


def shown(hits: Sequence[Hit]) -> list[tuple[str, int]]:
    """Id and ordinal of what was found."""
    return [(hit.id, hit.passage.ordinal) for hit in hits]


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.id for hit in hits]
