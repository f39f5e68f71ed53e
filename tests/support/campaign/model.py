"""What an index must hold, kept by who does the killing: documents, the encoding in use, and the copies beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray
from stubs import StubEncoder

from yusa.storage import Document
from yusa.text.passages import cut

DIMENSION = 16
BUDGET = 64
ENCODERS = ("one", "two", "three")


class CachedEncoder(StubEncoder):
    """The stub, which remembers the vector of each word."""

    def __init__(self, name: str) -> None:
        super().__init__(DIMENSION, name=name, seed=name, document_budget=BUDGET)
        self._words: dict[str, NDArray[np.float32]] = {}

    def _word(self, word: str) -> NDArray[np.float32]:
        if word not in self._words:
            self._words[word] = super()._word(word)
        return self._words[word]


@dataclass(frozen=True, slots=True)
class Kept:
    """A document and the source it belongs to."""

    document: Document
    source: str


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoder, how passages are cut for it, and what was tuned for it."""

    name: str
    passage_tokens: int
    overlap: int
    tuned: Mapping[str, object] = field(default_factory=dict)

    def same_vectors(self, other: Encoding) -> bool:
        """Whether two encodings differ by their tuning at most."""
        return (self.name, self.passage_tokens, self.overlap) == (other.name, other.passage_tokens, other.overlap)


@dataclass(frozen=True, slots=True)
class Contents:
    """One index.

    Attributes:
        previous: what `rollback` goes back to, None where that is not known.
        pending: what a reindex that was killed was making.
        unsure: a kill met the dropping of other encodings; they may be there or not.
    """

    documents: Mapping[str, Kept]
    encoding: Encoding
    previous: Encoding | None = None
    pending: Encoding | None = None
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """The index and its copies, by the names of their folders."""

    index: Contents
    copies: Mapping[str, Contents] = field(default_factory=dict)


FIRST = Encoding("one", 8, 2)


@cache
def encoder(name: str) -> CachedEncoder:
    """The encoder of a name."""
    return CachedEncoder(name)


@cache
def encoder_name(weights: str) -> str:
    """The name of the encoder whose fingerprint has these weights."""
    return next(name for name in ENCODERS if encoder(name).fingerprint.weights == weights)


def expected_passages(kept: Kept, encoding: Encoding) -> tuple[list[tuple[int, int]], NDArray[np.float32]]:
    """Where the passages of a document lie, and their vectors."""
    document = kept.document
    return _passages(document.title, document.text, encoding.name, encoding.passage_tokens, encoding.overlap)


@cache
def _passages(
    title: str | None, text: str, name: str, tokens: int, overlap: int
) -> tuple[list[tuple[int, int]], NDArray[np.float32]]:
    stub = encoder(name)
    room = BUDGET - len((title or "").split())
    budget = min(tokens, room)
    spans = cut(text, stub.token_starts([text])[0], budget=budget, overlap=min(overlap, budget - 1))
    pieces = [text[span.start : span.end] for span in spans]
    return [(span.start, span.end) for span in spans], stub.encode_documents(
        [f"{title} {piece}" if title else piece for piece in pieces]
    )
