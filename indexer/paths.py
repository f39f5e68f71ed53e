"""Sources that are files, folders or streams."""

from __future__ import annotations

import codecs
import io
import stat
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from yusa.errors import InputError, UsageError
from yusa.indexer.folder import Found, open_regular, walk
from yusa.indexer.formats import READERS, SUFFIXES, Reader, format_of, read_stream
from yusa.indexer.opened import FileError, Opened
from yusa.indexer.parquet import require_pyarrow
from yusa.indexer.results import Rejected, Skipped
from yusa.indexer.rows import Fields
from yusa.indexer.source import Item, Source, Unreadable

STDIN = "-"


class PathSource(Source):
    """A file, a folder, or a stream such as standard input."""

    def __init__(
        self, path: Path, name: str, *, fields: Fields, globs: Sequence[str], encoding: str | None, format: str | None
    ) -> None:
        self._is_stream = _is_stream(path)
        super().__init__(name, repeatable=not self._is_stream)
        self._path = path
        self._fields = fields
        self._globs = globs
        self._encoding = encoding
        self._format = format
        self._left_out: Path | None = None

    @property
    def bytes_total(self) -> int:
        if self._is_stream:
            return 0
        if not self._path.is_dir():
            return self._path.stat().st_size if self._path.exists() else 0
        found = (item for item in self._walk() if isinstance(item, Found))
        return sum(item.size for item in found if self._format or format_of(item.path))

    def leave_out(self, path: Path) -> None:
        self._left_out = path.resolve()
        if str(self._path) != STDIN and self._path.resolve() == self._left_out:
            raise UsageError(f"the rejects cannot be written to {path}: it is what is read; name another file")

    def _items(self) -> Iterator[Item]:
        if str(self._path) == STDIN:
            yield from self._read("-", "-", None, self._format)
        elif self._is_stream or not self._path.is_dir():
            kind = None if self._is_stream else format_of(self._path)
            yield from self._read(str(self._path), self._path.name, self._path, self._format or kind)
        else:
            for item in self._walk():
                if isinstance(item, Found):
                    yield from self._file(item)
                else:
                    yield item if isinstance(item, Skipped) else Unreadable(item.file, None, None, item.reason)

    def _walk(self) -> Iterator[Found | Rejected | Skipped]:
        return (item for item in walk(self._path, self._globs) if not self._leaves_out(item))

    def _leaves_out(self, item: Found | Rejected | Skipped) -> bool:
        left_out = self._left_out
        if left_out is None or not isinstance(item, Found) or item.path.name != left_out.name:
            return False
        return item.path.resolve() == left_out

    def _file(self, found: Found) -> Iterator[Item]:
        format = self._format or format_of(found.path)
        if format is None:
            yield Skipped(str(found.path), f"files of kind {found.path.suffix or 'without suffix'} are not read")
        else:
            yield from self._read(str(found.path), found.relative, found.path, format)

    def _read(self, label: str, id: str, path: Path | None, format: str | None) -> Iterator[Item]:
        reader = READERS[format] if format else Reader(read_stream)
        whole = id if reader.whole else None
        try:
            regular = None if self._is_stream else path
            with open_regular(regular) if regular else _open(path) as stream:
                yield from reader.read(
                    Opened(label, id, regular, stream, self._fields, self._encoding, self.notes.append, self._advance)
                )
        except FileError as error:
            yield Rejected(label, None, whole, str(error))
        except OSError as error:
            yield Unreadable(label, None, whole, f"cannot be read: {error.strerror or error}")


def read(
    paths: str | Path | Iterable[str | Path],
    *,
    glob: str | Sequence[str] | None = None,
    id_field: str | None = None,
    text_field: str | None = None,
    title_field: str | None = None,
    encoding: str | None = None,
    format: str | None = None,
    source: str | None = None,
) -> list[Source]:
    """One source per path, read when it is iterated.

    Args:
        paths: files, folders, or "-" for standard input.
        glob: in folders, only files that match one of these patterns (as in .gitignore: `*.md`, `docs/**/*.txt`).
        id_field, text_field, title_field: names of the columns or keys, instead of `id` or `_id`, `text`, `title`.
        encoding: of all the files, instead of telling it from their bytes.
        format: jsonl, csv, tsv, parquet, text, markdown or lines, instead of telling it from the file's name. A stream
            is JSON lines if it begins with an object, else one document per line.
        source: the canonical name, instead of the absolute path (or "-" for standard input).

    Raises:
        InputError: a path that does not exist, or a file of a kind that yusa does not read.
        UsageError: an unknown format or encoding.
    """
    if format is not None and format not in READERS:
        raise UsageError(f"there is no format {format!r}: one of {', '.join(READERS)}")
    encoding = encoding and _codec(encoding)
    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    globs = [glob] if isinstance(glob, str) else list(glob or ())
    fields = Fields(id_field, text_field, title_field)
    sources: list[Source] = []
    for path in map(Path, dict.fromkeys(map(str, listed))):
        _require(path, format)
        name = source or _canonical(path)
        sources.append(PathSource(path, name, fields=fields, globs=globs, encoding=encoding, format=format))
    return sources


def _codec(encoding: str) -> str:
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=encoding)  # refuses codecs such as base64, which lookup finds
        return codecs.lookup(encoding).name
    except LookupError:
        raise UsageError(f"there is no text encoding {encoding!r}: such as utf-8, cp949, utf-16") from None


def _require(path: Path, format: str | None) -> None:
    if str(path) == STDIN:
        return
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # a path with NUL
        raise InputError(f"{str(path)!r} is no path: {error}") from None
    if not stat.S_ISREG(status.st_mode):
        return
    kind = format or format_of(path)
    if kind is None:
        suffix = path.suffix or "without suffix"
        raise InputError(f"{path}: files of kind {suffix} are not read ({SUFFIXES} are); --format says what it is")
    if kind == "parquet":
        require_pyarrow()


def _canonical(path: Path) -> str:
    if str(path) == STDIN:
        return STDIN
    name = unicodedata.normalize("NFC", path.resolve().as_posix())
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"the path {name!r} is not valid Unicode: rename it, or give the source a name") from None
    return name


def _is_stream(path: Path) -> bool:
    """A pipe or a device, such as what a shell's <(…) makes."""
    return str(path) == STDIN or not (path.is_dir() or path.is_file())


def _open(path: Path | None) -> AbstractContextManager[BinaryIO]:
    if path is not None:
        return path.open("rb")
    try:
        # Unbuffered: a thread that waits in a buffered standard input would hang the interpreter at its end.
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    except (OSError, ValueError):
        return nullcontext(sys.stdin.buffer)
