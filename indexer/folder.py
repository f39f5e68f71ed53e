"""The files of a folder, in a fixed order, without what does not belong."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pathspec import GitIgnoreSpec

from yusa.indexer.results import Rejected, Skipped

_MOST_IGNORED: Final = 1 << 20
_VANISHED: Final = "it vanished while the folder was read"


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file; `relative` is its path in the folder, with slashes."""

    path: Path
    relative: str
    size: int


_Specs = tuple[tuple[str, GitIgnoreSpec], ...]


def open_regular(path: Path) -> BinaryIO:
    """A file opened to be read; never waits for what turns out to be a pipe, and never reads a device.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    # For a regular file the flag means nothing. Windows has neither it nor named pipes in folders.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder to be entered: its path in the root, with a slash at the end, and the .gitignore files above it."""

    prefix: str
    specs: _Specs


def walk(root: Path, globs: Sequence[str]) -> Iterator[Found | Rejected | Skipped]:
    """The files below `root`, sorted by name in every folder.

    Left out without a word: hidden files and folders, what a .gitignore names (those of the folders above too, up to
    the one with `.git`), indexes of yusa, and with `globs` (patterns as in .gitignore) what none of them matches. Links
    to folders are skipped, so there are no loops. What cannot be listed or looked at is rejected.
    """
    wanted = GitIgnoreSpec.from_lines(globs) if globs else None
    # A stack of its own: paths may hold more folders than Python's stack frames.
    entered = [_listed(root, _Folder("", _above(root)), wanted)]
    while entered:
        item = next(entered[-1], None)
        if item is None:
            entered.pop()
        elif isinstance(item, _Folder):
            entered.append(_listed(root, item, wanted))
        else:
            yield item


def _listed(
    root: Path, entered: _Folder, wanted: GitIgnoreSpec | None
) -> Iterator[Found | Rejected | Skipped | _Folder]:
    prefix, specs = entered.prefix, entered.specs
    folder = root / prefix
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        yield Rejected(str(folder), None, None, f"the folder cannot be read: {error.strerror}")
        return
    names = {entry.name for entry in entries}
    if _is_index(names):
        return
    if ".gitignore" in names and (spec := _spec(folder)):
        specs = (*specs, (prefix, spec))
    for entry in entries:
        if not entry.name.startswith("."):
            yield from _entry(root, prefix + entry.name, entry, specs, wanted)


def _entry(
    root: Path, relative: str, entry: os.DirEntry[str], specs: _Specs, wanted: GitIgnoreSpec | None
) -> Iterator[Found | Rejected | Skipped | _Folder]:
    path = root / relative
    try:
        status = entry.stat()
    except OSError as error:
        if not _ignored(relative, specs):
            yield _unseen(path, entry, error)
        return
    directory = stat.S_ISDIR(status.st_mode)
    if _ignored(relative + "/" if directory else relative, specs):
        return
    if directory and not entry.is_symlink():
        yield _Folder(relative + "/", specs)
    elif directory:
        yield Skipped(str(path), "a link to a folder")
    elif wanted is None or wanted.match_file(relative):
        regular = stat.S_ISREG(status.st_mode)
        yield Found(path, relative, status.st_size) if regular else Skipped(str(path), "not a regular file")


def _unseen(path: Path, entry: os.DirEntry[str], error: OSError) -> Rejected | Skipped:
    """What is known to be gone is skipped; of anything else nobody knows what it holds."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        gone = f"the link leads nowhere ({error.strerror})" if entry.is_symlink() else _VANISHED
        return Skipped(str(path), gone)
    return Rejected(str(path), None, None, f"cannot be read: {error.strerror}")


def _is_index(names: set[str]) -> bool:
    """A live index has its lock, a backup nothing but the database; another program's index.db has company."""
    return "index.db" in names and ("writer.lock" in names or names <= {"index.db", "index.db-wal", "index.db-shm"})


def _ignored(relative: str, specs: _Specs) -> bool:
    """As git decides: the nearest .gitignore that says something about the path."""
    for prefix, spec in reversed(specs):
        # A spec from above the root has its way down to the root as prefix, with a mark in front.
        path = prefix[1:] + relative if prefix.startswith("\0") else relative[len(prefix) :]
        if (include := spec.check_file(path).include) is not None:
            return include
    return False


def _above(root: Path) -> _Specs:
    """The .gitignore files between `root` and the top of its repository, unless they leave out `root` itself."""
    root = root.resolve()
    top = next((folder for folder in (root, *root.parents) if _is_repository(folder)), root)
    specs: list[tuple[str, GitIgnoreSpec]] = []
    for folder in root.parents:
        if not folder.is_relative_to(top):
            break
        if spec := _spec(folder):
            specs.append(("\0" + root.relative_to(folder).as_posix() + "/", spec))
    specs.reverse()
    return () if _ignored("", tuple(specs)) else tuple(specs)


def _is_repository(folder: Path) -> bool:
    try:
        return (folder / ".git").exists()
    except OSError:
        return False


def _spec(folder: Path) -> GitIgnoreSpec | None:
    try:
        with open_regular(folder / ".gitignore") as file:
            text = file.read(_MOST_IGNORED).decode("utf-8", "surrogateescape")
    except OSError:
        return None
    try:
        return GitIgnoreSpec.from_lines(text.splitlines())
    except ValueError:
        # One pattern that makes no sense does not cost the others.
        return GitIgnoreSpec.from_lines(filter(_valid, text.splitlines()))


def _valid(pattern: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([pattern])
    except ValueError:
        return False
    return True
