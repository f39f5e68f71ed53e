"""The forward pass in NumPy: its functions against torch's, and what a caller may rely on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from yusa.encoder.array_network import _ACTIVATE, _SETTLED, ArrayNetwork
from yusa.encoder.base import Pooling
from yusa.encoder.body import ACTIVATE, Body
from yusa.encoder.checkpoint import load_checkpoint
from yusa.encoder.network import Network
from yusa.encoder.ragged import TokenIds

Make = Callable[..., Path]


def some_ids(lengths: list[int], vocabulary: int = 200) -> TokenIds:
    flat = np.random.default_rng(0).integers(0, vocabulary, sum(lengths), dtype=np.int32)
    return TokenIds(flat, np.array(lengths, dtype=np.int64))


@pytest.fixture
def network(tiny_bert: Path) -> ArrayNetwork:
    checkpoint = load_checkpoint(tiny_bert)
    return ArrayNetwork(checkpoint.architecture, checkpoint.tensors)


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "relu", "silu"])
def test_activations_are_torchs(name: str) -> None:
    x = np.concatenate([np.linspace(-12, 12, 20_001), [-200, -100, -88, 0, 88, 200]]).astype(np.float32)[None]
    ours = _ACTIVATE[name](x.copy())
    np.testing.assert_allclose(ours, ACTIVATE[name](torch.from_numpy(x.copy())).numpy(), atol=3e-7, rtol=3e-7)


def test_gelu_is_the_one_of_the_error_function() -> None:
    x = np.linspace(-6, 6, 4001).astype(np.float32)[None]
    exact = functional.gelu(torch.from_numpy(x).double()).numpy()
    assert np.abs(_ACTIVATE["gelu"](x.copy()) - exact).max() < 6e-7
    assert np.abs(_ACTIVATE["gelu_tanh"](x.copy()) - exact).max() > 1e-4, "the check would see the other one"


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta", "electra", "electra-same-width", "distilbert"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_it_agrees_with_torchs_network(make_checkpoint: Make, kind: str, pooling: Pooling) -> None:
    checkpoint = load_checkpoint(make_checkpoint(kind))
    if pooling == "pooler" and not checkpoint.has_pooler:
        pytest.skip("no pooler")
    ours = ArrayNetwork(checkpoint.architecture, checkpoint.tensors)
    device = torch.device("cpu")
    theirs = Network(Body(checkpoint.architecture, checkpoint.tensors, device=device, dtype=torch.float32))
    ids = some_ids([1, 24, 3, 3, 17, 1, 24, 8])
    for normalize in (False, True):
        expected = theirs.vectors(ids, pooling, normalize=normalize)
        for _ in range(_SETTLED + 1):
            found = ours.vectors(ids, pooling, normalize=normalize)
            np.testing.assert_allclose(found, expected, atol=2e-6 if normalize else 1e-5)
    for states, wanted in zip(ours.hidden(ids), theirs.hidden(ids), strict=True):
        np.testing.assert_allclose(states, wanted, atol=1e-5)


def test_a_vector_does_not_depend_on_its_batch_or_on_how_often_it_was_asked(network: ArrayNetwork) -> None:
    ids = some_ids([5, 1, 24, 9, 9, 2] * 4)
    first = network.vectors(ids, "mean", normalize=True)
    for tokens in (1, 30, 10_000):
        network.tokens = tokens
        np.testing.assert_allclose(network.vectors(ids, "mean", normalize=True), first, atol=2e-6)
    alone = [network.vectors(TokenIds.of([ids[row]]), "mean", normalize=True)[0] for row in range(len(ids))]
    np.testing.assert_allclose(alone, first, atol=2e-6)


def test_every_row_is_reported_once_with_its_tokens(network: ArrayNetwork) -> None:
    ids = some_ids([5, 1, 24, 9, 9, 2])
    network.tokens = 24
    calls: list[tuple[NDArray[np.int64], int]] = []
    network.vectors(ids, "cls", normalize=True, done=lambda rows, tokens: calls.append((rows, tokens)))
    assert sorted(np.concatenate([rows for rows, _ in calls]).tolist()) == list(range(6))
    assert [tokens for _, tokens in calls] == [ids.lengths[rows].sum() for rows, _ in calls]
    assert len(calls) > 2


def test_no_texts_and_no_pooler(network: ArrayNetwork, make_checkpoint: Make) -> None:
    assert network.vectors(some_ids([]), "mean", normalize=True).shape == (0, 32)
    assert network.hidden(some_ids([])) == []
    checkpoint = load_checkpoint(make_checkpoint("distilbert"))
    with pytest.raises(ValueError, match="no pooler"):
        ArrayNetwork(checkpoint.architecture, checkpoint.tensors).vectors(some_ids([3]), "pooler", normalize=True)


def test_threads_may_share_it_while_its_matrices_are_laid_out_anew(network: ArrayNetwork) -> None:
    ids = some_ids([7, 12])
    expected = network.vectors(ids, "mean", normalize=True)
    found: list[Any] = []

    def work() -> None:
        found.extend(network.vectors(ids, "mean", normalize=True) for _ in range(_SETTLED))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 * _SETTLED
    for vectors in found:
        np.testing.assert_allclose(vectors, expected, atol=2e-6)


def test_stored_half_precision_is_computed_in_float32(tiny_bert: Path) -> None:
    checkpoint = load_checkpoint(tiny_bert)
    halves = {name: tensor.astype(np.float16) for name, tensor in checkpoint.tensors.items()}
    singles = {name: tensor.astype(np.float32) for name, tensor in halves.items()}
    ids = some_ids([6, 11])
    half, single = (
        ArrayNetwork(checkpoint.architecture, tensors).vectors(ids, "mean", normalize=True)
        for tensors in (halves, singles)
    )
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, single, atol=1e-6)
