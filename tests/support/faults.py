"""Faults of the disk: `python faults.py DIRECTORY SCENE ACTION ERROR KINDS POINTS`, with the shim of system calls.

A scene is an index and something done to it. It is played once to count its operations of KINDS and then again and
again, failing at each of them (at POINTS of them, evenly spread, if POINTS is not 0). After each the index must be
whole, hold what was acknowledged, and take the next write. Every outcome is printed as a line of JSON.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import powerloss
import pytest
import syscalls
from storing import check_against, create_store, filled, make_entries, make_entry, make_settings, open_store
from syscalls import Action

from yusa.errors import StorageError
from yusa.storage import Entry, Store, publish

Model = dict[str, Entry]

_TAIL = 40
_ADVICE = re.compile(r"\b(check|free|run|try|restore|give|open|create|close)\b", re.IGNORECASE)


def _model(entries: list[Entry]) -> Model:
    return {entry.document.id: entry for entry in entries}


@dataclass(frozen=True, slots=True)
class Scene:
    """What is there, what is done, and what then is there.

    Attributes:
        prepare: makes the index at a path, which holds `before`.
        act: what is done to it; changes it to `after`.
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    before: Model
    after: Model


def _put(path: Path, entries: list[Entry], deletes: tuple[str, ...] = ()) -> None:
    store = open_store(path)
    try:
        with store.write() as writer:
            if deletes:
                writer.delete(deletes)
            if entries:
                writer.put(entries)
    finally:
        store.close()


def _compact(path: Path) -> None:
    store = open_store(path)
    try:
        store.compact()
    finally:
        store.close()


def _backup(path: Path) -> None:
    store = open_store(path)
    try:
        store.backup(path.parent / "copy")
    finally:
        store.close()


def _unpack(path: Path) -> None:
    powerloss.prepare(path.parent / "unpacked")
    (path.parent / "unpacked" / "old").rename(path)


def _nothing(path: Path) -> None:
    return


def _fill(count: int, batch: int, deletes: tuple[str, ...] = ()) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        filled(path, range(count), batch=batch).close()
        if deletes:
            _put(path, [], deletes)

    return make


_NEW = [*make_entries(range(200, 208), passages=2), make_entry("d1", "another text")]
_ROUND = make_entries(range(200, 245))
_MOST = tuple(f"d{number}" for number in range(100) if number % 4)
_LEFT = _model([entry for entry in make_entries(range(100)) if entry.document.id not in _MOST])
_OLD = powerloss.old_model()


def _scene(name: str) -> Scene:
    few, many = _model(make_entries(range(20))), _model(make_entries(range(45)))
    scenes = {
        "create": Scene(_nothing, lambda path: create_store(path, make_settings()).close(), {}, {}),
        "put": Scene(_fill(20, 20), lambda path: _put(path, _NEW), few, few | _model(_NEW)),
        "segment": Scene(_fill(20, 20), lambda path: _put(path, _ROUND), few, few | _model(_ROUND)),
        "merge": Scene(_fill(45, 45), lambda path: _put(path, _ROUND), many, many | _model(_ROUND)),
        "compact": Scene(_fill(100, 50, _MOST), _compact, _LEFT, _LEFT),
        "backup": Scene(_fill(45, 45), _backup, many, many),
        "migrate": Scene(_unpack, lambda path: open_store(path).close(), _OLD, _OLD),
    }
    return scenes[name]


class Stage:
    """Plays a scene with faults."""

    def __init__(self, directory: Path, name: str) -> None:
        self._name = name
        self._scene = _scene(name)
        self._directory = directory
        self._made = directory / "made"
        self._made.mkdir()
        self._scene.prepare(self._made / "index")

    def count(self) -> int:
        """How many operations count when nothing fails."""
        return self._play(0, Action.OFF, 0)[1]

    def fail(self, nth: int, action: Action, error: int) -> dict[str, object]:
        """Play it with a fault and check what is left; what was seen of it."""
        shown, _, struck = self._play(nth, action, error)
        index = self._directory / "played" / "index"
        scene = self._scene
        if self._name == "create" and not Store.exists(index):
            assert shown is not None
            create_store(index, make_settings()).close()
        store = open_store(index)
        hashes = {id: entry.content_hash for id, entry in scene.after.items()}
        with store.read() as view:
            ids = [*scene.before, *scene.after]
            present = {id: known.content_hash for id, known in view.known(ids).items()}
        done = present == hashes
        model = scene.after if done else scene.before
        check_against(store, model)
        report = store.verify(deep=True)
        assert report.problems == (), report
        assert shown is not None or done, "it was acknowledged and is not there"
        _check_copy(index.parent / "copy", model, acknowledged=shown is None and self._name == "backup")
        _check_next(store, model)
        return {"nth": nth, "struck": struck, "shown": shown, "kept": "after" if done else "before"}

    def _play(self, nth: int, action: Action, error: int) -> tuple[str | None, int, str]:
        played = self._directory / "played"
        shutil.rmtree(played, ignore_errors=True)
        shutil.copytree(self._made, played)
        shown = None
        syscalls.watch(played)
        syscalls.arm(nth, action, error)
        try:
            self._scene.act(played / "index")
        except StorageError as refused:
            shown = str(refused)
            assert _ADVICE.search(shown), f"no advice: {shown}"
            assert shown.endswith("."), shown
        finally:
            count, struck = syscalls.count(), syscalls.struck()
            syscalls.disarm()
            syscalls.watch(None)
        return shown and shown.replace(str(played), ""), count, struck.replace(str(played), "")


def _check_copy(path: Path, model: Model, *, acknowledged: bool) -> None:
    """A backup is there, whole, if it was acknowledged; else it is not there or whole."""
    assert path.exists() or not acknowledged
    if path.exists():
        store = open_store(path)
        check_against(store, model)
        assert store.verify(deep=True).problems == ()
        store.close()


def _check_next(store: Store, model: Model) -> None:
    entry = make_entry("next", "the next write")
    with store.write() as writer:
        writer.put([entry])
    check_against(store, model | {"next": entry})
    assert store.verify(deep=True).ok
    store.close()


def main(directory: Path, name: str, action: Action, error: int, kinds: str, points: int) -> None:
    pytest.MonkeyPatch().setattr(publish, "TAIL_LIMIT", _TAIL)
    logging.getLogger("yusa").addHandler(logging.NullHandler())
    logging.getLogger("yusa").propagate = False
    stage = Stage(directory, name)
    syscalls.only(kinds)
    count = stage.count()
    chosen = range(1, count + 1)
    for nth in chosen if not points else sorted({chosen[i * (count - 1) // max(1, points - 1)] for i in range(points)}):
        try:
            seen = stage.fail(nth, action, error)
        except Exception as failure:
            failure.add_note(f"{name}: {action.name} {errno.errorcode[error]} at {nth} of {count}")
            raise
        sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        sys.argv[2],
        Action[sys.argv[3]],
        getattr(errno, sys.argv[4]),
        sys.argv[5],
        int(sys.argv[6]),
    )
