"""The parent: forks a writer, kills it, has the rest checked, and goes on from there."""

from __future__ import annotations

import gc
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from campaign.checker import Case, Verdict, check
from campaign.child import follow
from campaign.heard import Heard
from campaign.model import FIRST, Contents, World
from campaign.operations import Operation
from campaign.plan import operation, probe
from campaign.points import MOMENT, Point, choose
from campaign.session import Session, shrink
from campaign.tally import Finding, Tally

ROUND = 25
"""Kills of one index; then the next begins."""
_COPIES = 3
_PATIENCE = 60.0
_WRITES = 0.6
_SHOWN = 3


@dataclass
class Campaign:
    """Rounds of kills. Every odd round is killed at named points alone, so that it replays exactly.

    Attributes:
        broken: breaks the product in the writer, to show that the checks see it.
        stop: end with the first finding.
        only: the kinds of named points, instead of all kinds and random moments.
    """

    directory: Path
    seed: int
    stop: bool = False
    only: Sequence[str] = ()
    broken: Callable[[], None] | None = None
    say: Callable[[str], None] = print
    tally: Tally = field(default_factory=Tally)

    def run(self, kills: int, *, first_round: int = 0) -> Tally:
        """Kill so many writers, or until a finding where that ends it."""
        begun = time.monotonic()
        shrink()
        self._warm()
        number = first_round
        while self.tally.kills < kills and not (self.stop and self.tally.findings):
            self._round(number, min(ROUND, kills - self.tally.kills))
            number += 1
            self.tally.seconds = time.monotonic() - begun
            self.say(f"round {number - 1}: {self.tally.kills} kills, {len(self.tally.findings)} findings")
        return self.tally

    def _warm(self) -> None:
        """Import what the product imports late, so that no child does; the index is thrown away."""
        root = self.directory / "warm"
        root.mkdir(parents=True)
        session = Session(root)
        session.create()
        world = World(Contents({}, FIRST))
        for step in range(20):
            now = operation(0, step, world)
            now.run(session, world)
            world = _last(now, world)
        session.close()
        case = Case(root, 0, [world], [0], -1, None, write=False)
        verdict = check(case)
        assert not verdict.findings, verdict
        shutil.rmtree(root)
        gc.collect()
        gc.freeze()

    def _round(self, number: int, kills: int) -> None:
        root = self.directory / f"round-{number}"
        root.mkdir()
        Session(root).create()
        random = np.random.default_rng([self.seed, number, 1])
        plan = int(np.random.default_rng([self.seed, number]).integers(2**32))
        moments = 0.0 if number % 2 or self.only else 0.5
        world, step = World(Contents({}, FIRST)), 0
        for _ in range(kills):
            point = choose(random, moments, self.only)
            write = bool(random.random() < _WRITES)
            heard = self._kill(root, plan, step, world, point)
            case = Case(
                root,
                heard.step,
                heard.states,
                list(heard.allowed()),
                heard.sequence,
                heard.under_way,
                write,
                frozenset(world.copies),
            )
            verdict = _checked(case)
            if heard.error:
                verdict.findings.insert(0, ("failed", heard.error))
            self._count(number, heard, verdict, point, root)
            if verdict.findings:
                return
            world = _following(heard, verdict)
            step = heard.step + 1
            world = _tidied(world, root)
        shutil.rmtree(root)

    def _kill(self, root: Path, plan: int, step: int, world: World, point: Point) -> Heard:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            # Nothing may come out of here into a second parent.
            try:
                os.close(read)
                if self.broken is not None:
                    self.broken()
                follow(root, plan, step, world, point, write)
            finally:
                os._exit(1)
        os.close(write)
        heard = Heard(plan, step, world)
        deadline = time.monotonic() + _PATIENCE
        timed = point.kind != MOMENT
        while True:
            ready, _, _ = select.select([read], [], [], max(0.0, deadline - time.monotonic()))
            block = os.read(read, 65536) if ready else b""
            if not block:
                break
            heard.take(block)
            if heard.begun and not timed:
                timed, deadline = True, time.monotonic() + point.seconds
        hung = not ready and point.kind != MOMENT
        os.kill(child, signal.SIGKILL)
        while block := os.read(read, 65536):
            heard.take(block)
        os.close(read)
        _, status = os.waitpid(child, 0)
        if hung:
            heard.error = heard.error or "the writer hung"
        elif not os.WIFSIGNALED(status) and not heard.error:
            heard.error = f"the writer ended by itself with status {status}"
        return heard

    def _count(self, number: int, heard: Heard, verdict: Verdict, point: Point, root: Path) -> None:
        tally = self.tally
        tally.kills += 1
        met = "end of its plan" if heard.spent else f"{point.kind}, {point.when}" if point.when else point.kind
        tally.points[met] += 1
        tally.operations[heard.kind] += 1
        tally.commits += heard.commits
        tally.finished += heard.operations
        tally.written += verdict.written
        tally.ahead += not verdict.findings and verdict.state > heard.acknowledged
        tally.left.update(verdict.left)
        sentences: dict[str, list[str]] = {}
        for kind, sentence in verdict.findings:
            sentences.setdefault(kind, []).append(sentence)
        for kind, said in sentences.items():
            shown = "; ".join(said[:_SHOWN]) + (f"; and {len(said) - _SHOWN} more" if len(said) > _SHOWN else "")
            finding = Finding(kind, number, tally.kills, str(point), heard.kind, shown, str(root))
            tally.findings.append(finding)
            self.say(str(finding))


def _last(now: Operation, world: World) -> World:
    return now.states(world)[-1]


def _following(heard: Heard, verdict: Verdict) -> World:
    """The world after a check."""
    world = heard.states[verdict.state]
    if verdict.written:
        return _last(probe(heard.step), heard.states[-1] if verdict.rerun else world)
    if verdict.state == 0 and heard.under_way is not None:
        return heard.under_way.interrupted(world)
    return world


def _tidied(world: World, root: Path) -> World:
    """The world with its newest copies alone."""
    names = list(world.copies)
    for name in names[:-_COPIES]:
        shutil.rmtree(root / "copies" / name)
    return replace(world, copies={name: world.copies[name] for name in names[-_COPIES:]})


def _checked(case: Case) -> Verdict:
    """A check in a process of its own."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            signal.alarm(int(_PATIENCE))
            with os.fdopen(write, "w", encoding="utf-8") as pipe:
                json.dump(check(case).to_dict(), pipe)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        return Verdict(findings=[("other", f"the check died with status {status}")])
    return Verdict(**json.loads(told))
