"""What storage keeps, as plain values. They cross rooms; none of them holds a connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Json = Any


@dataclass(frozen=True, slots=True)
class Document:
    """What a user puts in. `id`, `title` and `text` are NFC; `metadata` is a JSON object."""

    id: str
    text: str
    title: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passage:
    """A span of a document that is encoded as one vector.

    `start` and `end` are code points of the stored NFC text, end exclusive.
    """

    ordinal: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One document ready to be committed.

    Attributes:
        source: canonical name of where the document came from.
        content_hash: 16 bytes over id-independent content (title, text, metadata).
        encoding_hash: 16 bytes over what is encoded (title, text); equal hashes have equal passages and vectors.
        passages: in order of their ordinals.
        vectors: float32 (len(passages), dimension).
    """

    document: Document
    source: str
    content_hash: bytes
    encoding_hash: bytes
    passages: tuple[Passage, ...]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Known:
    """What the index already holds under an id."""

    source: str
    content_hash: bytes
    encoding_hash: bytes


@dataclass(frozen=True, slots=True)
class Encoded:
    """Passages and vectors that exist already for an encoding hash; vectors float32 (len(passages), dimension)."""

    passages: tuple[Passage, ...]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PassageRow:
    """Where a vector belongs: enough to rank and to group, no text."""

    vector_id: int
    document: int
    ordinal: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A stored document with its internal key, its source and the number of its passages."""

    key: int
    document: Document
    source: str
    passages: int


@dataclass(frozen=True, slots=True)
class Unencoded:
    """A document that the encoding under way does not have yet."""

    key: int
    id: str
    encoding_hash: bytes
    title: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Reencoded:
    """A document's passages of the encoding under way; vectors float32 (len(passages), dimension)."""

    document: Unencoded
    passages: tuple[Passage, ...]
    vectors: NDArray[np.float32]
