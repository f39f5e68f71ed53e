"""Power losses: a recorded run of an index, and what must hold of every disk that may be left of it.

`python powerloss.py ROOT LOG SEED STEPS WEAKENING` follows a seeded plan below ROOT with the shim of system calls
preloaded and records it in LOG; every acknowledged step is a mark. `Trial` then makes the disks that a power loss could
leave (replay.py), opens what is on them and compares it with the plan.
"""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import syscalls
from replay import Disk, Loss, digest, store
from storing import check_against, create_store, make_entries, make_entry, make_settings, open_store

from yusa.errors import IndexNotFoundError
from yusa.storage import Entry, Store, creation, engine, files, publish, wal
from yusa.storage import backup as backups
from yusa.storage import migrate as migrations
from yusa.storage import restore as restores

FIXTURE = Path(__file__).parents[1] / "storage" / "fixtures" / "format-1.zip"
INDEX = Path("new", "folder", "index")
"""Neither folder is there before."""

Model = dict[str, Entry]

_TAIL = 25
_PATCH = pytest.MonkeyPatch()
_KINDS = ["put", "put", "put", "delete", "compact", "backup"]


@dataclass(frozen=True, slots=True)
class Step:
    """One change, which is acknowledged when it has returned."""

    kind: str
    puts: tuple[Entry, ...] = ()
    deletes: tuple[str, ...] = ()


@cache
def step_of(seed: int, number: int) -> Step:
    """A step of the plan; the first two make an index and migrate another."""
    if number < 2:
        return Step(("create", "migrate")[number])
    random = np.random.default_rng([seed, number])
    ids = [f"d{chosen}" for chosen in random.choice(40, size=10, replace=False)]
    kind = str(random.choice(_KINDS))
    if kind == "put":
        texts = [(id, f"{id} of step {number}", int(random.integers(3))) for id in ids]
        return Step(kind, puts=tuple(make_entry(id, text, passages=count) for id, text, count in texts))
    return Step(kind, deletes=tuple(ids) if kind == "delete" else ())


@cache
def model_of(seed: int, number: int) -> Model:
    """What the index holds after a step."""
    if number < 2:
        return {}
    step = step_of(seed, number)
    kept = {id: entry for id, entry in model_of(seed, number - 1).items() if id not in step.deletes}
    return kept | {entry.document.id: entry for entry in step.puts}


def copy_path(root: Path, number: int) -> Path:
    """Where the step of a backup puts it, in a folder that is not there before."""
    return root / f"backup-{number}" / "copy"


def old_model() -> Model:
    """What the index of format 1 holds."""
    model = {entry.document.id: entry for entry in make_entries(range(60), passages=2, title="제목")}
    model["d3"] = make_entry("d3", metadata={"number": 3})
    del model["d1"], model["d2"]
    return model


def follow(root: Path, seed: int, steps: int) -> None:
    """Take every step of the plan and mark it."""
    index = root / INDEX
    for number in range(steps):
        step = step_of(seed, number)
        if step.kind == "create":
            create_store(index, make_settings()).close()
        elif step.kind == "migrate":
            open_store(root / "old").close()
        else:
            opened = open_store(index)
            if step.kind == "compact":
                opened.compact()
            elif step.kind == "backup":
                opened.backup(copy_path(root, number))
            else:
                with opened.write() as writer:
                    writer.put(step.puts)
                    writer.delete(step.deletes)
                    syscalls.mark(str(number))
            opened.close()
        syscalls.mark(str(number))


def weaken(what: str) -> None:
    """Leave out a promise, to show that its loss would be seen."""

    def nothing(_: object) -> None:
        return

    if what == "database":
        _pragmas(tuple(pragma.replace("=FULL", "=OFF") for pragma in engine._WRITER_PRAGMAS))
    elif what == "segments":
        _PATCH.setattr(files, "sync_file", nothing)
    elif what == "names":
        for module in (files, creation, backups, migrations, restores):
            _PATCH.setattr(module, "sync_directory", nothing)
    elif what:
        raise ValueError(what)


def _pragmas(pragmas: tuple[str, ...]) -> None:
    _PATCH.setattr(engine, "_WRITER_PRAGMAS", pragmas)


