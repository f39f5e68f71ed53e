"""An opened file, as the readers see it: bytes with a known encoding, given out in bounded lines."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from yusa.indexer.encodings import HEAD_BYTES, detect
from yusa.indexer.rows import Fields

MAX_ROW_BYTES = 64 << 20
"""Bytes a row may have; a longer one is rejected without ever being held in memory."""
SHOWN = 2000
"""Characters of a rejected row that are kept for the rejects file."""


class FileError(Exception):
    """Why a whole file is rejected."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file; `data` has at most MAX_ROW_BYTES, `offset` counts bytes from the file's start."""

    number: int
    offset: int
    data: bytes
    too_long: bool = False


@dataclass(slots=True)
class Opened:
    """One file while it is read.

    Attributes:
        label: the file as the user knows it, for messages.
        id: the id it has if it is one document.
        path: None for a stream.
        note: takes a sentence the user should see.
        advance: takes the number of bytes just read.
    """

    label: str
    id: str
    path: Path | None
    stream: BinaryIO
    fields: Fields
    encoding: str | None
    note: Callable[[str], None]
    advance: Callable[[int], None]
    guessed: bool = field(default=False, init=False)
    _head: bytes | None = field(default=None, init=False)
    _wide: bool = field(default=False, init=False)

    def look(self) -> bytes:
        """The beginning of the file, which stays to be read."""
        if self._head is None:
            self._head = _read_fully(self.stream, HEAD_BYTES)
            self.stream = io.BufferedReader(_Rejoined(self._head, self.stream), 1 << 16)
        return self._head

    def decide_encoding(self) -> str:
        """Looks at the beginning of the file; notes an encoding that is not UTF-8.

        Raises:
            FileError: it is not text.
        """
        head = self.look()
        if self.encoding is None:
            found = detect(head)
            if found.encoding is None:
                raise FileError("not text: it is a binary file, or in an encoding that cannot be told")
            self.encoding = found.encoding
            self.guessed = not found.sure
            if not found.encoding.startswith("utf-8"):
                self.note(f"{self.label}: read as {found.encoding.upper()}")
        if self.encoding == "utf-8" and head.startswith(codecs.BOM_UTF8):
            self.encoding = "utf-8-sig"
        if self.encoding == "utf-16" and head and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            told = detect(head).encoding
            if told not in ("utf-16-le", "utf-16-be"):
                raise FileError("not UTF-16: it has no byte order mark; --encoding utf-16-le or utf-16-be names it")
            self.encoding = told
        if self.encoding.startswith("utf-32"):
            raise FileError("UTF-32 is not read: save it as UTF-8")
        return self.encoding

    def lines(self) -> Iterator[Line]:
        """The lines with their ends, for `decode`."""
        encoding = self.decide_encoding()
        self._wide = encoding.startswith("utf-16")
        source: BinaryIO = io.BufferedReader(_AsUtf8(self.stream, encoding), 1 << 16) if self._wide else self.stream
        offset = len(source.read(3)) if encoding == "utf-8-sig" else 0
        number = 0
        while data := source.readline(MAX_ROW_BYTES):
            number += 1
            size = len(data)
            too_long = size == MAX_ROW_BYTES and not data.endswith(b"\n")
            rest = data
            while too_long and rest and not rest.endswith(b"\n"):
                rest = source.readline(MAX_ROW_BYTES)
                size += len(rest)
            yield Line(number, offset, data[:SHOWN] if too_long else data, too_long)
            offset += size
            self.advance(size)

    def decode(self, line: Line) -> str:
        """The text of a line.

        Raises:
            ValueError: which byte is wrong, and where.
        """
        encoding = "utf-8" if self._wide or self.encoding == "utf-8-sig" else self.encoding or "utf-8"
        try:
            return line.data.decode(encoding)
        except UnicodeDecodeError as error:
            if self._wide:
                raise ValueError("not UTF-16: a character is damaged") from None
            raise ValueError(self.bad_byte(error, line.offset)) from None

    def decode_all(self, data: bytes) -> str:
        """The text of a whole file.

        Raises:
            FileError: which byte is wrong, and where.
        """
        try:
            return data.decode(self.encoding or "utf-8")
        except UnicodeDecodeError as error:
            raise FileError(self.bad_byte(error, 0)) from None
        except UnicodeError as error:  # of codecs that tell no place
            raise FileError(f"not {str(self.encoding).upper()}: {error}") from None

    def bad_byte(self, error: UnicodeDecodeError, offset: int) -> str:
        """The sentence for a byte that is not of the encoding; `offset` is where the decoded bytes begin."""
        advice = "; --encoding names the right one" if self.guessed else ""
        place = f"byte 0x{error.object[error.start]:02X} at byte {offset + error.start:,} of the file"
        return f"not {error.encoding.upper()}: {place}{advice}"


def _read_fully(stream: BinaryIO, size: int) -> bytes:
    parts = []
    while size and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class _Rejoined(io.RawIOBase):
    """A stream whose beginning was read already."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = io.BytesIO(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._head.read(len(buffer)) or self._rest.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _AsUtf8(io.RawIOBase):
    """A UTF-16 stream as UTF-8; what is damaged stays damaged, so that its row is rejected and not altered."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._left = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not (self._left or self._ended):
            data = self._stream.read(1 << 16)
            self._ended = not data
            try:
                text = self._decoder.decode(data, final=self._ended)
            except UnicodeDecodeError:  # half a character at the very end
                text = "\ud800"
            self._left = text.encode("utf-8", "surrogatepass")
        data, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)
