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

from yusa.encoder.architecture import Architecture
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
    """Weights as large as training leaves them; a layer's worth of everything, and room for every length."""
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
        **architecture: Any,
    ) -> PackedNetwork:
        changed = dict(tensors)
        if change is not None:
            change(changed)
        described = dataclasses.replace(checkpoint.architecture, **architecture)
        return PackedNetwork(Body(described, changed, device=CPU, dtype=dtype), attention, 256)

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


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_same_network_passes(make: Make, pooling: Pooling) -> None:
    network = make()
    agreement = same_numbers(network, make(), network.architecture, pooling, half=False)
    assert agreement.enough
    assert agreement.needed == 0.999999
    assert agreement.cosine == pytest.approx(1, abs=1e-9)
    assert agreement.difference == 0


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(make: Make, pooling: Pooling, dtype: torch.dtype) -> None:
    network = make(dtype=dtype)
    a = same_numbers(network, make(), network.architecture, pooling, half=True)
    print(pooling, dtype, a)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_fails(make: Make, pooling: Pooling, mistake: str) -> None:
    network = make(**MISTAKES[mistake])
    agreement = same_numbers(network, make(), network.architecture, pooling, half=False)
    print(mistake, pooling, agreement)
    assert not agreement.enough
