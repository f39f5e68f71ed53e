"""Ids of many texts in one array."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from yusa.encoder.ragged import TokenIds

Lists = st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=6), max_size=8)


@given(Lists, st.data())
def test_it_holds_and_gives_back_any_texts(texts: list[list[int]], data: st.DataObject) -> None:
    ids = TokenIds.of([np.array(text, dtype=np.int32) for text in texts])
    assert (str(ids.flat.dtype), str(ids.lengths.dtype), len(ids)) == ("int32", "int64", len(texts))
    assert [ids[row].tolist() for row in range(len(ids))] == texts
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=10)) if texts else []
    taken = ids.take(np.array(rows, dtype=np.int64))
    assert [taken[row].tolist() for row in range(len(taken))] == [texts[row] for row in rows]
