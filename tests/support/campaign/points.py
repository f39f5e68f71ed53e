"""Where a writer is killed: at a moment, or before, after or in the middle of its n-th commit or change on disk."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import syscalls

from campaign import patches

MOMENT: Final = "moment"
COMMIT: Final = "commit"
ANY: Final = "any change"

_KINDS: Final = {
    "create a file": "c",
    "write": "w",
    "grow": "g",
    "truncate": "t",
    "fsync": "s",
    "fdatasync": "d",
    "fsync of a directory": "D",
    "rename": "r",
    "unlink": "u",
    "make a directory": "k",
    ANY: "",
}
_SEGMENT_KINDS: Final = {"write of a segment": "w", "fsync of a segment": "sd", "create a segment": "c"}
# How far into its life a writer is killed at most: the rarer the kind, the sooner.
_REACH: Final = {"write": 200, ANY: 300, COMMIT: 20, "write of a segment": 40, "fdatasync": 30, "create a file": 12}
_REACH_OTHERS: Final = 6


@dataclass(frozen=True, slots=True)
class Point:
    """Attributes:
    when: "before", "after", "torn" (half of a write) or, of a moment, "".
    nth: of its kind, from 1.
    seconds: of a moment, after the first operation began.
    """

    kind: str
    when: str = ""
    nth: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.seconds:.3f} s after its start" if self.kind == MOMENT else f"{self.when} {self.kind} {self.nth}"


def kinds() -> list[str]:
    """The kinds of named points that this process can die at."""
    return [COMMIT, *(_KINDS | _SEGMENT_KINDS if syscalls.loaded() else patches.KINDS)]


def choose(random: np.random.Generator, moments: float, only: Sequence[str] = ()) -> Point:
    """Where the next writer is killed.

    Args:
        moments: the share of kills at random moments.
        only: the kinds of named points there are, instead of all.
    """
    if random.random() < moments:
        return Point(MOMENT, seconds=float(random.random()) * 0.2)
    kind = str(random.choice(only or [COMMIT, *kinds()]))
    reach = _REACH.get(kind, _REACH_OTHERS)
    ways = ["before", "after"]
    if syscalls.loaded() and kind in {"write", ANY, "write of a segment"}:
        ways.append("torn")
    return Point(kind, str(random.choice(ways)), int(random.integers(1, reach + 1)))


def arm(point: Point, root: Path) -> None:
    """Arrange that this process dies at a change on disk; of a commit `CommitPoint` sees to it."""
    if point.kind in {MOMENT, COMMIT}:
        return
    if not syscalls.loaded():
        patches.arm(point.kind, point.when, point.nth, root)
        return
    actions = {
        "before": syscalls.Action.KILL_BEFORE,
        "after": syscalls.Action.KILL_AFTER,
        "torn": syscalls.Action.TORN,
    }
    segment = point.kind in _SEGMENT_KINDS
    folder = root / "index" / "segments"
    syscalls.only((_KINDS | _SEGMENT_KINDS)[point.kind])
    # The very first segment makes its folder; until then any file counts.
    syscalls.watch(folder if segment and folder.is_dir() else root)
    syscalls.arm(point.nth, actions[point.when])


class CommitPoint:
    """Kills this process before or after its n-th commit."""

    def __init__(self, point: Point) -> None:
        self._left = point.nth if point.kind == COMMIT else 0
        self._when = point.when

    def before(self) -> None:
        self._left -= 1
        if self._left == 0 and self._when == "before":
            die()

    def after(self) -> None:
        if self._left == 0 and self._when == "after":
            die()


def die() -> None:
    """SIGKILL for this process."""
    os.kill(os.getpid(), signal.SIGKILL)
