"""Counts, fails, kills at and records system calls of a process that was started with shim.c preloaded.

`library` compiles the shim, `environment` preloads it into a child process; there `watch` names the directory whose
changes count, and `arm` says what happens at the n-th of them. Linux only.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from struct import Struct

import platformdirs

_SOURCE = Path(__file__).with_name("shim.c")
_HEAD = Struct("<cQqIIQ")

WRITES = "wcgk"
"""Kinds of operations that take space: write, create, grow, make a directory."""
SYNCS = "sdD"
"""Kinds that make durable: fsync, fdatasync, fsync of a directory."""


class Action(IntEnum):
    """What happens at the operation that was armed."""

    OFF = 0
    KILL_BEFORE = 1
    KILL_AFTER = 2
    FAIL = 3
    """That one fails."""
    FAIL_ON = 4
    """That one and every later one that the error can meet fail: of ENOSPC those that take space, else all."""
    TORN = 5
    """A write writes half of its bytes, then the process is killed; another operation is killed before."""
    SHORT = 6
    """A write writes half of its bytes and says so; what follows is as for FAIL_ON."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One recorded change.

    Attributes:
        kind: c(reate), w(rite), g(row), t(runcate), s(ync), d(atasync), D(irectory's sync), r(ename), u(nlink),
            k (mkdir), x (rmdir), m(ark).
        offset: of a write; of grow and truncate the new size.
        path: a mark's label.
        target: the new name of what was renamed.
    """

    kind: str
    inode: int
    offset: int
    path: str
    target: str
    data: bytes


@cache
def library() -> Path | None:
    """The compiled shim; None where it cannot be: not on Linux with glibc, or without a C compiler."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or sys.maxsize < 2**32 or compiler is None:
        return None
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    folder = platformdirs.user_cache_path("yusa-tests")
    path = folder / f"shim-{digest}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{path.name}.{os.getpid()}"
        command = [compiler, "-shared", "-fPIC", "-O2", "-U_FORTIFY_SOURCE", "-o", str(temporary), str(_SOURCE)]
        done = subprocess.run([*command, "-ldl", "-lpthread"], capture_output=True, text=True, check=False)
        if done.returncode:
            return None
        temporary.replace(path)
    return path


def environment(library: Path) -> dict[str, str]:
    """The environment of a process into which the shim is preloaded and which finds the support modules."""
    others = [os.environ[name] for name in ("PYTHONPATH",) if os.environ.get(name)]
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "PYTHONPATH": os.pathsep.join([str(_SOURCE.parent), *others]),
        "OMP_NUM_THREADS": "1",
    }


@cache
def _shim() -> ctypes.CDLL:
    shim = ctypes.CDLL(None, use_errno=True)
    shim.torture_count.restype = ctypes.c_long
    shim.torture_arm.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_int]
    shim.torture_struck.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    return shim


def loaded() -> bool:
    """Whether the shim is preloaded into this process."""
    return hasattr(ctypes.CDLL(None), "torture_watch")


def watch(root: Path | None) -> None:
    """Count changes below a directory, which is there, from now on; None: count nothing."""
    _shim().torture_watch(os.fsencode(root or ""))


def count() -> int:
    """How many operations counted since the last `watch` or `arm`."""
    return int(_shim().torture_count())


def arm(nth: int, action: Action, error: int = 0) -> None:
    """Let something happen at the `nth` counted operation from now (1: the next)."""
    _shim().torture_arm(nth, int(action), error)


def disarm() -> None:
    """Let nothing happen any more."""
    arm(0, Action.OFF)


def only(kinds: str) -> None:
    """Count these kinds of operations alone; "" counts all."""
    _shim().torture_kinds(kinds.encode())


def struck() -> str:
    """Kind and path of the first operation that was failed since the last `arm`; "" if there was none."""
    out = ctypes.create_string_buffer(8192)
    _shim().torture_struck(out, len(out))
    return os.fsdecode(out.value)


def record(file: Path | None) -> None:
    """Append every change, with its data, to a file from now on; None ends that. The file lies elsewhere."""
    if _shim().torture_record(os.fsencode(file or "")):
        raise OSError(f"{file} cannot be written")


def mark(label: str) -> None:
    """Put a mark into the recording."""
    _shim().torture_mark(label.encode())


def operations(file: Path) -> Iterator[Operation]:
    """What was recorded."""
    data = file.read_bytes()
    at = 0
    while at < len(data):
        kind, inode, offset, path, target, size = _HEAD.unpack_from(data, at)
        names = at + _HEAD.size
        content = names + path + target
        at = content + size
        first, second = os.fsdecode(data[names : names + path]), os.fsdecode(data[names + path : content])
        yield Operation(kind.decode(), inode, offset, first, second, data[content:at])
