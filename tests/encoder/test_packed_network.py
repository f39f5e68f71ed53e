"""The packed forward pass on a CPU against the ordinary one, and what it does when memory or range run out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from late import LateCopies
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from yusa.encoder import packed_network
from yusa.encoder.attention import Attention, grouped_attention, varlen_attention
from yusa.encoder.base import Pooling
from yusa.encoder.body import Body
from yusa.encoder.checkpoint import load_checkpoint
from yusa.encoder.network import Network
from yusa.encoder.packed_network import PackedNetwork
from yusa.encoder.ragged import TokenIds
from yusa.errors import EncoderError

Make = Callable[..., Path]
CPU = torch.device("cpu")
KINDS = ["bert", "roberta", "electra", "electra-same-width", "distilbert"]
POOLINGS: list[Pooling] = ["mean", "cls", "pooler"]
UNIT, LOOSE = 2e-6, 1e-5
"""How far components may differ: of unit vectors, and of vectors that are not normalised and several times as long."""


def undefined_tail(
    query: Tensor, key: Tensor, value: Tensor, cu_query: Tensor, cu_key: Tensor, max_query: int, max_key: int, /
) -> Tensor:
    """Attention as a kernel leaves it: rows behind the last text hold whatever was in memory."""
    lengths = cu_query.diff()
    assert int(lengths.max()) <= max_query
    assert int(cu_key.diff().max()) <= max_key
    out = grouped_attention(query, key, value, cu_query, cu_key, max_query, max_key)
    out[int(cu_query[-1]) :] = torch.nan
    return out


class Case:
    """A checkpoint's body in any dtype, texts of all lengths, and their vectors one text at a time."""

    def __init__(self, directory: Path) -> None:
        checkpoint = load_checkpoint(directory)
        self.architecture = checkpoint.architecture
        self.poolings = POOLINGS if checkpoint.has_pooler else POOLINGS[:2]
        self._tensors = checkpoint.tensors
        self._expected: dict[Pooling, NDArray[np.float32]] = {}
        random = np.random.default_rng(5)
        lengths = np.concatenate([np.arange(1, self.architecture.positions + 1), [3, 3, 24, 1, 17]])
        random.shuffle(lengths)
        flat = random.integers(0, self.architecture.vocabulary, int(lengths.sum()), dtype=np.int32)
        self.ids = TokenIds(flat, lengths.astype(np.int64))

    def body(self, dtype: torch.dtype = torch.float32, device: torch.device = CPU, **changed: float) -> Body:
        """`changed` multiplies tensors whose names end so."""
        tensors: Mapping[str, NDArray[np.generic]] = {
            name: np.asarray(tensor) * np.float32(changed.get(name.rpartition(".")[2], 1))
            for name, tensor in self._tensors.items()
        }
        return Body(self.architecture, tensors, device=device, dtype=dtype)

    def packed(self, attention: Attention = undefined_tail, budget: int = 100, **options: Any) -> PackedNetwork:
        return PackedNetwork(self.body(), attention, budget, **options)

    def expected(self, pooling: Pooling, *, normalize: bool = False) -> NDArray[np.float32]:
        if pooling not in self._expected:
            network = Network(self.body())
            one_by_one = [
                network.vectors(TokenIds.of([self.ids[row]]), pooling, normalize=False) for row in range(len(self.ids))
            ]
            self._expected[pooling] = np.concatenate(one_by_one)
        vectors = self._expected[pooling]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if normalize else vectors


@pytest.fixture(scope="module", params=KINDS)
def case(request: pytest.FixtureRequest, make_checkpoint: Make) -> Case:
    return Case(make_checkpoint(request.param, tokenizer=False))


@pytest.fixture(scope="module")
def bert(make_checkpoint: Make) -> Case:
    return Case(make_checkpoint("bert", tokenizer=False))


@pytest.mark.parametrize("budget", [24, 100, 32_768])
def test_vectors_are_those_of_the_ordinary_pass(case: Case, budget: int) -> None:
    network = case.packed(budget=budget)
    for pooling in case.poolings:
        vectors = network.vectors(case.ids, pooling, normalize=False)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, case.expected(pooling), atol=LOOSE, rtol=0)
        unit = network.vectors(case.ids, pooling, normalize=True)
        np.testing.assert_allclose(unit, case.expected(pooling, normalize=True), atol=UNIT, rtol=0)


