"""A stretch of a text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """`text[start:end]`: code points, end exclusive."""

    start: int
    end: int


def stripped(text: str, start: int, end: int) -> Span | None:
    """The span without outer white space, None where nothing else is in it."""
    inner = text[start:end].lstrip()
    if not inner:
        return None
    start = end - len(inner)
    return Span(start, start + len(inner.rstrip()))
