"""Copies between the host and a GPU that run beside the GPU's work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Mark(Protocol):
    """A point in a device's work."""

    def synchronize(self) -> None:
        """Wait until the device is past it."""


class Copies(Protocol):
    """How copies are started and waited for on one kind of device.

    Attributes:
        pinned: whether host memory must be page-locked for a copy to run beside other work.
    """

    pinned: bool

    def into(self, there: Tensor, here: Tensor) -> None:
        """Start a copy to the device; work queued from now on sees it."""

    def out(self, here: Tensor, there: Tensor) -> Mark:
        """Start a copy to the host of what the work queued until now leaves in `there`."""

    def mark(self) -> Mark:
        """Behind all work queued until now."""


class _Now:
    def synchronize(self) -> None: ...


class PlainCopies:
    """For a CPU, where work is done when its call returns."""

    pinned = False

    def into(self, there: Tensor, here: Tensor) -> None:
        there.copy_(here)

    def out(self, here: Tensor, there: Tensor) -> Mark:
        here.copy_(there)
        return _Now()

    def mark(self) -> Mark:
        return _Now()


class CudaCopies:
    """One stream per direction, so that a result waiting for its work does not hold up the next input."""

    pinned = True

    def __init__(self, device: torch.device) -> None:
        self._work = torch.cuda.current_stream(device)
        stream: Any = torch.cuda.Stream  # untyped in torch
        self._into, self._out = stream(device), stream(device)
        # A buffer made on the stream of the work may be memory that work before it still reads.
        self._into.wait_stream(self._work)

    def into(self, there: Tensor, here: Tensor) -> None:
        with torch.cuda.stream(self._into):
            there.copy_(here, non_blocking=True)
        self._work.wait_stream(self._into)

    def out(self, here: Tensor, there: Tensor) -> Mark:
        self._out.wait_stream(self._work)
        with torch.cuda.stream(self._out):
            here.copy_(there, non_blocking=True)
        return cast(Mark, self._out.record_event())

    def mark(self) -> Mark:
        return cast(Mark, self._work.record_event())


@dataclass(frozen=True, slots=True)
class Arrival:
    """A copy to the host under way."""

    here: Tensor
    mark: Mark
    source: Tensor  # held, as its memory must not be given away before the copy is done

    def array(self) -> NDArray[Any]:
        """What was copied; waits for it."""
        self.mark.synchronize()
        return self.here.numpy()


class Staging:
    """Two buffers for inputs, filled in turn: one is filled while the device works on the other. For one thread.

    Args:
        capacity: int32 numbers of one batch at most.
    """

    def __init__(self, device: torch.device, capacity: int, copies: Copies | None = None) -> None:
        there = [torch.empty(capacity, dtype=torch.int32, device=device) for _ in range(2)]
        self._copies = copies or (CudaCopies(device) if device.type == "cuda" else PlainCopies())
        here = [torch.empty(capacity, dtype=torch.int32, pin_memory=self._copies.pinned) for _ in range(2)]
        self._buffers = list(zip(here, there, strict=True))
        self._used: list[Mark] = [_Now(), _Now()]
        self._turn = 0

    @contextmanager
    def sent(self, parts: Sequence[NDArray[np.integer]]) -> Iterator[list[Tensor]]:
        """The parts on the device, int32, to be used inside the `with` only.

        Entering waits for the work of the `with` before the last one, so at most two batches are under way.
        """
        turn, self._turn = self._turn, 1 - self._turn
        self._used[turn].synchronize()
        here, there = self._buffers[turn]
        lengths = [len(part) for part in parts]
        total = sum(lengths)
        np.concatenate(parts, out=here.numpy()[:total], casting="same_kind")
        self._copies.into(there[:total], here[:total])
        try:
            yield list(torch.split(there[:total], lengths))
        finally:  # also after a failure: kernels that were started read the buffer
            self._used[turn] = self._copies.mark()

    def fetch(self, there: Tensor) -> Arrival:
        """Start copying what the work queued until now leaves in `there`, which must not be changed after it."""
        here = torch.empty(there.shape, dtype=there.dtype, pin_memory=self._copies.pinned)
        return Arrival(here, self._copies.out(here, there), there)
