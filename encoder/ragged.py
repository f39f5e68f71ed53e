"""Token ids of many texts in one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TokenIds:
    """Ids of texts, one text after another, special tokens included.

    Attributes:
        flat: int32 (tokens,)
        lengths: int64 (texts,), tokens of each text; they sum to the length of `flat`.
    """

    flat: NDArray[np.int32]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[NDArray[np.int32]]) -> TokenIds:
        """From one array per text."""
        flat = np.concatenate(texts) if len(texts) else np.empty(0, dtype=np.int32)
        return cls(flat.astype(np.int32, copy=False), np.array([len(text) for text in texts], dtype=np.int64))

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """int64 (texts + 1,), where each text begins in `flat`, and the end."""
        return np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: NDArray[np.int64]) -> TokenIds:
        """The texts of these rows, in their order."""
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        # Position i of the result belongs to text t, whose first token moves from offsets[rows[t]] to ends[t-1].
        shift = np.repeat(self.offsets[rows] - (ends - lengths), lengths)
        return TokenIds(self.flat[np.arange(len(shift)) + shift], lengths)


def joined(parts: Sequence[TokenIds]) -> TokenIds:
    """The texts of all parts, in their order."""
    if not parts:
        return TokenIds(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64))
    return TokenIds(np.concatenate([part.flat for part in parts]), np.concatenate([part.lengths for part in parts]))
