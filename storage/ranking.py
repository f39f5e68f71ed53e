"""Exact search over parts: the best rows by inner product, in one order whatever the parts are.

FAISS scans; what it finds is scored again in double precision, so that equal vectors have equal scores in every part
and on every way, and ties go to the smaller id.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from yusa.storage.parts import Flags, Ids, Part, Rows

_SPARE = 8
_BLOCK = 512
# Where nearly all rows are flagged it is faster to drop the others from what was found than to ask for each row.
_FEW_LEFT_OUT = 0.9
# FAISS sums in single precision; its error stays far below this share of |query| |vector|.
_ERROR = 4e-6

Scores = NDArray[np.float32]


def exact_scores(query: NDArray[np.float32], rows: Rows) -> Scores:
    """Inner products (n,), each computed alike wherever its row stands."""
    return _scored(query, rows)[0]


def _scored(query: NDArray[np.float32], rows: Rows) -> tuple[Scores, float]:
    """The exact scores, and the length of the longest row."""
    wide = query.astype(np.float64)
    scores = np.empty(len(rows), dtype=np.float32)
    longest = 0.0
    for start in range(0, len(rows), _BLOCK):
        # Once for both: to widen what is stored takes longer than to multiply it.
        block = rows[start : start + _BLOCK].astype(np.float64)
        longest = max(longest, float(np.einsum("ij,ij->i", block, block).max()))
        scores[start : start + _BLOCK] = np.multiply(block, wide, out=block).sum(axis=1)
    return scores, math.sqrt(longest)


def best(scores: Scores, ids: Ids, count: int) -> tuple[Scores, Ids]:
    """The `count` best, best first, ties by the smaller id; padded with -inf and -1."""
    order = np.lexsort((ids, -scores))[:count]
    padded_scores = np.full(count, -np.inf, dtype=np.float32)
    padded_ids = np.full(count, -1, dtype=np.int64)
    padded_scores[: len(order)] = scores[order]
    padded_ids[: len(order)] = ids[order]
    return padded_scores, padded_ids


def gather(parts: Sequence[Part], vector_ids: Ids) -> tuple[Ids, Rows]:
    """Those of the sorted ids that are live in the parts, with their rows."""
    ids: list[Ids] = [np.zeros(0, dtype=np.int64)]
    rows: list[Rows] = []
    for part in parts:
        low, high = np.searchsorted(vector_ids, [part.ids[0], part.ids[-1] + 1])
        if low == high:
            continue
        positions, found = part.positions(vector_ids[low:high])
        ids.append(vector_ids[low:high][found])
        rows.append(part.rows[positions[found]])
    return np.concatenate(ids), np.concatenate(rows) if rows else np.zeros((0, len(parts)), dtype=np.float32)


def scan(
    parts: Sequence[Part], flags: Sequence[Flags | None], queries: NDArray[np.float32], count: int
) -> tuple[Scores, Ids]:
    """The `count` best rows for each query among those flagged in each part (None: all)."""
    scores = np.full((len(queries), count), -np.inf, dtype=np.float32)
    ids = np.full((len(queries), count), -1, dtype=np.int64)
    selectors = [chosen if chosen is None or chosen.mean() < _FEW_LEFT_OUT else None for chosen in flags]
    open_queries = np.arange(len(queries))
    wanted = count + _SPARE
    while len(open_queries):
        found = [
            part.search(queries[open_queries], min(wanted, len(part.ids)), chosen)
            for part, chosen in zip(parts, selectors, strict=True)
        ]
        unsettled = []
        for row, number in enumerate(open_queries.tolist()):
            settled, scores[number], ids[number] = _settle(parts, flags, found, row, queries[number], count)
            if not settled:
                unsettled.append(number)
        open_queries = np.array(unsettled, dtype=np.int64)
        wanted *= 4
    return scores, ids


def _settle(
    parts: Sequence[Part],
    flags: Sequence[Flags | None],
    found: Sequence[tuple[Scores, NDArray[np.int64]]],
    row: int,
    query: NDArray[np.float32],
    count: int,
) -> tuple[bool, Scores, Ids]:
    """Merge what the parts found for one query; whether a row that was not found could still belong to the best."""
    ids: list[Ids] = [np.zeros(0, dtype=np.int64)]
    scores: list[Scores] = [np.zeros(0, dtype=np.float32)]
    floor = -np.inf
    length = 0.0
    for part, chosen, (rough, positions) in zip(parts, flags, found, strict=True):
        taken = positions[row][positions[row] >= 0]
        if 0 < len(taken) == positions.shape[1] < len(part.ids):
            floor = max(floor, float(rough[row, -1]))
        if chosen is not None:
            taken = taken[chosen[taken]]
        exact, longest = _scored(query, part.rows[taken])
        length = max(length, longest)
        ids.append(part.ids[taken])
        scores.append(exact)
    best_scores, best_ids = best(np.concatenate(scores), np.concatenate(ids), count)
    margin = _ERROR * float(np.linalg.norm(query)) * length
    return floor == -np.inf or float(best_scores[-1]) - margin > floor, best_scores, best_ids
