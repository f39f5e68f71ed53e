"""What a writer acknowledged before it was killed, and what the index may hold after that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from campaign.model import World
from campaign.operations import Operation
from campaign.plan import operation

_VISIBLE = frozenset({"put", "delete", "tune", "switch"})
"""Kinds of commits that change what is found; what else commits only moves or prepares."""


@dataclass
class Heard:
    """Follows the lines of one writer.

    Attributes:
        states: through which the operation under way leads; the one state there is between two operations.
        acknowledged: how many of its commits that can be seen were acknowledged.
        sequence: the last one that was acknowledged, -1 where it says nothing of the index that is there.
        spent: it came to the end of its plan without meeting its point.
        error: what the writer said when it failed by itself, or a contradiction in what it said.
    """

    seed: int
    step: int
    world: World
    states: list[World] = field(init=False)
    under_way: Operation | None = None
    acknowledged: int = 0
    sequence: int = -1
    commits: int = 0
    operations: int = 0
    error: str = ""
    begun: bool = False
    spent: bool = False
    _rest: bytes = b""

    def __post_init__(self) -> None:
        self.states = [self.world]

    def take(self, block: bytes) -> None:
        """Read on; the last line of a killed writer may be cut."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            getattr(self, f"_{word}")(rest)

    @property
    def kind(self) -> str:
        """Of the operation under way, for reports."""
        return self.under_way.kind if self.under_way else "between operations"

    def allowed(self) -> Iterator[int]:
        """Which of the states the index may be in: what was acknowledged, or that and one commit more."""
        last = len(self.states) - 1
        yield min(self.acknowledged, last)
        if self.acknowledged < last:
            yield self.acknowledged + 1

    def _begin(self, rest: str) -> None:
        self.begun = True
        self.step = int(rest)
        self.under_way = operation(self.seed, self.step, self.world)
        self.states = self.under_way.states(self.world)
        self.acknowledged = 0

    def _commit(self, rest: str) -> None:
        sequence, kind = rest.split(" ", 1)
        self.commits += 1
        self.sequence = int(sequence)
        now = self.under_way
        if now is not None and now.counted:
            self.acknowledged += kind in _VISIBLE

    def _end(self, rest: str) -> None:
        now = self.under_way
        assert now is not None
        self.operations += 1
        expected = len(self.states) - 1
        if now.counted and self.acknowledged != expected:
            self.error = f"step {self.step} ({now.kind}) made {self.acknowledged} commits instead of {expected}"
        if now.replaces:
            self.sequence = -1
        self.world = self.states[-1]
        self.states, self.under_way, self.acknowledged = [self.world], None, 0
        self.step += 1

    def _spent(self, rest: str) -> None:
        self.spent = True

    def _failed(self, rest: str) -> None:
        self.error = f"the writer failed by itself: {rest}"
