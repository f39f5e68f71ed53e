"""Checksums of rows: SQLite has none of its own, and a bit that flips on a disk must not become a hit's text.

CRC-32 finds every flip of up to 32 neighbouring bits; other damage passes once in four thousand million times.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from yusa.errors import IndexFormatError
from yusa.storage.database import rows

if TYPE_CHECKING:
    from yusa.storage.database import AnyConnection

_NUMBERS = struct.Struct("<6q")

PASSAGE_COLUMNS: Final = 'vector_id, document, encoding_id, ordinal, start, "end", vector, passage.checksum'
"""What `sound_passage` takes: the columns of `passage` in the order of `passage_checksum`, and the checksum."""

DOCUMENT_COLUMNS: Final = (
    "document.key, document.id, source.name, document.sequence, content_hash, encoding_hash, title, metadata, text, "
    "document.checksum"
)
"""What `sound_document` takes: the columns of `DOCUMENTS` in the order of `document_checksum`, and the checksum."""

DOCUMENTS: Final = "document JOIN source ON source.id = document.source_id"
"""Rows of `document` with their sources."""

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


def sound_document(row: Sequence[Any]) -> bool:
    """Whether the values of `DOCUMENT_COLUMNS` are what was written."""
    key, id, source, sequence, content, encoding, *said, checksum = row
    return _is(checksum, document_checksum, key, id, source, sequence, (content, encoding), *said)


def sound_passage(row: Sequence[Any]) -> bool:
    """Whether the values of `PASSAGE_COLUMNS` are what was written."""
    *values, checksum = row
    return _is(checksum, passage_checksum, *values)


def unsound_passage(found: Sequence[Sequence[Any]]) -> int | None:
    """The vector id of the first of some rows that is not `sound_passage`, None if all are."""
    pack, crc32 = _NUMBERS.pack, zlib.crc32
    try:
        # As `passage_checksum`, without its call for each of what may be 50,000 rows.
        if all(
            crc32(vector, crc32(pack(id, document, encoding_id, ordinal, start, end))) == checksum
            for id, document, encoding_id, ordinal, start, end, vector, checksum in found
        ):
            return None
    except (TypeError, struct.error):
        pass
    return int(next(row[0] for row in found if not sound_passage(row)))


def sound_encoding(id: int, settings: str, probe_vectors: bytes, checksum: int) -> bool:
    """Whether a row of `encoding` is what was written."""
    return _is(checksum, encoding_checksum, id, settings, probe_vectors)


def _is(checksum: object, function: Callable[..., int], *values: Any) -> bool:
    try:
        return function(*values) == checksum
    except (TypeError, AttributeError, struct.error):
        # What flipped is the type of a value: SQLite keeps it with each.
        return False


def damaged(connection: AnyConnection, what: str) -> IndexFormatError:
    """The error for a row that is not what was written."""
    # The first is the index; there may be one for temporary tables, too.
    path = rows(connection, "PRAGMA database_list")[0][2]
    return IndexFormatError(
        f"{path} is damaged: {what} is not what was written. Run `yusa verify --deep` to see how far, and restore a "
        "backup."
    )
