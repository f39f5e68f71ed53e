"""The writer that is killed: it follows the plan and says through a pipe what it begins, commits and ends."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path

from campaign.commits import Commit, watch_commits
from campaign.model import World
from campaign.plan import operation
from campaign.points import CommitPoint, Point, arm, die
from campaign.session import Session

OPERATIONS = 8
"""After so many a writer that no point has stopped is killed all the same."""


def follow(root: Path, seed: int, step: int, world: World, point: Point, pipe: int) -> None:
    """Change the index step by step until the kill; an exception is told and ends it."""

    def tell(*words: object) -> None:
        os.write(pipe, " ".join(map(str, words)).encode() + b"\n")

    def committed(commit: Commit) -> None:
        tell("commit", commit.sequence, commit.kind)

    try:
        watch(point, committed)
        arm(point, root)
        session = Session(root, world.index.encoding.name)
        for step_now in range(step, step + OPERATIONS):
            now = operation(seed, step_now, world)
            tell("begin", step_now)
            now.run(session, world)
            tell("end", step_now)
            world = now.states(world)[-1]
    except BaseException:  # noqa: BLE001  (the parent reports it)
        tell("failed", ascii(traceback.format_exc()))
        os._exit(1)
    tell("spent")
    die()


def watch(point: Point, committed: Callable[[Commit], None]) -> None:
    """Acknowledge commits, and die at one if that is the point."""
    dying = CommitPoint(point)
    watch_commits(dying.before, dying.after, committed)
