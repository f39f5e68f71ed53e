"""A migration that is killed anywhere: the next opening has the whole index, in the new format."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from yusa.storage.state import FORMAT_VERSION

RunShimmed = Callable[..., "subprocess.CompletedProcess[str]"]

_KILLED = """
import os, shutil, sys, zipfile
from itertools import count
from pathlib import Path
import syscalls
from storing import check_against, make_entries, make_entry, open_store
root, fixture, step = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
model = {entry.document.id: entry for entry in make_entries(range(60), passages=2, title="제목")}
model["d3"] = make_entry("d3", metadata={"number": 3})
del model["d1"], model["d2"]
made = root / "made"
with zipfile.ZipFile(fixture) as archive:
    archive.extractall(made)
shutil.copytree(made, root / "warm")
open_store(root / "warm").close()
for number, nth in enumerate(count(1, step)):
    path = root / f"index {nth}"
    shutil.copytree(made, path)
    syscalls.watch(path)
    if (child := os.fork()) == 0:
        syscalls.arm(nth, (syscalls.Action.KILL_BEFORE, syscalls.Action.KILL_AFTER, syscalls.Action.TORN)[number % 3])
        open_store(path).close()
        os._exit(0)
    finished = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    syscalls.watch(None)
    store = open_store(path)
    check_against(store, model)
    report = store.verify(deep=True)
    assert not report.problems, report
    with store.write() as writer:
        writer.put([make_entry("new")])
    check_against(store, model | {"new": make_entry("new")})
    assert store.verify(deep=True).ok
    store.close()
    shutil.rmtree(path)
    if finished:
        break
print(number)
"""


def _kill(run: RunShimmed, directory: Path, number: int, step: int) -> int:
    fixture = Path(__file__).parents[1] / "storage" / "fixtures" / f"format-{number}.zip"
    done = run(_KILLED, directory, fixture, step)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("number", range(1, FORMAT_VERSION))
def test_a_killed_migration_loses_nothing(run_shimmed: RunShimmed, tmp_path: Path, number: int) -> None:
    assert _kill(run_shimmed, tmp_path, number, step=23) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, FORMAT_VERSION))
def test_a_migration_killed_at_every_operation_loses_nothing(
    run_shimmed: RunShimmed, tmp_path: Path, number: int
) -> None:
    assert _kill(run_shimmed, tmp_path, number, step=1) >= 60
