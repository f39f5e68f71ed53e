"""Two texts in one input: what a tokenizer puts around and between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from yusa.errors import EncoderError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend


@dataclass(frozen=True, slots=True)
class PairFrame:
    """The special tokens of a pair, and the token types of all five parts.

    Attributes:
        prefix, middle, suffix: ids.
        types: of the prefix, the first text, the middle, the second text and the suffix; one for each id of the
            special parts, one for all of a text.
    """

    prefix: list[int]
    middle: list[int]
    suffix: list[int]
    types: tuple[list[int], int, list[int], int, list[int]]

    @property
    def specials(self) -> int:
        """Number of special tokens."""
        return len(self.prefix) + len(self.middle) + len(self.suffix)

    @property
    def highest_type(self) -> int:
        before, first, between, second, behind = self.types
        return max(first, second, *before, *between, *behind)

    def joined(self, first: list[int], second: list[int]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Ids and token types of the pair of two texts' ids."""
        before, first_type, between, second_type, behind = self.types
        ids = [*self.prefix, *first, *self.middle, *second, *self.suffix]
        types = [*before, *[first_type] * len(first), *between, *[second_type] * len(second), *behind]
        return np.array(ids, dtype=np.int32), np.array(types, dtype=np.int32)


def read_pair_frame(backend: Backend) -> PairFrame:
    """The frame that `backend` puts around a pair, seen from a pair of letters.

    Raises:
        EncoderError: it cannot be seen, because the tokenizer leaves nothing of a letter.
    """
    probe = backend.encode("a", "a")
    first = [index for index, text in enumerate(probe.sequence_ids) if text == 0]
    second = [index for index, text in enumerate(probe.sequence_ids) if text == 1]
    if not first or not second:
        raise EncoderError("the tokenizer makes no token of 'a', so it cannot be used for pairs of texts.")
    before, between, behind = slice(first[0]), slice(first[-1] + 1, second[0]), slice(second[-1] + 1, None)
    ids, types = probe.ids, probe.type_ids
    return PairFrame(
        ids[before],
        ids[between],
        ids[behind],
        (types[before], types[first[0]], types[between], types[second[0]], types[behind]),
    )
