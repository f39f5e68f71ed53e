"""The forward pass in C against the one in NumPy, and that a vector depends on its text alone."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from yusa.encoder import native_network
from yusa.encoder.architecture import Architecture
from yusa.encoder.array_network import ArrayNetwork
from yusa.encoder.base import Pooling
from yusa.encoder.native_network import NativeNetwork, available
from yusa.encoder.ragged import TokenIds

TOLERANCE = 2e-6
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
_TINY: dict[str, Any] = {
    "family": "bert",
    "layers": 2,
    "heads": 4,
    "hidden": 32,
    "intermediate": 64,
    "embedding": 32,
    "vocabulary": 50,
    "positions": 24,
    "position_offset": 0,
    "token_types": 2,
    "epsilon": 1e-12,
    "activation": "gelu",
}
SHAPES: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {"family": "roberta", "position_offset": 2, "token_types": 1, "epsilon": 1e-5},
    "distilbert": {"family": "distilbert", "token_types": 0},
    "electra": {"family": "electra", "embedding": 16},
    "electra with an embedding of 9": {"family": "electra", "embedding": 9},
    "heads of 32": {"hidden": 64, "embedding": 64, "heads": 2, "intermediate": 128},
    "heads of 6": {"hidden": 36, "embedding": 36, "heads": 6, "intermediate": 37},
    "one head of 40": {"hidden": 40, "embedding": 40, "heads": 1, "intermediate": 17},
    "widths of 1": {"hidden": 3, "embedding": 3, "heads": 3, "intermediate": 1},
    "gelu_tanh": {"activation": "gelu_tanh"},
    "relu": {"activation": "relu"},
    "silu": {"activation": "silu"},
    "one layer": {"layers": 1},
    "300 positions": {"positions": 300, "layers": 1},
}

needs_library = pytest.mark.skipif(available() is not None, reason=str(available()))


def model(**shape: Any) -> tuple[Architecture, dict[str, NDArray[np.float32]]]:
    """Random weights, large enough that a wrong computation shows, small enough that rounding does not."""
    architecture = Architecture(**(_TINY | shape))
    random = np.random.default_rng(1)
    tensors = {}
    names = architecture.tensors() | (architecture.pooler_tensors() if architecture.may_have_pooler else {})
    for name, (_, size) in names.items():
        values = random.standard_normal(size).astype(np.float32) * np.float32(0.1 if len(size) == 1 else 0.2)
        tensors[name] = values + np.float32(name.endswith("norm.weight"))
    return architecture, tensors


def texts(lengths: list[int]) -> TokenIds:
    random = np.random.default_rng(2)
    return TokenIds.of([random.integers(0, _TINY["vocabulary"], length).astype(np.int32) for length in lengths])


def poolings(architecture: Architecture) -> tuple[Pooling, ...]:
    return POOLINGS if architecture.may_have_pooler else ("mean", "cls")


@pytest.fixture(scope="module")
def tiny() -> NativeNetwork:
    return NativeNetwork(*model(), threads=2)


@needs_library
@pytest.mark.parametrize("shape", SHAPES)
def test_vectors_and_states_are_those_of_the_array_network(shape: str) -> None:
    architecture, tensors = model(**SHAPES[shape])
    arrays, native = ArrayNetwork(architecture, tensors), NativeNetwork(architecture, tensors)
    longest = architecture.positions
    ids = texts([*range(1, 25), longest, 1, longest - 1, longest, 17])
    for pooling in poolings(architecture):
        expected = arrays.vectors(ids, pooling, normalize=True)
        assert np.abs(native.vectors(ids, pooling, normalize=True) - expected).max() <= TOLERANCE
    for found, wanted in zip(native.hidden(ids), arrays.hidden(ids), strict=True):
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() <= 5 * TOLERANCE  # not normalised: values of several units


@needs_library
def test_float16_tables_are_read_as_they_are_stored() -> None:
    architecture, tensors = model()
    halves = {name: values.astype(np.float16) for name, values in tensors.items()}
    ids = texts([5, 24, 9])
    found = NativeNetwork(architecture, halves).vectors(ids, "mean", normalize=True)
    assert np.abs(found - ArrayNetwork(architecture, halves).vectors(ids, "mean", normalize=True)).max() <= TOLERANCE


@needs_library
def test_extreme_values_become_neither_infinite_nor_nan() -> None:
    architecture, tensors = model(activation="silu")
    for name in tensors:
        if name.endswith(("query.weight", "key.weight", "intermediate.weight", "pooler.weight")):
            tensors[name] = tensors[name] * np.float32(1000)
    found = NativeNetwork(architecture, tensors).vectors(texts([24, 3, 1]), "pooler", normalize=False)
    assert np.isfinite(found).all()


@needs_library
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_vector_has_the_same_bits_in_any_company(tiny: NativeNetwork, pooling: Pooling) -> None:
    lengths = [int(length) for length in np.random.default_rng(3).integers(1, 25, 120)]
    ids = texts(lengths)
    vectors = tiny.vectors(ids, pooling, normalize=False)
    alone = [tiny.vectors(ids.take(np.array([row])), pooling, normalize=False)[0] for row in range(len(ids))]
    assert np.array_equal(vectors, alone)
    order = np.random.default_rng(4).permutation(len(ids))
    assert np.array_equal(vectors[order], tiny.vectors(ids.take(order), pooling, normalize=False))
    some = np.arange(5, 12)
    assert np.array_equal(vectors[some], tiny.vectors(ids.take(some), pooling, normalize=False))


@needs_library
@pytest.mark.parametrize("threads", [2, 3, 5, 70])
def test_the_number_of_threads_changes_no_bit(tiny: NativeNetwork, threads: int) -> None:
    several = NativeNetwork(*model(), threads=threads)
    one = NativeNetwork(*model(), threads=1)
    for ids in (texts([7]), texts([24, 3, 20]), texts([20] * 300)):
        for pooling in POOLINGS:
            vectors = one.vectors(ids, pooling, normalize=True)
            assert np.array_equal(several.vectors(ids, pooling, normalize=True), vectors)


@needs_library
def test_several_threads_may_call_at_once(tiny: NativeNetwork) -> None:
    batches = [texts([1 + (start + i) % 24 for i in range(40)]) for start in range(12)]
    expected = [tiny.vectors(ids, "cls", normalize=True) for ids in batches]
    together = threading.Barrier(4)

    def call(number: int) -> bool:
        together.wait()
        return all(
            np.array_equal(tiny.vectors(batches[i], "cls", normalize=True), expected[i])
            for i in [*range(number, 12), *range(number)]
        )

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(call, range(4)))


@needs_library
def test_a_child_of_fork_computes_too() -> None:
    code = """
