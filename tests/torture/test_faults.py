"""Disks that are full or broken, at every operation: nothing acknowledged is lost, and the error says what to do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import faults
import pytest
from syscalls import SYNCS, WRITES

RunShimmed = Callable[..., "subprocess.CompletedProcess[str]"]

_SCENES = ["create", "put", "segment", "merge", "compact", "backup", "migrate"]
_ALL = WRITES + SYNCS + "trux"


def _faults(run: RunShimmed, directory: Path, *how: object) -> list[dict[str, object]]:
    done = run(Path(faults.__file__), directory, *how)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("scene", _SCENES)
def test_a_full_disk_takes_nothing_that_was_acknowledged(run_shimmed: RunShimmed, tmp_path: Path, scene: str) -> None:
    seen = _faults(run_shimmed, tmp_path, scene, "FAIL_ON", "ENOSPC", WRITES, 4)
    assert len(seen) == 4
    assert all(each["struck"] for each in seen)
    assert seen[0]["shown"] is not None
    assert all(each["kept"] == "after" for each in seen if each["shown"] is None)


def test_a_failed_sync_leaves_the_batch_whole_or_out(run_shimmed: RunShimmed, tmp_path: Path) -> None:
    seen = _faults(run_shimmed, tmp_path, "put", "FAIL", "EIO", SYNCS, 0)
    assert "check the disk" in str([each["shown"] for each in seen])
    assert None in [each["shown"] for each in seen], "what fails after the commit is no error"


@pytest.mark.slow
@pytest.mark.parametrize("scene", _SCENES)
@pytest.mark.parametrize(
    ("action", "error", "kinds"),
    [
        ("FAIL", "ENOSPC", WRITES),
        ("FAIL_ON", "ENOSPC", WRITES),
        ("SHORT", "ENOSPC", WRITES),
        ("FAIL", "EIO", _ALL),
        ("FAIL_ON", "EIO", _ALL),
        ("FAIL", "EACCES", "ckru"),
    ],
)
def test_every_operation_fails(
    run_shimmed: RunShimmed, tmp_path: Path, scene: str, action: str, error: str, kinds: str
) -> None:
    assert _faults(run_shimmed, tmp_path, scene, action, error, kinds, 0)


_KILLED = """
import os, sys
from itertools import count
from pathlib import Path
import syscalls
from storing import check_against, create_store, make_settings, open_store
from yusa.errors import IndexNotFoundError
from yusa.storage import Store
path = Path(sys.argv[1]) / "folder" / "index"
create_store(path.parent / "first", make_settings()).close()
syscalls.watch(path.parent)
for nth in count(1, int(sys.argv[2])):
    path = path.with_name(f"index {nth}")
    if (child := os.fork()) == 0:
        syscalls.arm(nth, syscalls.Action.KILL_AFTER)
        create_store(path, make_settings()).close()
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
    try:
        store = open_store(path)
        assert Store.exists(path)
    except IndexNotFoundError:
        assert not Store.exists(path)
        store = create_store(path, make_settings())
    check_against(store, {})
    store.close()
print(nth)
"""


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_a_creation_killed_anywhere_is_taken_up(run_shimmed: RunShimmed, tmp_path: Path, step: int) -> None:
    done = run_shimmed(_KILLED, tmp_path, step)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50
