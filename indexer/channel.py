"""What joins two threads of the pipeline: a bounded queue that can be called off."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.2


class CalledOffError(Exception):
    """The channel was called off; whoever uses it ends."""


class Channel(Generic[T]):
    """At most `size` items wait."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._finished = False
        self._called_off = False

    def put(self, item: T) -> None:
        """Waits for room.

        Raises:
            CalledOffError: nobody takes any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._size or self._called_off)
            if self._called_off:
                raise CalledOffError
            self._items.append(item)
            self._changed.notify_all()

    def finish(self) -> None:
        """No item follows; those that wait are still taken."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def call_off(self) -> None:
        """Drops what waits and wakes everybody."""
        with self._changed:
            self._called_off = True
            self._items.clear()
            self._changed.notify_all()

    def items(self, stop: threading.Event | None = None) -> Iterator[T]:
        """What was put, until the giver has finished or `stop` is set.

        Raises:
            CalledOffError: the channel was called off.
        """
        while True:
            with self._changed:
                # An event cannot wake a condition, and whoever waits here may wait for a stream that stands still.
                while not (self._items or self._finished or self._called_off or (stop and stop.is_set())):
                    self._changed.wait(_POLL_SECONDS if stop else None)
                if self._called_off:
                    raise CalledOffError
                if not self._items or (stop and stop.is_set()):
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
