"""Format 3: several encodings in one index, and checksums of rows."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from struct import Struct
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ROWS = 2000
_NUMBERS = Struct("<6q")
_Checksum = Callable[[sa.Row[Any]], int]


def upgrade() -> None:
    """Add the columns, and the checksums of what is there."""
    op.add_column("state", sa.Column("checkpointed", sa.BigInteger, nullable=False, server_default=sa.text("0")))
    op.add_column("state", sa.Column("building_id", sa.Integer))
    op.add_column("state", sa.Column("previous_id", sa.Integer))
    for column in ("reached", "live", "live_sum"):
        op.add_column("encoding", sa.Column(column, sa.BigInteger, nullable=False, server_default=sa.text("0")))
    op.add_column("deletion", sa.Column("encoding_id", sa.Integer, nullable=False, server_default=sa.text("1")))
    for table in ("state", "encoding", "document", "passage"):
        op.add_column(table, sa.Column("checksum", sa.BigInteger, nullable=False, server_default=sa.text("0")))
    connection = op.get_bind()
    connection.execute(
        sa.text(
            "UPDATE encoding SET live = (SELECT count(*) FROM passage WHERE encoding_id = encoding.id), "
            "live_sum = (SELECT coalesce(sum(vector_id), 0) FROM passage WHERE encoding_id = encoding.id)"
        )
    )
    _fill(
        connection,
        "state",
        "id",
        "SELECT id, index_id, encoding_id, sequence, deletions_from, next_key, next_vector_id, next_segment, "
        "building_id, previous_id, checkpointed FROM state",
        _state,
    )
    _fill(connection, "encoding", "id", "SELECT id, settings, probe_vectors FROM encoding", _encoding)
    _fill(
        connection,
        "document",
        "key",
        "SELECT key, sequence, id, (SELECT name FROM source WHERE source.id = source_id), title, metadata, "
        "content_hash, encoding_hash, text FROM document",
        _document,
    )
    _fill(
        connection,
        "passage",
        "vector_id",
        'SELECT vector_id, document, encoding_id, ordinal, "start", "end", vector FROM passage',
        _passage,
    )


def _fill(connection: sa.Connection, table: str, key: str, columns: str, checksum: _Checksum) -> None:
    after = -1
    page = sa.text(f"{columns} WHERE {key} > :after ORDER BY {key} LIMIT {_ROWS}")
    while rows := connection.execute(page, {"after": after}).all():
        connection.execute(
            sa.text(f"UPDATE {table} SET checksum = :checksum WHERE {key} = :key"),
            [{"key": row[0], "checksum": checksum(row)} for row in rows],
        )
        after = rows[-1][0]


def _state(row: sa.Row[Any]) -> int:
    return zlib.crc32("\0".join(map(str, tuple(row)[1:])).encode())


def _encoding(row: sa.Row[Any]) -> int:
    id, settings, probe_vectors = tuple(row)
    return zlib.crc32(bytes(probe_vectors), zlib.crc32(f"{id}\0{settings}".encode()))


def _document(row: sa.Row[Any]) -> int:
    key, sequence, id, source, title, metadata, content_hash, encoding_hash, text = tuple(row)
    said = f"{key}\0{sequence}\0{id}\0{source}\0{title}\0{metadata}\0{text}".encode()
    return zlib.crc32(said, zlib.crc32(bytes(content_hash) + bytes(encoding_hash)))


def _passage(row: sa.Row[Any]) -> int:
    numbers, vector = row[:-1], row[-1]
    return zlib.crc32(bytes(vector), zlib.crc32(_NUMBERS.pack(*numbers)))
