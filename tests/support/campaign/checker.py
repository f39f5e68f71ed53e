"""After a kill, in a process of its own: which state the index is in, whether it is whole, and whether it goes on."""

from __future__ import annotations

import re
import shutil
import sqlite3
import traceback
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from campaign.contents import differences, held, problems, same, unsound
from campaign.model import Contents, World
from campaign.operations import Operation
from campaign.plan import probe
from campaign.session import Session, open_index

_SELDOM = 12
_OWN = re.compile(r"index\.db(-wal|-shm|\.format-\d+)?|writer\.lock|segments|rejects\.jsonl")


@dataclass
class Verdict:
    """What a check found.

    Attributes:
        state: the number of the state the index is in.
        written: whether one more document was added.
        rerun: whether the operation under way was done again to its end before that.
        findings: kind ("lost", "half", "crossed", "unopened", "other") and sentence.
        left: names that a killed backup or restore left beside the index and its copies.
    """

    state: int = 0
    written: bool = False
    rerun: bool = False
    findings: list[tuple[str, str]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Case:
    """What has to be checked.

    Attributes:
        states, allowed: what the model says; see `Heard`.
        sequence: the last acknowledged one, -1 for none.
        write: also write, after which nothing may be left of the kill.
        older: copies that no writer has met since they were checked.
    """

    root: Path
    step: int
    states: list[World]
    allowed: list[int]
    sequence: int
    under_way: Operation | None
    write: bool
    older: frozenset[str] = frozenset()


def check(case: Case) -> Verdict:
    """Look at what a kill left, and go on from it if the case says so."""
    verdict = Verdict()
    session = Session(case.root, case.states[-1].index.encoding.name)
    opened = False
    try:
        index = session.index
        opened = True
        _find_state(case, session, verdict)
        if not verdict.findings:
            model = case.states[verdict.state]
            verdict.findings += problems(index, model.index, seed=case.step)
            verdict.findings += unsound(index, session.path)
            _check_copies(case, session, model, verdict)
            _check_replaced(case, session, verdict)
        if not verdict.findings and case.write:
            _write(case, session, verdict)
    except Exception:  # noqa: BLE001  (it is a finding)
        verdict.findings.append(("other" if opened else "unopened", traceback.format_exc()))
    finally:
        session.close()
    return verdict


def _find_state(case: Case, session: Session, verdict: Verdict) -> None:
    there = held(session.index)
    copies = {path.name for path in session.copies.iterdir() if not path.name.startswith(".")}
    for state in case.allowed:
        model = case.states[state]
        if same(there, model.index) and copies == set(model.copies):
            verdict.state = state
            break
    else:
        kind, sentence = differences(there, case.states[case.allowed[0]].index, case.states[case.allowed[-1]].index)
        gone = [s for s, world in enumerate(case.states[: case.allowed[0]]) if same(there, world.index)]
        if gone:
            kind, sentence = "lost", f"the index is as it was before {case.allowed[0] - gone[-1]} acknowledged commits"
        verdict.findings.append((kind, f"{sentence} (copies {sorted(copies)})"))
        return
    moved = case.under_way is not None and case.under_way.replaces and verdict.state > 0
    if (sequence := session.index.refresh()) < case.sequence and not moved:
        verdict.findings.append(("lost", f"sequence {case.sequence} was acknowledged, {sequence} is there"))


def _check_copies(case: Case, session: Session, model: World, verdict: Verdict) -> None:
    """The copies of the last writer are whole, at times an older one; what else stands beside them is swept."""
    for path in session.copies.iterdir():
        if path.name.startswith("."):
            verdict.left.append(path.name.split(".")[-1])
            shutil.rmtree(path)
    for number, (name, contents) in enumerate(model.copies.items()):
        if name not in case.older or case.step % _SELDOM == number:
            verdict.findings += _whole(session.copies / name, contents, case.step)


def _whole(path: Path, model: Contents, step: int) -> Iterable[tuple[str, str]]:
    try:
        with open_index(path, model.encoding.name) as copy:
            if not same(held(copy), model):
                return [("other", f"{path.name} is not what it was copied from")]
            return [*problems(copy, model, seed=step), *unsound(copy, path)]
    except Exception:  # noqa: BLE001  (it is a finding)
        return [("unopened", f"{path.name}: {traceback.format_exc()}")]


def _check_replaced(case: Case, session: Session, verdict: Verdict) -> None:
    """What a restore moved out of the way is kept; then it is swept, and so is what else a kill left there."""
    others = [path for path in session.root.iterdir() if path not in {session.path, session.copies}]
    kept = [path for path in others if path.name.startswith("index.replaced")]
    restored = case.under_way is not None and case.under_way.replaces and verdict.state == 1
    if restored and case.states[0] != case.states[1]:
        if not kept:
            verdict.findings.append(("lost", f"the replaced index was not kept: {[path.name for path in others]}"))
        else:
            newest = max(kept, key=lambda path: path.stat().st_mtime_ns)
            verdict.findings += _whole(newest, case.states[0].index, case.step)
    for path in others:
        if path not in kept:
            verdict.left.append(path.name.split(".")[-1])
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _write(case: Case, session: Session, verdict: Verdict) -> None:
    """The operation under way once more to its end, then one more document; nothing is left over after that."""
    now = case.under_way
    world = case.states[verdict.state]
    if now is not None and verdict.state < len(case.states) - 1:
        now.run(session, now.interrupted(world) if verdict.state == 0 else world)
        world = case.states[-1]
        verdict.rerun = True
    more = probe(case.step)
    more.run(session, world)
    world = more.states(world)[-1]
    verdict.written = True
    index = session.index
    if not same(held(index), world.index):
        verdict.findings.append(("other", "the next writes did not lead to what they had to"))
        return
    verdict.findings += problems(index, world.index, seed=case.step + 1)
    verdict.findings += unsound(index, session.path)
    verdict.findings += [("other", f"left over after the next write: {name}") for name in _strangers(session.path)]


def _strangers(path: Path) -> list[str]:
    """Files of an index directory that belong to no segment and no part of the database."""
    connection = sqlite3.connect(f"{(path / 'index.db').absolute().as_uri()}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT segment_id, suffix FROM segment_file").fetchall()
    finally:
        connection.close()
    current = {f"{number:06d}.{suffix}" for number, suffix in rows}
    segments = path / "segments"
    files = [file.name for file in segments.iterdir()] if segments.is_dir() else []
    others = [file.name for file in path.iterdir() if not _OWN.fullmatch(file.name)]
    return others + [name for name in files if name not in current]
