"""Kills writers and looks at what is left: `python killing.py DIRECTORY SEED TRIALS`.

Each trial forks a child that follows a seeded plan and acknowledges every commit through a pipe. It dies by SIGKILL, at
a random moment or before or after the n-th commit, sync or rename. Then every acknowledged change must be there and no
other half there, search must equal brute force, and the next child goes on where this one died.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import event
from storing import check_against, create_store, make_entry, make_settings, open_store

from yusa.storage import Entry, Store, files, publish

TAIL = 25
Model = dict[str, Entry]


def change(seed: int, step: int) -> tuple[list[Entry], list[str], bool]:
    """What a step puts, deletes, and whether it compacts: nothing but a function of seed and step."""
    random = np.random.default_rng([seed, step])
    ids = [f"d{number}" for number in random.choice(80, size=12, replace=False)]
    kind = random.choice(["put", "put", "put", "delete", "compact"])
    if kind == "put":
        puts = [
            make_entry(id, f"{id} of step {step}", passages=int(random.integers(3)), metadata={"s": step}) for id in ids
        ]
        return puts, [], False
    return [], ids if kind == "delete" else [], kind == "compact"


def applied(model: Model, seed: int, step: int) -> Model:
    """The model after one more step."""
    puts, deletes, _ = change(seed, step)
    return {id: entry for id, entry in model.items() if id not in deletes} | {
        entry.document.id: entry for entry in puts
    }


def follow(path: Path, seed: int, step: int, pipe: int) -> None:
    """Change the index step by step, for ever."""
    store = open_store(path)
    while True:
        puts, deletes, compact = change(seed, step)
        if compact:
            store.compact()
        else:
            with store.write() as writer:
                if puts:
                    writer.put(puts)
                if deletes:
                    writer.delete(deletes)
                os.write(pipe, b"%d\n" % step)
        if compact:
            os.write(pipe, b"%d\n" % step)
        step += 1


def die_at(point: int) -> None:
    """Arrange that this process kills itself at its `point`-th visit to a commit, sync or rename."""
    left = point

    def visit(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function: Callable[..., None]) -> Callable[..., None]:
        def visited(*arguments: Any) -> None:
            visit()
            function(*arguments)
            visit()

        return visited

    for name in ("sync_file", "rename", "sync_directory"):
        setattr(files, name, around(getattr(files, name)))
    make_engine = Store.__init__

    def watched(self: Store, *arguments: Any) -> None:
        make_engine(self, *arguments)
        event.listen(self._writer_engine, "commit", visit)
        dialect: Any = self._writer_engine.dialect
        dialect.do_commit = around(dialect.do_commit)

    Store.__init__ = watched  # type: ignore[method-assign, assignment]


def trial(path: Path, seed: int, step: int, model: Model, random: np.random.Generator) -> tuple[int, Model, str]:
    """Kill one child; the next step, the model of what is committed, and how the child died."""
    read, write = os.pipe()
    point = int(random.integers(1, 40)) if random.random() < 0.6 else 0
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            if point:
                die_at(point)
            follow(path, seed, step, write)
        finally:
            os._exit(1)
    os.close(write)
    acknowledged = b""
    wait = float(random.random()) * 0.2
    how = f"point {point}" if point else f"after {wait:.3f} s"
    deadline = None if point else time.monotonic() + wait
    while (block := _next(read, deadline)) is not None:
        acknowledged += block
    os.kill(child, signal.SIGKILL)
    while block := os.read(read, 65536):
        acknowledged += block
    os.close(read)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the writer failed by itself with status {status}"
    for line in acknowledged.split():
        assert int(line) == step
        model = applied(model, seed, step)
        step += 1
    return step, model, how


def _next(pipe: int, deadline: float | None) -> bytes | None:
    """The next acknowledgements; None when the child is dead or its time is over."""
    ready, _, _ = select.select([pipe], [], [], deadline and max(0.0, deadline - time.monotonic()))
    if not ready:
        return None
    return os.read(pipe, 65536) or None


def check(path: Path, seed: int, step: int, model: Model) -> tuple[int, Model]:
    """What is left is the model, or the model and the one step that was under way, whole."""
    store = open_store(path)
    following = applied(model, seed, step)
    with store.read() as view:
        present = {id: known.content_hash for id, known in view.known(set(model) | set(following)).items()}
    if present != {id: entry.content_hash for id, entry in model.items()}:
        step, model = step + 1, following
    check_against(store, model, seed=step)
    report = store.verify(deep=True)
    assert report.problems == (), report
    assert report.repairable == (), report
    with store.write() as writer:
        writer.delete([])
    check_against(store, model, seed=step)
    store.close()
    return step, model


def main(directory: Path, seed: int, trials: int) -> None:
    publish.TAIL_LIMIT = TAIL  # type: ignore[misc]
    path = directory / "index"
    create_store(path, make_settings()).close()
    random = np.random.default_rng(seed)
    step, model = 0, Model()
    for number in range(trials):
        step, model, how = trial(path, seed, step, model, random)
        try:
            step, model = check(path, seed, step, model)
        except BaseException:
            sys.stderr.write(f"seed {seed}, trial {number}, killed {how} at step {step}\n")
            raise
    sys.stdout.write(f"{trials} kills, {step} steps\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
