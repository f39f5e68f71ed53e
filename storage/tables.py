"""The tables of an index. Numbers that are never used again (keys, vector ids, segments) are counted in `state`.

The same tables can live in PostgreSQL: nothing here depends on SQLite beyond options it alone reads. Defaults are for
rows that a migration finds; what is written names every column.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

# Text compares by code point everywhere; SQLite's default (BINARY over UTF-8) does already.
_Text = Text().with_variant(Text(collation="C"), "postgresql")
# Only a column of type INTEGER is SQLite's row id; its integers have 64 bits all the same.
_Id = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData()

state = Table(
    "state",
    metadata,
    Column("id", SmallInteger, CheckConstraint("id = 1", name="state_is_one_row"), primary_key=True),
    Column("format_version", Integer, nullable=False),
    Column("index_id", _Text, nullable=False),
    Column("encoding_id", Integer, ForeignKey("encoding.id"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    # `deletion` is complete for every change after this sequence; a reader further behind starts anew.
    Column("deletions_from", BigInteger, nullable=False),
    Column("next_key", BigInteger, nullable=False),
    Column("next_vector_id", BigInteger, nullable=False),
    Column("next_segment", BigInteger, nullable=False),
    # Every change up to this sequence is in index.db itself, whatever stands in the WAL; see `wal.py`.
    Column("checkpointed", BigInteger, nullable=False, server_default=text("0")),
    # The encoding that a reindex is making beside the current one, and the one that a rollback leads back to.
    Column("building_id", Integer),
    Column("previous_id", Integer),
    Column("checksum", BigInteger, nullable=False, server_default=text("0")),
)

encoding = Table(
    "encoding",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("settings", _Text, nullable=False),
    Column("probe_vectors", LargeBinary, nullable=False),
    # Documents of keys up to this one have their passages of the encoding; the current one has those of all.
    Column("reached", BigInteger, nullable=False, server_default=text("0")),
    # How many vectors of it there are, and the sum of their ids: what a snapshot must come to.
    Column("live", BigInteger, nullable=False, server_default=text("0")),
    Column("live_sum", BigInteger, nullable=False, server_default=text("0")),
    Column("checksum", BigInteger, nullable=False, server_default=text("0")),
)

# The choice that tuning made, as JSON: one for each encoding, because another encoder wants another weight.
tuning = Table(
    "tuning",
    metadata,
    Column("encoding_id", Integer, ForeignKey("encoding.id"), primary_key=True, autoincrement=False),
    Column("choice", _Text, nullable=False),
)

source = Table(
    "source",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", _Text, nullable=False, unique=True),
)

# The long columns stand last: what a query compares is read without walking a text's overflow pages.
document = Table(
    "document",
    metadata,
    Column("key", _Id, primary_key=True, autoincrement=False),
    Column("id", _Text, nullable=False, unique=True),
    Column("source_id", Integer, ForeignKey("source.id"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    Column("encoding_hash", LargeBinary, nullable=False),
    Column("title", _Text),
    Column("metadata", _Text, nullable=False),
    Column("text", _Text, nullable=False),
    Column("checksum", BigInteger, nullable=False, server_default=text("0")),
    Index("document_source", "source_id"),
    Index("document_encoding_hash", "encoding_hash"),
)

passage = Table(
    "passage",
    metadata,
    Column("vector_id", _Id, primary_key=True, autoincrement=False),
    Column("document", BigInteger, ForeignKey("document.key"), nullable=False),
    Column("encoding_id", Integer, ForeignKey("encoding.id"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    Column("checksum", BigInteger, nullable=False, server_default=text("0")),
    Index("passage_document", "document"),
)

field = Table(
    "field",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", _Text, nullable=False, unique=True),
)

# One row per value. `attribute_value` serves text (`number IS NULL AND text = ?`), numbers and booleans
# (`kind = ? AND number < ?`) and "has any value" (`field_id = ?`); the primary key serves deleting a document.
attribute = Table(
    "attribute",
    metadata,
    Column("document", BigInteger, ForeignKey("document.key"), primary_key=True, autoincrement=False),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("field_id", Integer, ForeignKey("field.id"), nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("number", Double),
    Column("text", _Text),
    Index("attribute_value", "field_id", "kind", "number", "text"),
    sqlite_with_rowid=False,
)

# Vectors that left since the segments that hold them were written, or since the tail was last cleared.
deletion = Table(
    "deletion",
    metadata,
    Column("vector_id", _Id, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    Column("encoding_id", Integer, nullable=False, server_default=text("1")),
    Index("deletion_sequence", "sequence"),
)

# The rows are the current set: ranges of vector ids of one encoding that do not overlap.
# What lies beyond the highest `last_id` is the tail.
segment = Table(
    "segment",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),
    Column("encoding_id", Integer, ForeignKey("encoding.id"), nullable=False),
    Column("first_id", BigInteger, nullable=False),
    Column("last_id", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
)

segment_file = Table(
    "segment_file",
    metadata,
    Column("segment_id", _Id, ForeignKey("segment.id"), primary_key=True, autoincrement=False),
    Column("suffix", _Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", _Text, nullable=False),
)

# Keyword postings of the tail: each row stands for a range of vector ids, as one or more commits wrote them. Those of a
# segment stand in its file; a row is deleted when a segment that reaches beyond it becomes current.
block = Table(
    "block",
    metadata,
    Column("first_id", _Id, primary_key=True, autoincrement=False),
    Column("last_id", BigInteger, nullable=False),
    Column("encoding_id", Integer, ForeignKey("encoding.id"), nullable=False),
    Column("analyzer", _Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

log = Table(
    "log",
    metadata,
    Column("sequence", _Id, primary_key=True, autoincrement=False),
    Column("time", _Text, nullable=False),
    Column("kind", _Text, nullable=False),
    Column("counts", _Text, nullable=False),
)