def record(root: Path, log: Path, seed: int, steps: int, weakening: str) -> None:
    """Follow the plan with every change recorded."""
    _PATCH.setattr(publish, "TAIL_LIMIT", _TAIL)
    if seed % 2:
        # Checkpoints also in the middle of a block of writes.
        _PATCH.setattr(wal, "WAL_BYTES", 10 * engine._PAGE_SIZE)
    weaken(weakening)
    syscalls.watch(root)
    syscalls.record(log)
    follow(root, seed, steps)
    syscalls.record(None)


def prepare(root: Path) -> None:
    """What is there, and durable, before the plan begins."""
    root.mkdir()
    with zipfile.ZipFile(FIXTURE) as archive:
        archive.extractall(root / "old")


class Trial:
    """The disks that a recorded run could have left, and the checks of them."""

    def __init__(self, root: Path, image: Path, log: Path, seed: int, scratch: Path) -> None:
        self.operations = list(syscalls.operations(log))
        self.checked = 0
        self._root = root
        self._image = image
        self._seed = seed
        self._scratch = scratch
        self._seen: set[bytes] = set()

    def run(self, crashes: set[int]) -> None:
        """Cut the power after each of some operations, in every way, and check what is left."""
        disk = Disk(self._root, self._image)
        acknowledged = -1
        for number, operation in enumerate(self.operations):
            if operation.kind == "m":
                acknowledged = int(operation.path)
            disk.apply(operation)
            if number in crashes:
                for loss in Loss:
                    self._crash(disk, number, loss, acknowledged)

    def _crash(self, disk: Disk, number: int, loss: Loss, acknowledged: int) -> None:
        tree = disk.crash(loss, np.random.default_rng([self._seed, number, list(Loss).index(loss)]))
        mark = digest(tree) + acknowledged.to_bytes(4, "little", signed=True)
        if mark in self._seen:
            return
        self._seen.add(mark)
        left = self._scratch / "left"
        shutil.rmtree(left, ignore_errors=True)
        store(tree, left)
        self.checked += 1
        try:
            for problem in self._problems(left, acknowledged):
                raise AssertionError(problem)
        except Exception as error:
            what = f"seed {self._seed}, power lost after operation {number} ({self.operations[number].kind} "
            error.add_note(f"{what}{self.operations[number].path}), of the unsynced there is {loss.value}")
            raise

    def _problems(self, left: Path, acknowledged: int) -> Iterator[str]:
        coming = step_of(self._seed, acknowledged + 1).kind
        if acknowledged < 0:
            check_creation(left / INDEX)
        else:
            after = [model_of(self._seed, number) for number in (acknowledged, acknowledged + 1)]
            yield from check_index(left / INDEX, after)
        if acknowledged in {0, 1}:
            yield from check_index(left / "old", [old_model()])
            if acknowledged == 1 and not (left / "old" / "index.db.format-1").exists():
                yield "the old format's copy is lost"
        made = [number for number in range(acknowledged + 1) if step_of(self._seed, number).kind == "backup"]
        for number in made[-1:]:
            yield from check_index(copy_path(left, number), [model_of(self._seed, number)])
        begun = copy_path(left, acknowledged + 1)
        if coming == "backup" and begun.exists():
            yield from check_index(begun, [model_of(self._seed, acknowledged)])


def check_creation(path: Path) -> None:
    """What an unacknowledged creation left is an empty index or none, and then one can be made."""
    try:
        opened = open_store(path)
    except IndexNotFoundError:
        opened = create_store(path, make_settings())
    check_writable(opened, {})


def check_index(path: Path, models: list[Model]) -> Iterator[str]:
    """The index is whole, holds one of the models, and can be written."""
    opened = open_store(path)
    hashes = [{id: entry.content_hash for id, entry in model.items()} for model in models]
    with opened.read() as view:
        present = {id: known.content_hash for id, known in view.known({id for each in hashes for id in each}).items()}
        count = view.document_count()
    if present not in hashes or count != len(present):
        yield f"{path.name} holds {count} documents, which are those of no acknowledged step"
        return
    model = models[hashes.index(present)]
    check_against(opened, model)
    report = opened.verify(deep=True)
    yield from report.problems
    if path.name == "index":
        # What a backup and the old format lack is made by their first writer.
        yield from report.repairable
        check_writable(opened, model)
    opened.close()


def check_writable(opened: Store, model: Model) -> None:
    """The next write works and is found."""
    entry = make_entry("next", "the next write")
    with opened.write() as writer:
        writer.put([entry])
    check_against(opened, model | {"next": entry})
    opened.close()


if __name__ == "__main__":
    record(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