def test_a_texts_vector_does_not_depend_on_batch_mates_order_or_budget(case: Case) -> None:
    random = np.random.default_rng(11)
    for pooling in case.poolings:
        whole = case.packed().vectors(case.ids, pooling, normalize=True)
        for budget in (1, 48, 1000):
            rows = random.permutation(len(case.ids))[: int(random.integers(1, len(case.ids)))]
            some = case.packed(budget=budget).vectors(case.ids.take(rows), pooling, normalize=True)
            np.testing.assert_allclose(some, whole[rows], atol=UNIT, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_the_direction(case: Case, dtype: torch.dtype) -> None:
    network = PackedNetwork(case.body(dtype), undefined_tail, 100)
    for pooling in case.poolings:
        vectors = network.vectors(case.ids, pooling, normalize=True)
        assert (vectors * case.expected(pooling, normalize=True)).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_layer_norms_statistics_of_half_precision_are_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = (torch.randn(8, 768) + 300).to(dtype)  # the sum of squares is far beyond float16
    exact = functional.layer_norm(x.double(), (768,), eps=1e-12)
    ours = functional.layer_norm(x, (768,), eps=1e-12)
    assert exact.abs().max() > 2
    assert (ours.double() - exact).abs().max() <= 2 * torch.finfo(dtype).eps


def test_only_first_tokens_go_through_the_last_layer_where_the_rest_is_not_needed(bert: Case) -> None:
    asked: list[tuple[int, int]] = []

    def attention(*arguments: Any) -> Tensor:
        asked.append((len(arguments[0]), arguments[5]))
        return grouped_attention(*arguments)

    network = bert.packed(attention, budget=1000)
    network.vectors(bert.ids, "cls", normalize=True)
    assert asked == [(512, 32), (len(bert.ids), 1)]
    asked.clear()
    network.vectors(bert.ids, "mean", normalize=True)
    assert asked == [(512, 32), (512, 32)]


def test_chunks_are_put_together_in_order(bert: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_network, "CHUNK", 7)
    copies = LateCopies()
    done: list[tuple[list[int], int]] = []
    vectors = bert.packed(copies=copies).vectors(
        bert.ids, "mean", normalize=False, done=lambda rows, tokens: done.append((rows.tolist(), tokens))
    )
    np.testing.assert_allclose(vectors, bert.expected("mean"), atol=LOOSE, rtol=0)
    assert sorted(row for rows, _ in done for row in rows) == list(range(len(bert.ids)))
    assert all(tokens == bert.ids.lengths[rows].sum() <= 100 for rows, tokens in done)


def test_a_batch_is_told_of_when_it_is_done(bert: Case) -> None:
    copies = LateCopies()
    told: list[int] = []
    bert.packed(budget=24, copies=copies).vectors(
        bert.ids, "cls", normalize=True, done=lambda *_: told.append(copies.waits)
    )
    assert told[:-2] == list(range(1, len(told) - 1))  # the n-th batch after the n-th wait
    assert told[-1] == told[-2] > told[-3]  # the rest when everything is there


def test_no_texts(bert: Case) -> None:
    assert bert.packed().vectors(bert.ids.take(np.empty(0, np.int64)), "mean", normalize=True).shape == (0, 32)


def test_texts_it_cannot_take_are_refused(bert: Case, make_checkpoint: Make) -> None:
    network = bert.packed()
    with pytest.raises(ValueError, match="25 tokens, with 24 positions"):
        network.vectors(TokenIds.of([np.zeros(25, np.int32)]), "mean", normalize=True)
    with pytest.raises(ValueError, match="texts of 0 to 3"):
        network.vectors(TokenIds.of([np.zeros(3, np.int32), np.zeros(0, np.int32)]), "mean", normalize=True)
    without = Case(make_checkpoint("distilbert", tokenizer=False))
    with pytest.raises(ValueError, match="no pooler"):
        without.packed().vectors(without.ids, "pooler", normalize=True)


class Memory:
    """Attention with memory for so many tokens."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.sizes: list[int] = []

    def __call__(self, *arguments: Any) -> Tensor:
        self.sizes.append(len(arguments[0]))
        if len(arguments[0]) > self.tokens:
            raise torch.OutOfMemoryError("injected")
        return grouped_attention(*arguments)


def test_batches_shrink_to_the_memory_there_is(bert: Case) -> None:
    memory = Memory(64)
    network = bert.packed(memory, budget=32_768)
    rows: list[int] = []
    vectors = network.vectors(bert.ids, "mean", normalize=False, done=lambda done, _: rows.extend(done.tolist()))
    np.testing.assert_allclose(vectors, bert.expected("mean"), atol=LOOSE, rtol=0)
    assert sorted(rows) == list(range(len(bert.ids)))
    assert memory.sizes[:4] == [512, 256, 128, 64]
    assert network.budget == 64
    assert max(memory.sizes[4:]) == 64


def test_no_memory_for_one_text_is_an_error(bert: Case) -> None:
    with pytest.raises(EncoderError, match="cpu has no memory left for one text of 24 tokens"):
        bert.packed(Memory(20)).vectors(bert.ids, "mean", normalize=True)


def test_texts_beyond_half_precisions_range_are_encoded_again_in_a_wider_one(bert: Case) -> None:
    made: list[torch.dtype] = []

    def body_in(dtype: torch.dtype) -> Body:
        made.append(dtype)
        return bert.body(dtype)

    def attention(*arguments: Any) -> Tensor:
        out = undefined_tail(*arguments)
        if out.dtype == torch.float16 and len(out) > 32:
            out[40] = torch.inf
        return out

    network = PackedNetwork(bert.body(torch.float16), attention, 1000, body_in=body_in)
    vectors = network.vectors(bert.ids, "mean", normalize=True)
    assert made == [torch.bfloat16]
    assert (vectors * bert.expected("mean", normalize=True)).sum(axis=1).min() > 0.999
    plain = PackedNetwork(bert.body(torch.float16), undefined_tail, 1000).vectors(bert.ids, "mean", normalize=True)
    (again,) = np.flatnonzero((vectors != plain).any(axis=1))
    assert bert.ids.lengths[again] == 24  # the second of the longest first
    network.vectors(bert.ids, "mean", normalize=True)
    assert made == [torch.bfloat16]


def test_bfloat16_is_followed_by_float32_and_that_by_an_error(bert: Case) -> None:
    def only_float32(*arguments: Any) -> Tensor:
        return undefined_tail(*arguments) * (1 if arguments[0].dtype == torch.float32 else torch.inf)

    network = PackedNetwork(bert.body(torch.float16), only_float32, 1000, body_in=bert.body)
    np.testing.assert_allclose(
        network.vectors(bert.ids, "cls", normalize=False), bert.expected("cls"), atol=LOOSE, rtol=0
    )
    with pytest.raises(EncoderError, match=r"29 texts are not finite in float16. Load with dtype='float32'"):
        PackedNetwork(bert.body(torch.float16), only_float32, 1000).vectors(bert.ids, "cls", normalize=False)
    damaged = bert.body(bias=np.nan)
    with pytest.raises(EncoderError, match=r"29 texts are not finite in float32. The weights are damaged"):
        PackedNetwork(damaged, undefined_tail, 1000, body_in=bert.body).vectors(bert.ids, "cls", normalize=False)


def test_reduced_precision_sums_are_off(bert: Case) -> None:
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = True
    bert.packed()
    assert not torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction
    assert not torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_vectors_of_the_cpu(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_network, "CHUNK", 7)
    device = torch.device("cuda")
    size = 32 // case.architecture.heads
    kernel = varlen_attention(device, torch.float16, size)
    assert kernel is not None
    for pooling in case.poolings:
        expected = case.expected(pooling, normalize=True)
        exact = PackedNetwork(case.body(device=device), grouped_attention, 100)
        np.testing.assert_allclose(exact.vectors(case.ids, pooling, normalize=True), expected, atol=LOOSE, rtol=0)
        network = PackedNetwork(case.body(torch.float16, device), kernel, 100)
        vectors = network.vectors(case.ids, pooling, normalize=True)
        assert (vectors * expected).sum(axis=1).min() > 0.999
        np.testing.assert_array_equal(vectors, network.vectors(case.ids, pooling, normalize=True))
