"""Reranking: the first candidates in the order of a slower, better judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from yusa.errors import EncoderError
from yusa.search.candidates import Candidate

DEFAULT_DEPTH: Final = 50
"""Candidates that a reranker sees."""


class Reranker(Protocol):
    """What judges a query and texts together. `yusa.CrossEncoder` is one; tests bring a stub."""

    @property
    def name(self) -> str: ...

    def scores(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (len(texts),), higher for better."""


def reranked(reranker: Reranker, query: str, texts: Sequence[str], candidates: Sequence[Candidate]) -> list[Candidate]:
    """The first `len(texts)` candidates by the reranker's scores, which become theirs, then the others as they were.

    Args:
        texts: of the first candidates, in their order.

    Raises:
        EncoderError: the reranker gives a score that is not a finite number.
    """
    if not texts:
        return list(candidates)
    scores = reranker.scores(query, texts)
    if scores.shape != (len(texts),) or not np.isfinite(scores).all():
        raise EncoderError(f"the reranker {reranker.name} gave a score that is not a finite number; use another one")
    order = np.argsort(-scores, kind="stable").tolist()
    return [
        replace(candidates[i], score=float(scores[i]), scores={**candidates[i].scores, "rerank": float(scores[i])})
        for i in order
    ] + list(candidates[len(texts) :])
