"""The shim of system calls does what the tests that use it believe: it counts, fails, kills and records."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import syscalls

RunShimmed = Callable[..., "subprocess.CompletedProcess[str]"]

_HEAD = """
import errno, os, sqlite3, sys
from pathlib import Path
from syscalls import *
root = Path(sys.argv[1])
"""

_CHANGES = """
(root / "folder").mkdir()
with open(root / "folder" / "a", "wb", buffering=0) as file:
    file.write(b"one")
    os.pwrite(file.fileno(), b"TWO", 1)
    os.writev(file.fileno(), [b"th", b"ree"])
    os.fsync(file.fileno())
    os.truncate(file.fileno(), 4)
    os.fdatasync(file.fileno())
(root / "folder" / "a").rename(root / "b")
folder = os.open(root, os.O_RDONLY)
os.fsync(folder)
os.unlink("b", dir_fd=folder)
(root / "folder").rmdir()
"""
_KINDS = "kcwwwstdrDux"


def _run(run: RunShimmed, code: str, *arguments: object) -> str:
    done = run(_HEAD + code, *arguments)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def test_it_is_loaded_where_it_was_preloaded(run_shimmed: RunShimmed, tmp_path: Path) -> None:
    assert not syscalls.loaded()
    assert _run(run_shimmed, "print(loaded())", tmp_path) == "True\n"


def test_it_counts_changes_below_its_root_alone(run_shimmed: RunShimmed, tmp_path: Path) -> None:
    root = tmp_path / "뿌리"
    root.mkdir()
    elsewhere = '(root.parent / "elsewhere").write_text("x")\n(root.parent / (root.name + "2")).mkdir()\n'
    read = '(root / "b").write_text("x")\nwatch(root)\nopen(root / "b", "r+b").read()\n'
    assert _run(run_shimmed, f"{read}{_CHANGES}{elsewhere}print(count())", root) == f"{len(_KINDS)}\n"
    (root / "b").write_text("x")
    assert _run(run_shimmed, f"watch(root)\nwatch(None)\n{_CHANGES}print(count())", root) == "0\n"


def test_relative_paths_and_descriptors_of_directories_count(run_shimmed: RunShimmed, tmp_path: Path) -> None:
    code = """
watch(root)
os.chdir(root)
open("a", "w").close()
folder = os.open("..", os.O_RDONLY)
os.rename(f"{root.name}/a", f"{root.name}/b", src_dir_fd=folder, dst_dir_fd=folder)
os.remove("b")
print(count())
"""
    assert _run(run_shimmed, code, tmp_path) == "3\n"


def test_it_sees_what_sqlite_writes(run_shimmed: RunShimmed, tmp_path: Path) -> None:
    code = """
