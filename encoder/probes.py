"""The fixed texts by which a matching encoder proves itself on a new runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.base import SentenceEncoder

PROBE_TEXTS: tuple[str, ...] = (
    "오늘 아침에는 비가 와서 버스가 조금 늦게 도착했습니다.",
    "The library keeps its oldest maps in a room without windows.",
    "겨울에 가볼 만한 조용한 바닷가는 어디인가요?",
    # Past the maximum length of every encoder: truncation is part of what must be equal.
    "숲길을 따라 걷다 보면 작은 연못이 나오고, the path then turns north along the old stone wall. " * 60,
)
PROBE_IS_QUERY: tuple[bool, ...] = (False, False, True, False)


def probe_vectors(
    encoder: SentenceEncoder, texts: Sequence[str] = PROBE_TEXTS, is_query: Sequence[bool] = PROBE_IS_QUERY
) -> NDArray[np.float32]:
    """float32 (len(texts), dimension): each text encoded as the query or the document it is marked as."""
    vectors = np.empty((len(texts), encoder.dimension), dtype=np.float32)
    marks = np.array(is_query, dtype=bool)
    for rows, encode in ((marks, encoder.encode_queries), (~marks, encoder.encode_documents)):
        if rows.any():
            vectors[rows] = encode([text for text, wanted in zip(texts, rows, strict=True) if wanted])
    return vectors


def check_probes(
    encoder: SentenceEncoder, texts: Sequence[str], is_query: Sequence[bool], vectors: NDArray[np.float32]
) -> float:
    """The smallest cosine between `vectors` and what `encoder` gives for the same texts now; 1.0 for no texts."""
    if not len(texts):
        return 1.0
    now = probe_vectors(encoder, texts, is_query).astype(np.float64)
    then = np.asarray(vectors, dtype=np.float64)
    if now.shape != then.shape:
        return -1.0
    norms = np.linalg.norm(now, axis=1) * np.linalg.norm(then, axis=1)
    return float(np.min((now * then).sum(axis=1) / np.maximum(norms, 1e-12)))
