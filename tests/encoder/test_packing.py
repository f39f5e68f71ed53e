"""Packing: every text once, batches within the budget, buffers of few sizes, and the arrays that describe them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yusa.encoder.packing import PackedBatch, Plan, padded_size
from yusa.encoder.ragged import TokenIds


def texts_of(lengths: list[int]) -> TokenIds:
    """Ids that say where they come from: 1000 * text + position."""
    return TokenIds.of([np.arange(length, dtype=np.int32) + 1000 * row for row, length in enumerate(lengths)])


def batches_of(ids: TokenIds, budget: int, *, offset: int = 0) -> list[PackedBatch]:
    plan = Plan(ids, np.arange(len(ids), dtype=np.int64), position_offset=offset)
    found: list[PackedBatch] = []
    while (start := sum(len(batch.rows) for batch in found)) < len(plan):
        found.append(plan.batch(start, budget))
    return found


@given(st.lists(st.integers(1, 300), min_size=1, max_size=80), st.integers(1, 2000), st.integers(0, 2))
def test_every_text_is_packed_once_as_it_is(lengths: list[int], budget: int, offset: int) -> None:
    ids = texts_of(lengths)
    batches = batches_of(ids, budget, offset=offset)
    assert sorted(np.concatenate([batch.rows for batch in batches]).tolist()) == list(range(len(lengths)))
    longest_first = [lengths[row] for batch in batches for row in batch.rows]
    assert longest_first == sorted(lengths, reverse=True)
    for batch in batches:
        assert {array.dtype.name for array in (batch.ids, batch.positions, batch.cu_seqlens)} == {"int32"}
        assert batch.tokens <= budget or len(batch.rows) == 1
        assert batch.key == (len(batch.ids), batch.bucket) == (len(batch.positions), batch.bucket)
        assert len(batch.ids) == padded_size(batch.tokens, budget)
        for row, start, end in zip(batch.rows, batch.cu_seqlens[:-1], batch.cu_seqlens[1:], strict=True):
            np.testing.assert_array_equal(batch.ids[start:end], ids[row])
            np.testing.assert_array_equal(batch.positions[start:end], np.arange(offset, offset + lengths[row]))
        assert not batch.ids[batch.tokens :].any()
        assert (batch.positions[batch.tokens :] == offset).all()


def test_batches_are_filled_as_far_as_the_budget_goes() -> None:
    batches = batches_of(texts_of([10, 30, 20, 40, 10]), 60)
    assert [batch.rows.tolist() for batch in batches] == [[3], [1, 2, 0], [4]]


def test_the_budget_may_shrink_between_batches() -> None:
    plan = Plan(texts_of([8, 8, 8, 8, 8]), np.arange(5, dtype=np.int64), position_offset=0)
    assert plan.batch(0, 16).rows.tolist() == [0, 1]
    assert plan.batch(2, 8).rows.tolist() == [2]
    assert plan.batch(3, 4).rows.tolist() == [3]


def test_a_plan_for_some_rows_names_them_by_their_own_numbers() -> None:
    plan = Plan(texts_of([1, 2, 3, 4]), np.array([1, 3]), position_offset=0)
    assert plan.batch(0, 100).rows.tolist() == [3, 1]


@pytest.mark.parametrize(
    ("tokens", "budget", "size"),
    [
        (1, 32_768, 128),
        (128, 32_768, 128),
        (129, 32_768, 256),
        (16_385, 32_768, 32_768),
        (32_768, 32_768, 32_768),
        (9_000, 10_000, 10_000),
        (5_000, 10_000, 8_192),
        (300, 100, 300),
        (12, 100, 100),
    ],
)
def test_sizes(tokens: int, budget: int, size: int) -> None:
    assert padded_size(tokens, budget) == size


@pytest.mark.parametrize(("length", "bucket"), [(1, 32), (32, 32), (33, 64), (128, 128), (300, 512), (513, 1024)])
def test_buckets(length: int, bucket: int) -> None:
    (batch,) = batches_of(texts_of([1, length]), 2000)
    assert batch.bucket == bucket


def test_like_lists_of_any_length_share_a_few_keys() -> None:
    random = np.random.default_rng(3)
    keys = {
        batch.key
        for count in (200, 300, 500)
        for batch in batches_of(texts_of(random.integers(8, 300, count).tolist()), 4096)
    }
    full = {key for key in keys if key[0] == 4096}
    assert full == {(4096, 512), (4096, 256), (4096, 128), (4096, 64)}
