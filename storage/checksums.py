"""Checksums of rows: SQLite has none of its own, and a bit that flips on a disk must not become a hit's text.

CRC-32 finds every flip of up to 32 neighbouring bits; other damage passes once in four thousand million times.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, select

from yusa.errors import IndexFormatError
from yusa.storage import tables as t

_NUMBERS = struct.Struct("<6q")

PASSAGE_COLUMNS: Final = tuple(t.passage.c)
"""What `sound_passage` takes: the columns in the order of `passage_checksum`, and the checksum."""

STATE_COLUMNS: Final = (
    "index_id", "encoding_id", "sequence", "deletions_from", "next_key", "next_vector_id", "next_segment",
    "building_id", "previous_id", "checkpointed",
)  # fmt: skip
"""All that a row of `state` says but its format version, which a migration changes."""


def document_checksum(
    key: int,
    id: str,
    source: str,
    sequence: int,
    hashes: tuple[bytes, bytes],
    title: str | None,
    metadata: str,
    text: str,
) -> int:
    """The checksum of a row of `document`, with the name of its source; `hashes` are those of content and encoding."""
    said = f"{key}\0{sequence}\0{id}\0{source}\0{title}\0{metadata}\0{text}".encode()
    return zlib.crc32(said, zlib.crc32(b"".join(hashes)))


def state_checksum(*values: str | int | None) -> int:
    """The checksum of the row of `state`, of what stands in `STATE_COLUMNS`."""
    return zlib.crc32("\0".join(map(str, values)).encode())


def renew_state_checksum(connection: sqlite3.Connection) -> None:
    """Make the checksum right after the row of `state` was changed by hand; older formats have none."""
    if any(row[1] == "checksum" for row in connection.execute("PRAGMA table_info(state)")):
        (values,) = connection.execute(f"SELECT {', '.join(STATE_COLUMNS)} FROM state").fetchall()
        connection.execute("UPDATE state SET checksum = ?", (state_checksum(*values),))


def encoding_checksum(id: int, settings: str, probe_vectors: bytes) -> int:
    """The checksum of a row of `encoding`; how far it has reached changes and is left out."""
    return zlib.crc32(probe_vectors, zlib.crc32(f"{id}\0{settings}".encode()))


def passage_checksum(
    vector_id: int, document: int, encoding_id: int, ordinal: int, start: int, end: int, vector: bytes
) -> int:
    """The checksum of a row of `passage`."""
    return zlib.crc32(vector, zlib.crc32(_NUMBERS.pack(vector_id, document, encoding_id, ordinal, start, end)))


def documents_with_source() -> Select[Any]:
    """Rows of `document` with the name of their source as `source`, for `sound_document`."""
    return select(*t.document.c, t.source.c.name.label("source")).join(
        t.source, t.source.c.id == t.document.c.source_id
    )


def sound_document(row: Row[Any]) -> bool:
    """Whether a row of `documents_with_source` is what was written."""
    values = (row.key, row.id, row.source, row.sequence, (row.content_hash, row.encoding_hash))
    return _is(row.checksum, document_checksum, *values, row.title, row.metadata, row.text)


def sound_passage(row: Sequence[Any]) -> bool:
    """Whether the values of `PASSAGE_COLUMNS` are what was written."""
    *values, checksum = row
    return _is(checksum, passage_checksum, *values)


def sound_encoding(row: Row[Any]) -> bool:
    """Whether a row of `encoding` is what was written."""
    return _is(row.checksum, encoding_checksum, row.id, row.settings, row.probe_vectors)


def _is(checksum: object, function: Callable[..., int], *values: Any) -> bool:
    try:
        return function(*values) == checksum
    except (TypeError, AttributeError, struct.error):
        # What flipped is the type of a value: SQLite keeps it with each.
        return False


def damaged(connection: Connection, what: str) -> IndexFormatError:
    """The error for a row that is not what was written."""
    # The first is the index; there may be one for temporary tables, too.
    path = connection.exec_driver_sql("PRAGMA database_list").all()[0][2]
    return IndexFormatError(
        f"{path} is damaged: {what} is not what was written. Run `yusa verify --deep` to see how far, and restore a "
        "backup."
    )
