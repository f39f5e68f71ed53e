"""What an index remembers of how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from yusa.storage.records import Json

VectorType = Literal["float16", "float32"]


def _no_probes() -> NDArray[np.float32]:
    return np.zeros((0, 1), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """The encoder, how passages are cut, and the fixed texts that recognise the encoder again.

    Attributes:
        encoder: name or path as given, to load it again.
        encoder_options: pooling, max_length and prompts as resolved, enough to load the same encoder again.
        fingerprint: the encoder's identity, which must match.
        provenance: shown, never compared.
        passage_tokens: token budget of a passage.
        overlap: tokens two neighbouring passages share.
        analyzer: name of what the terms of keyword search are taken by.
        probe_texts: the fixed texts.
        probe_is_query: for each of them whether it is encoded as a query.
        probe_vectors: float32 (len(probe_texts), dimension).
    """

    encoder: str
    encoder_options: Mapping[str, Json]
    fingerprint: Mapping[str, Json]
    provenance: Mapping[str, str]
    dimension: int
    passage_tokens: int
    overlap: int
    vector_dtype: VectorType = "float16"
    analyzer: str = "standard"
    probe_texts: tuple[str, ...] = ()
    probe_is_query: tuple[bool, ...] = ()
    probe_vectors: NDArray[np.float32] = field(default_factory=_no_probes)

    @property
    def vector_bytes(self) -> int:
        """Bytes of one stored vector."""
        return self.dimension * np.dtype(self.vector_dtype).itemsize

    def same_encoding(self, other: Settings) -> bool:
        """Whether both give the same passages and vectors."""
        names = ("fingerprint", "passage_tokens", "overlap", "vector_dtype", "analyzer")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def to_row(self) -> dict[str, Any]:
        """The columns `settings` (JSON) and `probe_vectors` (little-endian float32) of table `encoding`."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "probe_vectors"}
        values |= {name: dict(values[name]) for name in ("encoder_options", "fingerprint", "provenance")}
        return {
            "settings": json.dumps(values, ensure_ascii=False, sort_keys=True),
            "probe_vectors": np.ascontiguousarray(self.probe_vectors, dtype="<f4").tobytes(),
        }

    @classmethod
    def from_row(cls, settings: str, probe_vectors: bytes) -> Settings:
        """The inverse of `to_row`; members that a later version added are ignored."""
        values = {name: value for name, value in json.loads(settings).items() if name in cls.__dataclass_fields__}
        values["probe_texts"] = tuple(values["probe_texts"])
        values["probe_is_query"] = tuple(values["probe_is_query"])
        vectors = np.frombuffer(probe_vectors, dtype="<f4").reshape(-1, values["dimension"])
        return cls(**values, probe_vectors=vectors.astype(np.float32))
