"""A device's copies that are made at the last moment at which a real device may make them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class LateMark:
    def __init__(self, copies: LateCopies, waiting: Callable[[], object] | None = None) -> None:
        self._copies = copies
        self._waiting = waiting

    def synchronize(self) -> None:
        self._copies.waits += 1
        if self._waiting is not None:
            self._waiting()
            self._waiting = None


class LateCopies:
    """Work is done when queued, as on any CPU, but results are copied only when they are waited for.

    Attributes:
        waits: how often the host waited.
    """

    pinned = False

    def __init__(self) -> None:
        self.waits = 0

    def into(self, there: Tensor, here: Tensor) -> None:
        there.copy_(here)

    def out(self, here: Tensor, there: Tensor) -> LateMark:
        here.zero_()
        return LateMark(self, lambda: here.copy_(there))

    def mark(self) -> LateMark:
        return LateMark(self)
