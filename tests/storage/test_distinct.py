"""Each value once, as NumPy's own function has it."""

from __future__ import annotations

import numpy as np
import pytest

from yusa.storage.checksums import passage_checksum, unsound_passage
from yusa.storage.distinct import distinct


@pytest.mark.parametrize("lists", [[[]], [[3]], [[1, 2, 3], [2, 3, 9], []], [[5, 5, 1, 5]], [[9, 8], [7, 9]]])
def test_it_is_numpys_unique(lists: list[list[int]]) -> None:
    arrays = [np.array(one, dtype=np.int64) for one in lists]
    assert distinct(*arrays).tolist() == np.unique(np.concatenate(arrays)).tolist()
    words = [array.astype("S32") for array in arrays]
    assert distinct(*words).tolist() == np.unique(np.concatenate(words)).tolist()


def test_the_first_passage_that_is_not_what_was_written_is_named() -> None:
    rows = [(n, 1, 1, n, 0, 4, b"vector") for n in range(5)]
    sound: list[tuple[object, ...]] = [(*row, passage_checksum(*row)) for row in rows]
    assert unsound_passage(sound) is None
    assert unsound_passage([]) is None
    for wrong in (
        (*sound[3][:6], b"Vector", sound[3][7]),
        (*sound[3][:6], "vector", sound[3][7]),
        (3, "x", *sound[3][2:]),
    ):
        assert unsound_passage([*sound[:3], wrong, sound[4]]) == 3
