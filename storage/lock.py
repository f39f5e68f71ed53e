"""The one lock of an index: who holds it may commit and checkpoint."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from yusa.errors import IndexLockedError, StorageError

# Seconds in which who has taken the lock has surely written its name.
_NAMED: Final = 0.5


@contextmanager
def writer_lock(directory: Path, *, wait: float) -> Iterator[None]:
    """Hold `writer.lock` of an index directory, in this process and against every other.

    The operating system drops the lock of a process that dies, so a stale file never blocks; what stands in the file
    only names the holder to others.

    Args:
        wait: seconds to wait for another holder.

    Raises:
        IndexLockedError: another writer holds the lock; the message names its pid.
        StorageError: the lock file cannot be written.
    """
    path = directory / "writer.lock"
    # Not a singleton and not thread-local: two writers of one process exclude each other as two processes do.
    lock = FileLock(path, thread_local=False, is_singleton=False)
    try:
        if not _acquired(lock, path, wait):
            raise IndexLockedError(
                f"cannot write to {directory}: {_holder(path) or 'another process'} is writing to it. "
                "Try again when it has finished."
            )
    except OSError as error:
        raise StorageError(
            f"cannot write to {directory}: {path.name} cannot be locked ({error.strerror}). "
            "Check that you may write to the directory."
        ) from error
    try:
        _name_holder(path)
        yield
    finally:
        _forget_holder(path)
        lock.release()


def _acquired(lock: FileLock, path: Path, wait: float) -> bool:
    try:
        lock.acquire(timeout=wait, poll_interval=0.02)
    except Timeout:
        end = time.monotonic() + _NAMED
        while _holder(path) is None and time.monotonic() < end:
            with suppress(Timeout):
                lock.acquire(timeout=0.02, poll_interval=0.02)
                return True
        return False
    return True


def _name_holder(path: Path) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        path.write_text(json.dumps(holder), encoding="utf-8")
    except OSError:
        # A full disk must not stop a delete that would free it; the lock itself is held.
        return


def _forget_holder(path: Path) -> None:
    """Leave no name behind, which would be taken for the next holder's until that has written its own."""
    with suppress(OSError):
        os.truncate(path, 0)


def _holder(path: Path) -> str | None:
    """Who holds the lock, as a message names it; None if it has not said so yet or cannot."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        if holder["host"] == socket.gethostname() and _is_dead(holder["pid"]):
            return None
        return f"process {holder['pid']} on {holder['host']} (since {holder['since']})"
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _is_dead(pid: int) -> bool:
    if os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
