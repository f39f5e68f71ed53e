"""Stand-ins that several test folders share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.base import EncodeProgress, Fingerprint

_WORD = re.compile(r"\S+")


class StubEncoder:
    """A deterministic bag-of-words encoder: texts that share words are near, equal texts have equal vectors.

    Every vector is float16-exact, so what storage returns equals what it was given.
    """

    def __init__(self, dimension: int = 16, *, name: str = "stub", seed: str = "", document_budget: int = 64) -> None:
        self.name = name
        self.dimension = dimension
        self.document_budget = document_budget
        self.encoded_texts: list[str] = []
        self._seed = seed
        self.fingerprint = Fingerprint(
            weights=f"stub-{seed}",
            tokenizer="whitespace",
            pooling="mean",
            query_prompt="",
            document_prompt="",
            max_length=document_budget + 2,
            normalize=True,
        )
        self.provenance = {"name": name, "device": "cpu", "dtype": "float32"}

    def token_starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return [np.array([m.start() for m in _WORD.finditer(text)], dtype=np.int64) for text in texts]

    def encode_documents(self, texts: Sequence[str], *, progress: EncodeProgress | None = None) -> NDArray[np.float32]:
        self.encoded_texts.extend(texts)
        if progress is not None:
            progress(len(texts), sum(len(text.split()) for text in texts))
        return self._encode(texts)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encode(texts)

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for number, text in enumerate(texts):
            total = np.sum([self._word(word) for word in text.split() or [""]], axis=0)
            rows[number] = total / np.linalg.norm(total)
        return rows.astype(np.float16).astype(np.float32)

    def _word(self, word: str) -> NDArray[np.float32]:
        digest = hashlib.sha256(f"{self._seed}\0{word}".encode("utf-8", "surrogatepass")).digest()
        generator = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        return generator.standard_normal(self.dimension).astype(np.float32)
