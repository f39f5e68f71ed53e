"""Segment files: written whole or not at all, and read only as what the database says they are."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SEGMENTS: Final = "segments"
_REMEMBERED: Final = 1000
_BLOCK: Final = 1 << 20
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2

Sink = Callable[[bytes | memoryview], int]


class DamagedFileError(Exception):
    """A segment file is not what the database says; FileNotFoundError says that it is not there."""


@dataclass(frozen=True, slots=True)
class FileSum:
    """What the database keeps of a file."""

    bytes: int
    sha256: str


def segment_name(segment: int, suffix: str) -> str:
    """A segment file's name; numbers are never used again."""
    return f"{segment:06d}.{suffix}"


def segment_path(directory: Path, segment: int, suffix: str) -> Path:
    """Where a segment file of an index directory stands."""
    return directory / SEGMENTS / segment_name(segment, suffix)


def write_file(path: Path, produce: Callable[[Sink], None]) -> FileSum:
    """Write a file under a temporary name, sync it and rename it; the directory is synced by `sync_directory`."""
    import hashlib

    temporary = path.with_name(f".{path.name}.tmp")
    digest = hashlib.sha256()
    size = 0
    try:
        with temporary.open("wb") as file:

            def sink(block: bytes | memoryview) -> int:
                nonlocal size
                digest.update(block)
                size += len(block)
                return file.write(block)

            produce(sink)
            file.flush()
            sync_file(file.fileno())
        rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return FileSum(size, digest.hexdigest())


def file_bytes(path: Path) -> int:
    """A file's size; 0 if it is not there or cannot be looked at."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def sync_file(descriptor: int) -> None:
    """Make an open file's content durable."""
    os.fsync(descriptor)


def rename(temporary: Path, path: Path) -> None:
    """Give a finished file its name."""
    temporary.replace(path)


def exchange(one: Path, other: Path) -> None:
    """Exchange the names of two directories, at once where the system can (Linux), else one after the other.

    A kill between the two renames of the second way leaves nothing under the name `other`, and both directories whole.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if hasattr(libc, "renameat2"):
            names = (os.fsencode(one), os.fsencode(other))
            if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
                return
            code = ctypes.get_errno()
            if code not in {errno.ENOSYS, errno.EINVAL}:
                raise OSError(code, os.strerror(code), str(other))
    between = one.with_name(f".{one.name}.tmp")
    other.rename(between)
    try:
        one.rename(other)
    except OSError:
        between.rename(other)
        raise
    between.rename(one)


def sync_directory(directory: Path) -> None:
    """Make renames and new names in a directory durable; Windows cannot and need not."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Make a directory and those above it, durably; one that is there is left as it is."""
    missing = [folder for folder in (directory.absolute(), *directory.absolute().parents) if not folder.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        sync_directory(folder.parent)


def sweep(directory: Path, keep: set[str]) -> int:
    """Delete every file of `segments/` whose name is not in `keep`; how many were deleted.

    Only for the writer: a reader's open files stay readable, one it has yet to open makes it read again.
    """
    folder = directory / SEGMENTS
    if not folder.is_dir():
        return 0
    removed = 0
    try:
        paths = list(folder.iterdir())
    except OSError:
        return 0
    for path in paths:
        if path.name not in keep and path.is_file():
            try:
                path.unlink()
            except OSError:
                continue  # On Windows a mapped file stays until the next writer.
            removed += 1
    return removed


class Verified:
    """Which files have the checksum they should, remembered in the user's cache by inode, size and time."""

    def __init__(self, index_id: str) -> None:
        cache = os.environ.get("YUSA_CACHE")
        if cache:
            root = Path(cache)
        else:
            import platformdirs

            root = platformdirs.user_cache_path("yusa")
        self._path = root / "verified" / f"{index_id}.json"

    def check(self, path: Path, expected: FileSum, *, again: bool = False) -> None:
        """Check a file's size, and its checksum unless it was checked before.

        Args:
            again: read the file even if it was checked before.

        Raises:
            FileNotFoundError: the file is not there.
            DamagedFileError: it is not what `expected` says, or cannot be read.
        """
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size != expected.bytes:
                    raise DamagedFileError(f"{path.name} has {status.st_size} bytes instead of {expected.bytes}")
                key = f"{status.st_dev}:{status.st_ino}"
                mark = [status.st_size, status.st_mtime_ns, expected.sha256]
                if not again and self._load().get(key) == mark:
                    return
                import hashlib

                digest = hashlib.sha256()
                while block := file.read(_BLOCK):
                    digest.update(block)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DamagedFileError(f"{path.name} cannot be read ({error.strerror})") from error
        if digest.hexdigest() != expected.sha256:
            # A disk that forgets changes no time: without this the file would go on being used.
            self._remember(key, None)
            raise DamagedFileError(f"{path.name} does not have the checksum it was written with")
        self._remember(key, mark)

    @staticmethod
    def check_content(name: str, content: mmap.mmap, expected: FileSum) -> None:
        """Check what was mapped of a file that has lost its name since.

        Raises:
            DamagedFileError: it is not what `expected` says.
        """
        import hashlib

        if FileSum(len(content), hashlib.sha256(content).hexdigest()) != expected:
            raise DamagedFileError(f"{name} does not have the checksum it was written with")

    def _load(self) -> dict[str, list[object]]:
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def _remember(self, key: str, mark: list[object] | None) -> None:
        """Note that a file is right, or (None) forget that it was."""
        values = self._load()
        values.pop(key, None)
        if mark is not None:
            values[key] = mark
        kept = dict(list(values.items())[-_REMEMBERED:])
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(kept), encoding="utf-8")
            temporary.replace(self._path)
        except OSError:
            return  # A cache that cannot be written costs a checksum at the next opening.