watch(root)
record(Path(sys.argv[2]))
connection = sqlite3.connect(root / "a.db", isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("PRAGMA synchronous=FULL")
connection.execute("CREATE TABLE t(a)")
mark("created")
connection.execute("INSERT INTO t VALUES (1)")
mark("inserted")
"""
    (tmp_path / "root").mkdir()
    _run(run_shimmed, code, tmp_path / "root", tmp_path / "log")
    seen = list(syscalls.operations(tmp_path / "log"))
    created = next(number for number, operation in enumerate(seen) if operation.path == "created")
    kinds = [(operation.kind, Path(operation.path).name) for operation in seen[created + 1 :]]
    assert ("w", "a.db-wal") in kinds
    assert kinds.index(("d", "a.db-wal")) < kinds.index(("m", "inserted"))


def test_every_operation_can_fail_once(run_shimmed: RunShimmed, tmp_path: Path) -> None:
    caught = "\n".join("        " + line for line in _CHANGES.splitlines())
    code = f"""
for nth in range(1, {len(_KINDS) + 1}):
    root = Path(sys.argv[1]) / str(nth)
    root.mkdir()
    watch(root)
    arm(nth, Action.FAIL, errno.EIO)
    try:
{caught}
    except OSError as error:
        print(errno.errorcode[error.errno], count(), struck()[0])
    (root / "after").write_text("x")
"""
    expected = [f"EIO {nth} {kind}" for nth, kind in enumerate(_KINDS, 1)]
    assert _run(run_shimmed, code, tmp_path).splitlines() == expected


def test_a_full_disk_refuses_what_takes_space_until_disarmed(run_shimmed: RunShimmed, tmp_path: Path) -> None:
    code = """
watch(root)
(root / "gone").write_text("x")
file = open(root / "a", "wb", buffering=0)
def attempt(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        print(errno.errorcode[error.errno], end=" ")
    else:
        print("fine", end=" ")
arm(2, Action.FAIL_ON, errno.ENOSPC)
attempt(file.write, b"first")
attempt(file.write, b"second")
attempt((root / "folder").mkdir)
attempt((root / "new").touch)
attempt(file.truncate, 100)
attempt(file.truncate, 2)
attempt(os.fsync, file.fileno())
attempt((root / "gone").unlink)
disarm()
attempt(file.write, b"third")
"""
    refused = " ".join(["fine", *["ENOSPC"] * 4, *["fine"] * 4])
    assert _run(run_shimmed, code, tmp_path).strip() == refused


def test_a_short_write_says_so(run_shimmed: RunShimmed, tmp_path: Path) -> None:
    code = """
watch(root)
file = open(root / "a", "wb", buffering=0)
arm(1, Action.SHORT, errno.ENOSPC)
print(file.write(b"abcdef"))
try:
    file.write(b"def")
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    assert _run(run_shimmed, code, tmp_path) == "3\nENOSPC\n"
    assert (tmp_path / "a").read_bytes() == b"abc"


@pytest.mark.parametrize(("action", "left"), [("KILL_BEFORE", b""), ("KILL_AFTER", b"abcdef"), ("TORN", b"abc")])
def test_it_kills_before_within_and_after(run_shimmed: RunShimmed, tmp_path: Path, action: str, left: bytes) -> None:
    code = f"""
watch(root)
only(WRITES)
file = open(root / "a", "wb", buffering=0)
arm(1, Action.{action})
os.fsync(file.fileno())
if os.fork() == 0:
    file.write(b"abcdef")
    os._exit(0)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    assert _run(run_shimmed, code, tmp_path) == f"{-signal.SIGKILL}\n"
    assert (tmp_path / "a").read_bytes() == left


def test_the_recording_tells_everything(run_shimmed: RunShimmed, tmp_path: Path) -> None:
    root, log = tmp_path / "root", tmp_path / "log"
    root.mkdir()
    code = f"watch(root)\nrecord(Path(sys.argv[2]))\n{_CHANGES}mark('끝')\nrecord(None)\n(root / 'x').touch()"
    _run(run_shimmed, code, root, log)
    seen = list(syscalls.operations(log))
    assert "".join(operation.kind for operation in seen) == _KINDS + "m"
    assert [(o.offset, o.data) for o in seen if o.kind == "w"] == [(0, b"one"), (1, b"TWO"), (3, b"three")]
    assert len({operation.inode for operation in seen if operation.kind in "cwstdru"}) == 1
    rename = next(operation for operation in seen if operation.kind == "r")
    assert (rename.path, rename.target) == (f"{root}/folder/a", f"{root}/b")
    assert [operation.offset for operation in seen if operation.kind == "t"] == [4]
    assert seen[-1].path == "끝"


def test_threads_are_counted_one_by_one(run_shimmed: RunShimmed, tmp_path: Path) -> None:
    code = """
from threading import Thread
watch(root)
def work(name):
    with open(root / name, "wb", buffering=0) as file:
        for _ in range(200):
            file.write(b"x")
threads = [Thread(target=work, args=(f"{n}",)) for n in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(count())
"""
    assert _run(run_shimmed, code, tmp_path) == f"{4 * 201}\n"
