"""From a ranking of passages to the candidates that may be shown: one for each document unless all are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from yusa.search.ranking import Ranked, Ranking
from yusa.storage.records import PassageRow
from yusa.text.terms import bigrams

if TYPE_CHECKING:
    from yusa.storage.view import View

NEAR_IDENTICAL: Final = 0.8
"""Jaccard similarity of the character bigrams of two passages from which on the worse is hidden."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage that may become a hit.

    Attributes:
        scores, ranks: see `Ranked`; "rerank" is added by a reranker.
        hidden: keys of documents whose passages are near-identical to this one and stand behind it.
    """

    score: float
    passage: PassageRow
    scores: Mapping[str, float]
    ranks: Mapping[str, int]
    hidden: tuple[int, ...] = ()


def candidates(
    view: View,
    ranking: Ranking,
    wanted: int,
    *,
    passages: bool = False,
    collapse: bool = False,
    without: int | None = None,
) -> list[Candidate]:
    """The `wanted` best candidates, best first; fewer only where no more exist.

    Args:
        passages: every passage counts, instead of the best of each document.
        collapse: leaves out a passage that is near-identical to a better one.
        without: the key of a document to leave out.
    """
    rows: dict[int, PassageRow] = {}
    near = _NearIdentical(view) if collapse else None
    count = wanted
    while True:
        ranked, complete = ranking.top(count)
        rows |= view.passages([one.vector_id for one in ranked if one.vector_id not in rows])
        kept = _kept(ranked, rows, wanted, passages=passages, without=without, near=near)
        if len(kept) == wanted or complete:
            return kept
        count *= 2


def _kept(
    ranked: list[Ranked],
    rows: Mapping[int, PassageRow],
    wanted: int,
    *,
    passages: bool,
    without: int | None,
    near: Callable[[int, list[int]], int | None] | None,
) -> list[Candidate]:
    kept: list[Candidate] = []
    seen = {without}
    for one in ranked:
        passage = rows[one.vector_id]
        if passage.document in seen:
            continue
        if not passages:
            seen.add(passage.document)
        better = near(one.vector_id, [other.passage.vector_id for other in kept]) if near else None
        if better is not None:
            kept[better] = replace(kept[better], hidden=(*kept[better].hidden, passage.document))
        elif len(kept) < wanted:
            kept.append(Candidate(one.score, passage, one.scores, one.ranks))
        if len(kept) == wanted and near is None:
            break
    return kept


class _NearIdentical:
    """Which of the better passages, if any, a passage is near-identical to. (Broder, "On the resemblance of documents",
    1997, with character bigrams as shingles.)
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._sets: dict[int, frozenset[str]] = {}

    def __call__(self, vector_id: int, better: list[int]) -> int | None:
        own = self._set(vector_id)
        for place, other_id in enumerate(better):
            other = self._set(other_id)
            smaller, larger = sorted((len(own), len(other)))
            if smaller >= NEAR_IDENTICAL * larger and _resemblance(own, other) >= NEAR_IDENTICAL:
                return place
        return None

    def _set(self, vector_id: int) -> frozenset[str]:
        if vector_id not in self._sets:
            for found, (_, text) in self._view.texts([vector_id]).items():
                # What holds no words is compared whole.
                self._sets[found] = frozenset(bigrams(text) or [text])
        return self._sets[vector_id]


def _resemblance(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