import os, sys, warnings
sys.path[:0] = [{folder!r}]
import numpy as np
from test_native_network import NativeNetwork, model, texts
network, ids = NativeNetwork(*model(), threads=3), texts([20])
before = network.vectors(ids, "mean", normalize=True)
warnings.simplefilter("ignore")
child = os.fork()
if not child:
    same = all(np.array_equal(before, network.vectors(ids, "mean", normalize=True)) for _ in range(3))
    os._exit(0 if same else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    folder = __file__.rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", code.format(folder=folder)], timeout=120, check=False)
    assert done.returncode == 0


@needs_library
def test_no_texts(tiny: NativeNetwork) -> None:
    ids = texts([])
    assert tiny.vectors(ids, "mean", normalize=True).shape == (0, 32)
    assert tiny.hidden(ids) == []


@needs_library
def test_a_pooler_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="no pooler"):
        NativeNetwork(*model(family="distilbert", token_types=0)).vectors(texts([3]), "pooler", normalize=True)


@needs_library
@pytest.mark.parametrize("count", [1, 5, 200])
def test_done_hears_of_every_text_once_and_on_the_calling_thread(tiny: NativeNetwork, count: int) -> None:
    ids = texts([1 + i % 24 for i in range(count)])
    heard: list[tuple[list[int], int, int]] = []
    tiny.vectors(
        ids,
        "mean",
        normalize=False,
        done=lambda rows, tokens: heard.append((rows.tolist(), tokens, threading.get_ident())),
    )
    assert sorted(row for rows, _, _ in heard for row in rows) == list(range(count))
    assert sum(tokens for _, tokens, _ in heard) == len(ids.flat)
    assert {thread for _, _, thread in heard} == {threading.get_ident()}
    assert len(heard) > 1 or count < 200


@needs_library
def test_an_interrupt_leaves_the_batches_that_have_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    network = NativeNetwork(*model(), threads=2)
    begun, go_on = [], threading.Event()
    longest = 24  # in the first batch only, which is the one that is waited for

    def forward(ids: TokenIds, result: int, threads: int) -> NDArray[np.float32]:
        begun.append(len(ids))
        if longest not in ids.lengths:
            go_on.wait()
        return np.zeros((len(ids), 32), dtype=np.float32)

    def interrupt(rows: NDArray[np.int64], tokens: int) -> None:
        go_on.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(network, "_forward", forward)
    with pytest.raises(KeyboardInterrupt):
        network.vectors(texts([longest, *[20] * 40_000]), "mean", normalize=False, done=interrupt)
    assert 0 < sum(begun) < 40_001


@pytest.fixture
def unread() -> Iterator[None]:
    native_network._library.cache_clear()
    yield
    native_network._library.cache_clear()


@pytest.mark.usefixtures("unread")
def test_what_is_not_built_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_network, "EXTENSION_SUFFIXES", [".absent"])
    assert "not built" in str(available())
    with pytest.raises(RuntimeError, match="not built"):
        NativeNetwork(*model())
