"""Staging on a device that copies as late as it may: nothing is overwritten before it was copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from late import LateCopies
from torch import Tensor

from yusa.encoder.staging import Copies, CudaCopies, PlainCopies, Staging

CPU = torch.device("cpu")


@pytest.mark.parametrize("copies", [PlainCopies, LateCopies])
def test_parts_arrive_as_they_were_sent(copies: Callable[[], Copies]) -> None:
    staging = Staging(CPU, 100, copies())
    for step in range(5):
        numbers = np.arange(10, dtype=np.int32) + step
        with staging.sent([numbers, np.array([7, step], dtype=np.int64), numbers[:0]]) as (first, second, none):
            assert first.dtype == second.dtype == torch.int32
            assert first.tolist() == numbers.tolist()
            assert second.tolist() == [7, step]
            assert none.tolist() == []


def test_the_host_may_be_one_batch_ahead_but_not_two() -> None:
    copies = LateCopies()
    staging = Staging(CPU, 4, copies)
    waited = []
    for step in range(4):
        with staging.sent([np.array([step], dtype=np.int32)]):
            waited.append(copies.waits)
    assert waited == [0, 0, 1, 2]


def test_a_batch_that_failed_is_waited_for_as_well() -> None:
    copies = LateCopies()
    staging = Staging(CPU, 4, copies)

    def fail() -> None:
        with staging.sent([np.array([1], dtype=np.int32)]):
            raise MemoryError

    with pytest.raises(MemoryError):
        fail()
    for _ in range(2):
        with staging.sent([np.array([2], dtype=np.int32)]):
            pass
    assert copies.waits == 1


def test_a_result_is_read_after_its_copy() -> None:
    copies = LateCopies()
    staging = Staging(CPU, 1, copies)
    there: Tensor = torch.arange(6, dtype=torch.float32).view(2, 3)
    arrival = staging.fetch(there)
    assert copies.waits == 0
    np.testing.assert_array_equal(arrival.array(), there.numpy())
    assert copies.waits == 1


class FakeStream:
    """Writes down what happens on it, in the order of the host's calls."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self._log = log

    def wait_stream(self, other: FakeStream) -> None:
        self._log.append(f"{self.name} waits for {other.name}")

    def record_event(self) -> str:
        self._log.append(f"event on {self.name}")
        return self.name

    def __enter__(self) -> None:
        self._log.append(f"{self.name} {{")

    def __exit__(self, *_: object) -> None:
        self._log.append("}")


def test_copies_on_streams_wait_for_what_they_need_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    names = iter(["into", "out"])
    monkeypatch.setattr("torch.cuda.current_stream", lambda _: FakeStream("work", log))
    monkeypatch.setattr("torch.cuda.Stream", lambda _: FakeStream(next(names), log))
    monkeypatch.setattr("torch.cuda.stream", lambda stream: stream)
    copies: Any = CudaCopies(CPU)
    here, there = torch.zeros(3), torch.ones(3)
    assert log == ["into waits for work"]
    log.clear()
    copies.into(here, there)
    assert here.tolist() == [1, 1, 1]
    assert log == ["into {", "}", "work waits for into"]
    log.clear()
    assert copies.out(there, here * 2) == "out"
    assert there.tolist() == [2, 2, 2]
    assert log == ["out waits for work", "out {", "}", "event on out"]
    assert copies.mark() == "work"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpus_copies_overlap_and_arrive() -> None:
    device = torch.device("cuda")
    staging = Staging(device, 1 << 20)
    random = np.random.default_rng(0)
    results, expected = [], []
    for _ in range(20):
        numbers = random.integers(0, 1000, 1 << 20, dtype=np.int32)
        with staging.sent([numbers]) as (there,):
            results.append(staging.fetch(there.double().mul(2).sqrt()))
        expected.append(np.sqrt(numbers.astype(np.float64) * 2))
    for arrival, numbers in zip(results, expected, strict=True):
        np.testing.assert_allclose(arrival.array(), numbers, rtol=1e-12)
