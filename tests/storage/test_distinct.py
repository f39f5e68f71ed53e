"""Each value once, as NumPy's own function has it."""

from __future__ import annotations

import numpy as np
import pytest

from yusa.storage.distinct import distinct


@pytest.mark.parametrize("lists", [[[]], [[3]], [[1, 2, 3], [2, 3, 9], []], [[5, 5, 1, 5]], [[9, 8], [7, 9]]])
def test_it_is_numpys_unique(lists: list[list[int]]) -> None:
    arrays = [np.array(one, dtype=np.int64) for one in lists]
    assert distinct(*arrays).tolist() == np.unique(np.concatenate(arrays)).tolist()
    words = [array.astype("S32") for array in arrays]
    assert distinct(*words).tolist() == np.unique(np.concatenate(words)).tolist()
