"""Which texts go into which batch, and the flat arrays a device needs for it; NumPy only.

Texts are taken longest first, so that a batch holds texts of like length, and packed one after another into a buffer
of a fixed number of tokens. What the texts leave free holds padding that belongs to no text: attention never sees it.
Matrix products of one shape sum in one order, so a text's vector does not change with what else is in its buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.ragged import TokenIds

_SMALLEST, _SHORTEST = 128, 32


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Texts in one buffer.

    Attributes:
        rows: int64 (texts,), which texts these are, longest first.
        ids, positions: int32 (size,), the texts' tokens and then padding, which has valid values.
        cu_seqlens: int32 (texts + 1,), where each text begins, and where the last one ends.
        bucket: the longest text's length, rounded up to 32 times a power of two.
    """

    rows: NDArray[np.int64]
    ids: NDArray[np.int32]
    positions: NDArray[np.int32]
    cu_seqlens: NDArray[np.int32]
    bucket: int

    @property
    def tokens(self) -> int:
        """Of the texts, without padding."""
        return int(self.cu_seqlens[-1])

    @property
    def key(self) -> tuple[int, int]:
        """(size, bucket): batches with equal keys run the same kernels, up to their number of texts."""
        return len(self.ids), self.bucket


class Plan:
    """Texts sorted by length, to be cut into batches one at a time, as the budget may shrink in between.

    Args:
        rows: int64, the texts of `ids` to plan for.
        position_offset: index of the first token's position embedding.
    """

    def __init__(self, ids: TokenIds, rows: NDArray[np.int64], *, position_offset: int) -> None:
        lengths = ids.lengths[rows]
        order = np.argsort(-lengths, kind="stable")
        self._ids = ids
        self._rows = rows[order]
        self._ends = np.concatenate([[0], np.cumsum(lengths[order])]).astype(np.int64)
        self._offset = position_offset

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, start: int, budget: int) -> PackedBatch:
        """As many texts from the `start`-th on as have `budget` tokens together, at least one."""
        stop = int(np.searchsorted(self._ends, self._ends[start] + budget, side="right")) - 1
        stop = max(stop, start + 1)
        taken = self._ids.take(self._rows[start:stop])
        ends = self._ends[start : stop + 1] - self._ends[start]
        tokens = int(ends[-1])
        ids = np.zeros(padded_size(tokens, budget), dtype=np.int32)
        ids[:tokens] = taken.flat
        positions = np.full_like(ids, self._offset)
        positions[:tokens] += np.arange(tokens, dtype=np.int32) - np.repeat(ends[:-1], taken.lengths).astype(np.int32)
        return PackedBatch(
            self._rows[start:stop],
            ids,
            positions,
            ends.astype(np.int32),
            _power_of_two(int(taken.lengths[0]), _SHORTEST),
        )


def padded_size(tokens: int, budget: int) -> int:
    """The size of the buffer for so many tokens: a power of two from 128 on, or the budget where that is less.

    One size, the budget, would be simplest, but a query or the end of a list would then cost a whole buffer's work.
    Doubling bounds that to twice the tokens and keeps the shapes few.
    """
    return min(_power_of_two(tokens, _SMALLEST), max(tokens, budget))


def _power_of_two(number: int, least: int) -> int:
    return max(least, 1 << (number - 1).bit_length())
