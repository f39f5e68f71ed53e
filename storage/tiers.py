"""Which neighbours to merge, so that a vector is rewritten O(log n) times and O(log n) pieces remain."""

from __future__ import annotations

from collections.abc import Sequence


def merge_start(sizes: Sequence[int], *, factor: int, largest: int) -> int | None:
    """Where to start merging up to the end, or None if the pieces are well tiered.

    A piece is merged with all that follow when together they are `factor` times its size, so each merge makes the piece
    a vector lives in at least `factor` + 1 times as large.

    Args:
        sizes: oldest first.
        largest: no merge makes a piece larger than this.
    """
    start = None
    after = 0
    for position in range(len(sizes) - 1, -1, -1):
        size = sizes[position]
        if after + size > largest:
            break
        if position < len(sizes) - 1 and size * factor <= after:
            start = position
        after += size
    return start


def small_run(sizes: Sequence[int], *, largest: int) -> tuple[int, int] | None:
    """Start and end of the first neighbours that `merge_start` no longer reaches and that deletions have left small.

    Without it an index larger than `largest` would keep a piece, though an empty one, for all it has ever held. Of what
    is left, two neighbours always have more than a quarter of `largest` together.

    Args:
        sizes: oldest first.
    """
    reached, after = len(sizes), 0
    while reached and after + sizes[reached - 1] <= largest:
        reached -= 1
        after += sizes[reached]
    for start in range(reached - 1):
        end, total = start + 1, sizes[start]
        while end < reached and total + sizes[end] <= largest // 4:
            total += sizes[end]
            end += 1
        if end > start + 1:
            return start, end
    return None


def run_start(sizes: Sequence[int], *, width: int = 16) -> int | None:
    """Where the last run of `width` or more pieces of about equal size starts, or None while it is shorter.

    Merging such runs rewrites a piece once for every factor of `width` in size and leaves less than `width` pieces of
    each magnitude.

    Args:
        sizes: oldest first.
    """
    pieces = list(sizes)
    found = None
    while pieces:
        start, level = len(pieces), _magnitude(pieces[-1], width)
        while start > 0 and _magnitude(pieces[start - 1], width) <= level:
            start -= 1
        if len(pieces) - start < width:
            break
        # What the merge makes may be the last that a run of larger pieces was waiting for.
        found, pieces[start:] = start, [sum(pieces[start:])]
    return found


def _magnitude(size: int, width: int) -> int:
    magnitude = 0
    while size >= width:
        size //= width
        magnitude += 1
    return magnitude
