"""From vectors to candidates: the best passages, one for each document unless all are asked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yusa.storage.records import PassageRow

if TYPE_CHECKING:
    from yusa.storage.view import Allowed, View


class Candidate(NamedTuple):
    """A passage that may become a hit, with its cosine to the query."""

    score: float
    passage: PassageRow


def nearest(
    view: View,
    queries: NDArray[np.float32],
    wanted: int,
    *,
    allowed: Allowed | None = None,
    passages: bool = False,
    min_score: float | None = None,
    without: int | None = None,
) -> list[list[Candidate]]:
    """For each query its `wanted` best candidates, best first; fewer only where no more exist.

    Args:
        queries: float32 (q, dimension).
        allowed: what a filter lets pass.
        passages: every passage counts, instead of the best of each document.
        min_score: leaves out candidates whose cosine is less.
        without: the key of a document to leave out.
    """
    total = view.live() if allowed is None else len(allowed.vector_ids)
    floor = -math.inf if min_score is None else min_score
    found: list[list[Candidate]] = [[] for _ in queries]
    rows: dict[int, PassageRow] = {}
    waiting = list(range(len(queries) if total else 0))
    count = wanted if passages else 2 * wanted
    while waiting:
        count = min(count, total)
        scores, ids = view.search(queries[waiting], count, allowed)
        rows |= view.passages({i for i in ids.ravel().tolist() if i >= 0} - rows.keys())
        unfinished = []
        for query, query_scores, query_ids in zip(waiting, scores.tolist(), ids.tolist(), strict=True):
            ranked = [
                Candidate(score, rows[i])
                for score, i in zip(query_scores, query_ids, strict=True)
                if i >= 0 and score >= floor
            ]
            found[query] = _kept(ranked, wanted, passages=passages, without=without)
            # Where a candidate was left out above, those that would follow are left out as well.
            if len(found[query]) < wanted and len(ranked) == count < total:
                unfinished.append(query)
        waiting = unfinished
        count *= 2
    return found


def _kept(ranked: list[Candidate], wanted: int, *, passages: bool, without: int | None) -> list[Candidate]:
    kept: list[Candidate] = []
    seen = {without}
    for candidate in ranked:
        document = candidate.passage.document
        if document in seen:
            continue
        kept.append(candidate)
        if len(kept) == wanted:
            break
        if not passages:
            seen.add(document)
    return kept
