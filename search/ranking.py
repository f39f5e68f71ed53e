"""Rankings of passages: dense, lexical, and both fused.

A ranking gives the exact first n of its order for any n. The fused order is that of

    weight * dense + (1 - weight) * lexical

where the dense score is first set to 0 at the 100th and to 1 at the best of its own list, and the lexical score to 0 at
the 100th of its list and to 1 at the best, or at half of what a passage with every term of the query would score, if
that is more: where the best match holds little of the query, words say little. Below 0 both go on fifty times as
slowly, so that a passage in another language, which shares no word with the query, is not lost for that. The numbers
are fixed by query and filter, so that the order does not depend on how far it is read. Which passages can come first
without scoring all of them is decided as in Fagin's threshold algorithm (Fagin, Lotem and Naor, "Optimal aggregation
algorithms for middleware", 2003): no passage that neither list has shown scores more than the last of both would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from yusa.storage.distinct import distinct

if TYPE_CHECKING:
    from yusa.storage.view import Allowed, View

DEFAULT_WEIGHT: Final = 0.6
"""Of the dense score; chosen on the tuning halves of four sets (ARCHITECTURE.md)."""

_ANCHOR: Final = 100
_ENOUGH: Final = 0.5
_SLOPE: Final = 0.02
# To read 400 costs little more than 100, and where the two lists have little in common it saves a second scan.
_DEPTH: Final = 400
# To score what only one list has shown costs more. Beyond the anchor hardly a page needs it: what neither list has
# shown by then scores less than nothing.
_FUSED: Final = 128
_AHEAD: Final = 64
Listed = tuple[NDArray[np.float32], NDArray[np.int64]]


class Ranked(NamedTuple):
    """A passage in a ranking.

    Attributes:
        scores: by part, "dense" or "lexical".
        ranks: the passage's place in a part's own list, from 1, where it was looked at.
    """

    vector_id: int
    score: float
    scores: Mapping[str, float]
    ranks: Mapping[str, int]


class Ranking(Protocol):
    """An order of passages."""

    def top(self, count: int) -> tuple[list[Ranked], bool]:
        """The first `count`, and whether no more exist."""


class DenseRanking:
    """By inner product with the query's vector.

    Args:
        vector: float32 (dimension,).
        floor: passages that score less are left out.
        first: the beginning of the list, where it is known already.
    """

    def __init__(
        self,
        view: View,
        vector: NDArray[np.float32],
        allowed: Allowed | None,
        *,
        floor: float = -math.inf,
        first: Listed | None = None,
    ) -> None:
        self.total = view.live() if allowed is None else len(allowed.vector_ids)
        self.floor = floor
        self._view = view
        self._vector = vector
        self._allowed = allowed
        self._listed = first

    def listed(self, count: int) -> Listed:
        """Scores and ids of the first `count`, without regard to the floor."""
        count = min(count, self.total)
        if self._listed is None or len(self._listed[0]) < count:
            if count == 0:
                return np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int64)
            # A few more than a page, since those who ask go on where documents have several passages.
            scores, ids = self._view.search(self._vector[None], min(max(count, _AHEAD), self.total), self._allowed)
            found = ids[0] >= 0
            self._listed = scores[0][found], ids[0][found]
        scores, ids = self._listed
        return scores[:count], ids[:count]

    def of(self, vector_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._view.dense_scores(self._vector, vector_ids)

    def top(self, count: int) -> tuple[list[Ranked], bool]:
        scores, ids = self.listed(count)
        ranked = [
            Ranked(vector_id, score, {"dense": score}, {"dense": rank})
            for rank, (vector_id, score) in enumerate(zip(ids.tolist(), scores.tolist(), strict=True), 1)
            if score >= self.floor
        ]
        return ranked, len(ids) == self.total or len(ranked) < len(ids)


class LexicalRanking:
    """By BM25 over the query's terms; only passages that hold one.

    Args:
        terms: weights by term.
    """

    def __init__(self, view: View, terms: Mapping[str, float], allowed: Allowed | None) -> None:
        self._view = view
        self._terms = terms
        self._allowed = allowed
        self._listed: Listed | None = None
        self._count = 0

    def listed(self, count: int) -> tuple[Listed, bool]:
        """Scores and ids of the first `count`, and whether no more exist."""
        if self._listed is None or (count > self._count and len(self._listed[0]) == self._count):
            scores, ids = self._view.lexical([self._terms], count, self._allowed)
            found = ids[0] >= 0
            self._listed, self._count = (scores[0][found], ids[0][found]), count
        scores, ids = self._listed
        return (scores[:count], ids[:count]), len(scores) < self._count and len(scores) <= count

    @cached_property
    def ideal(self) -> float:
        return self._view.ideal_lexical(self._terms)

    def of(self, vector_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._view.lexical_scores(self._terms, vector_ids)

    def top(self, count: int) -> tuple[list[Ranked], bool]:
        (scores, ids), complete = self.listed(count)
        ranked = [
            Ranked(vector_id, score, {"lexical": score}, {"lexical": rank})
            for rank, (vector_id, score) in enumerate(zip(ids.tolist(), scores.tolist(), strict=True), 1)
        ]
        return ranked, complete


class HybridRanking:
    """By the weighted sum of both normalised scores.

    Args:
        weight: of the dense score, 0 to 1.
    """

    def __init__(self, dense: DenseRanking, lexical: LexicalRanking, weight: float) -> None:
        self._dense = dense
        self._lexical = lexical
        self._weight = weight

    def top(self, count: int) -> tuple[list[Ranked], bool]:
        read = max(_DEPTH, count)
        depth = min(read, max(_FUSED, 4 * count))
        while True:
            _, dense_read = self._dense.listed(read)
            (_, lexical_read), _ = self._lexical.listed(read)
            dense_scores, dense_ids = self._dense.listed(depth)
            (lexical_scores, lexical_ids), lexical_complete = self._lexical.listed(depth)
            if not len(dense_ids):
                return [], True
            complete = len(dense_ids) == self._dense.total or float(dense_scores[-1]) < self._dense.floor
            ids = distinct(dense_ids, lexical_ids)
            dense = _completed(ids, dense_ids, dense_scores, self._dense.of)
            lexical = _completed(ids, lexical_ids, lexical_scores, self._lexical.of)
            fused = self._fused(dense, lexical)
            kept = np.flatnonzero(dense >= self._dense.floor)
            order = kept[np.lexsort((ids[kept], -fused[kept]))]
            if not complete:
                last = 0.0 if lexical_complete or not len(lexical_scores) else float(lexical_scores[-1])
                bound = float(self._fused(dense_scores[-1:], np.array([last], dtype=np.float32))[0])
                order = order[: int(np.count_nonzero(fused[order] > bound))]
            if complete or len(order) >= count:
                places = {"dense": _places(dense_read), "lexical": _places(lexical_read)}
                chosen = order[:count]
                columns = (array[chosen].tolist() for array in (ids, fused, dense, lexical))
                ranked = [
                    Ranked(
                        vector_id,
                        score,
                        {"dense": cosine, "lexical": bm25},
                        {name: at[vector_id] for name, at in places.items() if vector_id in at},
                    )
                    for vector_id, score, cosine, bm25 in zip(*columns, strict=True)
                ]
                return ranked, complete and len(order) <= count
            read = read if depth < read else 4 * read
            depth = read

    def _fused(self, dense: NDArray[np.float32], lexical: NDArray[np.float32]) -> NDArray[np.float64]:
        first, _ = self._dense.listed(_ANCHOR)
        (found, _), _ = self._lexical.listed(_ANCHOR)
        best = max(float(found[0]) if len(found) else 0.0, _ENOUGH * self._lexical.ideal)
        last = float(found[-1]) if len(found) == _ANCHOR else 0.0
        return self._weight * _normalised(dense, float(first[0]), float(first[-1])) + (1 - self._weight) * _normalised(
            lexical, best, last
        )


def _completed(
    ids: NDArray[np.int64],
    listed: NDArray[np.int64],
    scores: NDArray[np.float32],
    of: Callable[[NDArray[np.int64]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """The scores of ascending ids, of which those of a list are known."""
    completed = np.empty(len(ids), dtype=np.float32)
    known = np.searchsorted(ids, listed)
    missing = np.ones(len(ids), dtype=np.bool_)
    missing[known] = False
    completed[known] = scores
    if missing.any():
        completed[missing] = of(ids[missing])
    return completed


def _normalised(scores: NDArray[np.float32], best: float, last: float) -> NDArray[np.float64]:
    shares = (scores.astype(np.float64) - last) / ((best - last) or 1.0)
    return np.where(shares < 0, _SLOPE * shares, shares)


def _places(ids: NDArray[np.int64]) -> dict[int, int]:
    return dict(zip(ids.tolist(), range(1, len(ids) + 1), strict=True))
