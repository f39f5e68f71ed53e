"""BM25 over blocks of postings: scores and statistics do not depend on how the passages are cut into blocks.

The formula is Lucene's form of Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009):
the sum over the query's terms of `weight * idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean length))` with
`idf = ln(1 + (N - df + 0.5) / (df + 0.5))`. N, df and the mean length count live passages only and are summed over all
blocks when a query is scored, so they are those of one block that holds everything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from yusa.storage.distinct import distinct
from yusa.storage.parts import Flags, Ids
from yusa.storage.postings import Block, term_keys
from yusa.storage.ranking import Scores, best

K1: Final = 1.2
B: Final = 0.75

Spans = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Where the postings of each term begin and end in a block."""


@dataclass(frozen=True, slots=True, eq=False)
class LiveBlock:
    """A block and which of its passages are live (None: all) as of one commit."""

    block: Block
    live: Flags | None = None

    @property
    def passages(self) -> int:
        return len(self.block.ids) if self.live is None else int(np.count_nonzero(self.live))

    @property
    def terms(self) -> int:
        """Terms of the live passages."""
        lengths = self.block.lengths if self.live is None else self.block.lengths[self.live]
        return int(lengths.sum(dtype=np.int64))

    def among(self, vector_ids: Ids) -> Flags:
        """bool (n,): live and among the sorted ids."""
        flags = np.zeros(len(self.block.ids), dtype=np.bool_)
        if len(self.block.ids):
            low, high = np.searchsorted(vector_ids, [self.block.ids[0], self.block.ids[-1] + 1])
            positions = np.searchsorted(self.block.ids, vector_ids[low:high])
            here = self.block.ids[positions] == vector_ids[low:high]
            flags[positions[here]] = True
        return flags if self.live is None else flags & self.live


class Keywords:
    """The keyword postings of every live passage as of one commit; never changes.

    Attributes:
        sequence: the commit.
        blocks: in the order of their ids, which do not overlap.
    """

    def __init__(self, sequence: int, blocks: Sequence[LiveBlock]) -> None:
        self.sequence = sequence
        self.blocks = tuple(blocks)

    @cached_property
    def passages(self) -> int:
        return sum(one.passages for one in self.blocks)

    @cached_property
    def _norms(self) -> list[NDArray[np.float32]]:
        """k1 * (1 - b + b * length / mean length) of every passage of every block."""
        terms = sum(one.terms for one in self.blocks)
        mean = terms / self.passages if terms else 1.0
        return [(K1 * (1 - B + B * one.block.lengths / mean)).astype(np.float32) for one in self.blocks]

    def scores(self, query: Mapping[str, float]) -> list[Scores]:
        """The scores of every passage of every block, float32 (n,) each; 0 where no term stands; dead ones too."""
        weights = {term: weight for term, weight in query.items() if weight > 0}
        spans = self._spans(weights)
        totals = [np.zeros(len(one.block.ids), dtype=np.float32) for one in self.blocks]
        # Term by term in the query's order, so that a passage's sum is the same in every block.
        held = self._held(spans, len(weights))
        for number, (weight, idf) in enumerate(zip(weights.values(), self._idf(held), strict=True)):
            if held[number] == 0:
                continue
            factor = np.float32(weight * idf * (K1 + 1))
            for one, norms, total, (first, last) in zip(self.blocks, self._norms, totals, spans, strict=True):
                found = slice(int(first[number]), int(last[number]))
                positions, frequencies = one.block.positions[found], one.block.counts[found].astype(np.float32)
                total[positions] += factor * frequencies / (frequencies + norms[positions])
        return totals

    def ideal(self, query: Mapping[str, float]) -> float:
        """The score of a passage of mean length that holds each term of the query once, whether there is one or not."""
        held = self._held(self._spans(query), len(query))
        return math.fsum(weight * idf for weight, idf in zip(query.values(), self._idf(held), strict=True))

    def _spans(self, terms: Iterable[str]) -> list[Spans]:
        keys = term_keys(terms)
        return [one.block.find(keys) for one in self.blocks]

    def _held(self, spans: Sequence[Spans], count: int) -> list[int]:
        """How many live passages hold each of the terms."""
        held = [0] * count
        for one, (first, last) in zip(self.blocks, spans, strict=True):
            for number, (low, high) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
                found = one.block.positions[low:high]
                held[number] += high - low if one.live is None else int(np.count_nonzero(one.live[found]))
        return held

    def _idf(self, held: Iterable[int]) -> list[float]:
        return [math.log(1 + (self.passages - count + 0.5) / (count + 0.5)) for count in held]

    def best(self, totals: Sequence[Scores], count: int, allowed: Ids | None) -> tuple[Scores, Ids]:
        """The `count` best live passages of those that hold a term, padded with -inf and -1; ties by the smaller id.

        Args:
            totals: from `scores`.
            allowed: sorted; only these ids.
        """
        ids: list[Ids] = [np.zeros(0, dtype=np.int64)]
        scores: list[Scores] = [np.zeros(0, dtype=np.float32)]
        for one, total in zip(self.blocks, totals, strict=True):
            chosen = total > 0
            if allowed is not None:
                chosen &= one.among(allowed)
            elif one.live is not None:
                chosen &= one.live
            positions = np.flatnonzero(chosen)
            found = total[positions]
            if len(found) > count:
                floor = np.partition(found, len(found) - count)[len(found) - count]
                positions, found = positions[found >= floor], found[found >= floor]
            ids.append(one.block.ids[positions])
            scores.append(found)
        return best(np.concatenate(scores), np.concatenate(ids), count)

    def of(self, totals: Sequence[Scores], vector_ids: Ids) -> Scores:
        """The scores of sorted ids; 0 for one that is not here."""
        answer = np.zeros(len(vector_ids), dtype=np.float32)
        for one, total in zip(self.blocks, totals, strict=True):
            if len(one.block.ids) == 0:
                continue
            low, high = np.searchsorted(vector_ids, [one.block.ids[0], one.block.ids[-1] + 1])
            positions = np.searchsorted(one.block.ids, vector_ids[low:high])
            here = one.block.ids[positions] == vector_ids[low:high]
            answer[low:high][here] = total[positions[here]]
        return answer

    def holding(self, terms: Sequence[str]) -> Ids:
        """Sorted ids of the live passages that hold every one of the terms; of all if there are none."""
        keys = distinct(term_keys(terms))
        found: list[Ids] = [np.zeros(0, dtype=np.int64)]
        for one in self.blocks:
            first, last = one.block.find(keys)
            order = np.argsort(last - first)
            chosen = np.ones(len(one.block.ids), dtype=np.bool_) if one.live is None else one.live
            for number in order.tolist():
                here = np.zeros(len(one.block.ids), dtype=np.bool_)
                here[one.block.positions[first[number] : last[number]]] = True
                chosen = chosen & here
                if not chosen.any():
                    break
            found.append(one.block.ids[chosen])
        return np.concatenate(found)

    def terms_from(self, prefix: str) -> list[str]:
        """The terms that begin with `prefix`, sorted; of one of more than 32 bytes what stands for it."""
        low = prefix.encode()
        found: set[bytes] = set()
        for one in self.blocks:
            start = int(np.searchsorted(one.block.keys, np.bytes_(low)))
            end = int(np.searchsorted(one.block.keys, np.bytes_(low + b"\xff"))) if low else len(one.block.keys)
            found.update(one.block.keys[start:end].tolist())
        return sorted(key.decode() for key in found)
