"""A directory beside the place where something is to appear whole: filled, then renamed; and what kills left."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from yusa.storage.files import make_directory

_LOCK = "in-progress.lock"


class Scratch:
    """A directory that is gone at the end of its `with` block, unless it was renamed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def finished(self) -> Path:
        """Its path, where nothing but what was put into it stands now."""
        (self.path / _LOCK).unlink()
        return self.path


@contextmanager
def scratch_beside(destination: Path) -> Iterator[Scratch]:
    """A new directory beside a destination, on the same file system; those that killed processes left are deleted.

    Raises:
        OSError: it cannot be made.
    """
    parent = destination.absolute().parent
    make_directory(parent)
    _sweep(parent, destination.name)
    path = parent / f".{destination.name}.{uuid4().hex[:8]}.tmp"
    path.mkdir()
    try:
        with FileLock(path / _LOCK, thread_local=False, is_singleton=False):
            yield Scratch(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _sweep(parent: Path, name: str) -> None:
    """Delete the directories of this destination whose lock nobody holds: the system drops that of a dead process.

    One without a lock is let alone: it is only just being made, or just being renamed.
    """
    if os.name != "posix":
        return
    import fcntl

    pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}\.tmp")
    for path in parent.iterdir():
        if not pattern.fullmatch(path.name):
            continue
        try:
            # Not by FileLock, which would make a lock anew in a directory that has just been finished.
            descriptor = os.open(path / _LOCK, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue
        finally:
            os.close(descriptor)
