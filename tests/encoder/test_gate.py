"""The gate lets rounding pass and each subtle mistake fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from yusa.encoder.attention import Attention, grouped_attention
from yusa.encoder.base import Pooling
from yusa.encoder.body import Body
from yusa.encoder.checkpoint import load_checkpoint
from yusa.encoder.gate import same_numbers
from yusa.encoder.packed_network import PackedNetwork
from yusa.encoder.ragged import TokenIds

CPU = torch.device("cpu")
POOLINGS: list[Pooling] = ["mean", "cls", "pooler"]


@pytest.fixture(scope="module")
def directory(make_checkpoint: Callable[..., Path]) -> Path:
    """With room for every length, and weights small enough that no vector is chaotic."""
    return make_checkpoint("bert", tokenizer=False, max_position_embeddings=160, initializer_range=0.1)


Make = Callable[..., PackedNetwork]


@pytest.fixture(scope="module")
def make(directory: Path) -> Make:
    checkpoint = load_checkpoint(directory)
    tensors = {name: np.asarray(tensor) for name, tensor in checkpoint.tensors.items()}

    def network(
        *,
        dtype: torch.dtype = torch.float32,
        attention: Attention = grouped_attention,
        change: Callable[[dict[str, NDArray[Any]]], None] | None = None,
        budget: int = 256,
        **architecture: Any,
    ) -> PackedNetwork:
        changed = dict(tensors)
        if change is not None:
            change(changed)
        described = dataclasses.replace(checkpoint.architecture, **architecture)
        return PackedNetwork(Body(described, changed, device=CPU, dtype=dtype), attention, budget)

    return network


def swapped_heads(*arguments: Any) -> Tensor:
    return grouped_attention(*arguments).roll(1, dims=1)


def unscaled(query: Tensor, *arguments: Any) -> Tensor:
    return grouped_attention(query * query.shape[2] ** 0.5, *arguments)


def one_mixed_text(*arguments: Any) -> Tensor:
    """The second of two equal lengths sees the keys and values of the first."""
    query, key, value, cu_query, cu_key, max_query, max_key = arguments
    start, end = int(cu_key[2]), int(cu_key[3])
    key, value = key.clone(), value.clone()
    key[end : 2 * end - start], value[end : 2 * end - start] = key[start:end], value[start:end]
    return grouped_attention(query, key, value, cu_query, cu_key, max_query, max_key)


def shifted_positions(tensors: dict[str, NDArray[Any]]) -> None:
    tensors["embeddings.position"] = np.roll(tensors["embeddings.position"], -1, axis=0)


def forgotten_type(tensors: dict[str, NDArray[Any]]) -> None:
    tensors["embeddings.type"] = np.zeros_like(tensors["embeddings.type"])


def swapped_key_and_query(tensors: dict[str, NDArray[Any]]) -> None:
    query, key = (f"layers.0.{part}.weight" for part in ("query", "key"))
    tensors[query], tensors[key] = tensors[key], tensors[query]


MISTAKES: dict[str, dict[str, Any]] = {
    "tanh GELU": {"activation": "gelu_tanh"},
    "swapped heads": {"attention": swapped_heads},
    "unscaled attention": {"attention": unscaled},
    "one text's keys for another's": {"attention": one_mixed_text},
    "positions off by one": {"change": shifted_positions},
    "no token type": {"change": forgotten_type},
    "key and query swapped": {"change": swapped_key_and_query},
    "another epsilon": {"epsilon": 1e-3},
}
SMALL = ("tanh GELU", "another epsilon")
"""Less than half precision's rounding."""


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_same_numbers_in_other_batches_pass(make: Make, pooling: Pooling) -> None:
    network = make(budget=70)
    agreement = same_numbers(network, make(), network.architecture, pooling, dtype="float32")
    assert agreement.enough
    assert agreement.cosine == pytest.approx(1, abs=1e-9)
    assert agreement.difference < 2e-6


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_passes_as_such_and_not_as_float32(make: Make, pooling: Pooling, dtype: str) -> None:
    network = make(dtype=getattr(torch, dtype))
    assert same_numbers(network, make(), network.architecture, pooling, dtype=dtype).enough
    assert not same_numbers(network, make(), network.architecture, pooling, dtype="float32").enough


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_fails(make: Make, pooling: Pooling, mistake: str) -> None:
    network = make(**MISTAKES[mistake])
    assert not same_numbers(network, make(), network.architecture, pooling, dtype="float32").enough


@pytest.mark.parametrize("mistake", [name for name in MISTAKES if name not in SMALL])
def test_all_but_the_smallest_mistakes_fail_in_half_precision_too(make: Make, mistake: str) -> None:
    network = make(dtype=torch.float16, **MISTAKES[mistake])
    assert not same_numbers(network, make(), network.architecture, "mean", dtype="float16").enough


class Broken:
    def vectors(self, ids: TokenIds, pooling: Pooling, *, normalize: bool) -> NDArray[np.float32]:
        return np.full((len(ids), 32), np.nan, dtype=np.float32)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_is_not_finite_fails(make: Make, dtype: str) -> None:
    network = make()
    assert not same_numbers(Broken(), network, network.architecture, "mean", dtype=dtype).enough


def test_texts_are_no_longer_than_the_model_takes(make_checkpoint: Callable[..., Path]) -> None:
    seen: list[int] = []

    class Looking:
        def vectors(self, ids: TokenIds, pooling: Pooling, *, normalize: bool) -> NDArray[np.float32]:
            seen.extend(ids.lengths.tolist())
            return np.ones((len(ids), 2), dtype=np.float32)

    architecture = load_checkpoint(make_checkpoint("roberta", tokenizer=False)).architecture
    assert same_numbers(Looking(), Looking(), architecture, "mean", dtype="float32").enough
    assert seen == [3, 17, 17, 24, 24] * 2
