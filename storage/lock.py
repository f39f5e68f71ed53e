"""The one lock of an index: who holds it may commit and checkpoint."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from yusa.errors import IndexLockedError, StorageError


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
        lock.acquire(timeout=wait, poll_interval=0.02)
    except Timeout:
        raise IndexLockedError(
            f"cannot write to {directory}: {_holder(path)} is writing to it. Try again when it has finished."
        ) from None
    except OSError as error:
        raise StorageError(
            f"cannot write to {directory}: {path.name} cannot be locked ({error.strerror}). "
            "Check that you may write to the directory."
        ) from error
    try:
        _name_holder(path)
        yield
    finally:
        lock.release()


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


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']} (since {holder['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
