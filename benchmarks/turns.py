"""Timing in turns: shares of a time limit, medians with their spread, ratios within a round, and bars."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Budget:
    """Seconds for the whole of a run, dealt out by weight; what one part leaves or overdraws the next ones share."""

    seconds: float
    started: float = field(default_factory=time.perf_counter)

    @property
    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.started)

    def share(self, weights: Sequence[float]) -> float:
        """The seconds of the first of these parts."""
        return max(0.0, self.left) * weights[0] / sum(weights)


def in_turns(
    paths: Mapping[str, Callable[[], float]], *, seconds: float, least: int, most: int = 7
) -> dict[str, list[float]]:
    """What each path returns, A B C A B C, for `least` rounds and then while another fits into `seconds`."""
    times: dict[str, list[float]] = {name: [] for name in paths}
    began = time.perf_counter()
    for done in range(most):
        spent = time.perf_counter() - began
        if done >= least and spent + spent / done > seconds:
            break
        for name, run in paths.items():
            times[name].append(run())
    return times


def middle(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Median, least and most of what was measured."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """How many times as long they take, from pairs of the same round."""
    return middle([b / a for a, b in zip(ours, theirs, strict=True)], 3)


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure with what it must be.

    Attributes:
        found: None where nothing was measured.
        sound: whether what the figure stands on was shown to be right; a figure that is not meets nothing.
    """

    name: str
    sign: str
    wanted: float
    found: float | None
    sound: bool = True

    @property
    def met(self) -> bool | None:
        """None where there is no figure, or none that counts."""
        if self.found is None or not self.sound:
            return None
        return self.found >= self.wanted if self.sign == ">=" else self.found <= self.wanted

    def line(self) -> str:
        verdict = {True: "met", False: "NOT MET", None: "void" if self.found is not None else "not measured"}[self.met]
        found = "-" if self.found is None else f"{self.found:.4g}"
        return f"{verdict:12s} {self.name}: {found} (bar {self.sign} {self.wanted:g})"

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be, the first to the left and the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    )
