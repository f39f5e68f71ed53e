"""How far `yusa index` is: a live bar on a terminal, a line every few seconds elsewhere. Both write to stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from yusa.service.cli.console import console, say

if TYPE_CHECKING:
    from rich.console import Console

    from yusa.indexer import Progress

SECONDS_BETWEEN_LINES = 5.0
STOPPING = "stopping after the batch in flight; Ctrl-C again stops at once"


class Reporter(Protocol):
    """Shows progress while it is entered."""

    def __call__(self, progress: Progress) -> None: ...

    def stopping(self) -> None:
        """Says that the run ends early. Called in a signal handler."""

    def paused(self) -> AbstractContextManager[None]:
        """A context in which the terminal is free for a question."""


class Lines:
    """One line at the first news, then at most one every few seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = float("-inf")

    def __call__(self, progress: Progress) -> None:
        if self._clock() < self._next:
            return
        self._next = self._clock() + SECONDS_BETWEEN_LINES
        say(describe(progress))

    def stopping(self) -> None:
        # Not through sys.stderr: the signal may have come in the middle of a write to it.
        os.write(2, f"{STOPPING}\n".encode())

    def paused(self) -> AbstractContextManager[None]:
        return nullcontext()


class Live:
    """A bar that redraws itself on a terminal."""

    def __init__(self, terminal: Console) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=terminal,
            transient=True,
        )
        self._task = self._bar.add_task("reading", total=None)
        self._ending = ""

    def __call__(self, progress: Progress) -> None:
        self._bar.update(
            self._task,
            description=describe(progress) + self._ending,
            completed=share_done(progress),
            total=1.0 if progress.bytes_total else None,
        )

    def stopping(self) -> None:
        self._ending = f"\n{STOPPING}"

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()

    @contextmanager
    def shown(self) -> Iterator[None]:
        with self._bar:
            yield


@contextmanager
def reporter() -> Iterator[Reporter]:
    """The reporter that fits stderr, on show while the context lasts."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    live = Live(console(stderr=True))
    with live.shown():
        yield live


def describe(progress: Progress) -> str:
    """Documents, passages, speed, and the time left where it can be told."""
    speed = progress.tokens / progress.seconds if progress.seconds else 0.0
    text = f"{progress.done:,} documents, {progress.passages:,} passages, {speed:,.0f} tokens/s"
    share = share_done(progress)
    return f"{text}, {duration(progress.seconds * (1 - share) / share)} left" if 0 < share < 1 else text


def share_done(progress: Progress) -> float:
    """The part of all bytes whose documents are done, from 0 to 1; 0 where that cannot be told.

    Reading runs ahead, so the bytes that were read count as far as the documents in them are done.
    """
    if not progress.bytes_total or not progress.documents:
        return 0.0
    return min(1.0, progress.bytes_read / progress.bytes_total) * progress.done / progress.documents


def duration(seconds: float) -> str:
    """Seconds for people: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
