"""Format 1: the first.

Revisions spell their tables out, so that a later change of `storage.tables` does not change what an old format was.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make every table and index of format 1."""
    op.create_table(
        "encoding",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("settings", _TEXT, nullable=False),
        sa.Column("probe_vectors", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "state",
        sa.Column("id", sa.SmallInteger, sa.CheckConstraint("id = 1", name="state_is_one_row"), primary_key=True),
        sa.Column("format_version", sa.Integer, nullable=False),
        sa.Column("index_id", _TEXT, nullable=False),
        sa.Column("encoding_id", sa.Integer, sa.ForeignKey("encoding.id"), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("deletions_from", sa.BigInteger, nullable=False),
        sa.Column("next_key", sa.BigInteger, nullable=False),
        sa.Column("next_vector_id", sa.BigInteger, nullable=False),
        sa.Column("next_segment", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "source",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", _TEXT, nullable=False, unique=True),
    )
    op.create_table(
        "document",
        sa.Column("key", _ID, primary_key=True, autoincrement=False),
        sa.Column("id", _TEXT, nullable=False, unique=True),
        sa.Column("source_id", sa.Integer, sa.ForeignKey("source.id"), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("content_hash", sa.LargeBinary, nullable=False),
        sa.Column("encoding_hash", sa.LargeBinary, nullable=False),
        sa.Column("title", _TEXT),
        sa.Column("metadata", _TEXT, nullable=False),
        sa.Column("text", _TEXT, nullable=False),
    )
    op.create_index("document_source", "document", ["source_id"])
    op.create_index("document_encoding_hash", "document", ["encoding_hash"])
    op.create_table(
        "passage",
        sa.Column("vector_id", _ID, primary_key=True, autoincrement=False),
        sa.Column("document", sa.BigInteger, sa.ForeignKey("document.key"), nullable=False),
        sa.Column("encoding_id", sa.Integer, sa.ForeignKey("encoding.id"), nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("start", sa.Integer, nullable=False),
        sa.Column("end", sa.Integer, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
    op.create_index("passage_document", "passage", ["document"])
    op.create_table(
        "field",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", _TEXT, nullable=False, unique=True),
    )
    op.create_table(
        "attribute",
        sa.Column("document", sa.BigInteger, sa.ForeignKey("document.key"), primary_key=True, autoincrement=False),
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("field_id", sa.Integer, sa.ForeignKey("field.id"), nullable=False),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("number", sa.Double),
        sa.Column("text", _TEXT),
        sqlite_with_rowid=False,
    )
    op.create_index("attribute_value", "attribute", ["field_id", "kind", "number", "text"])
    op.create_table(
        "deletion",
        sa.Column("vector_id", _ID, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.create_index("deletion_sequence", "deletion", ["sequence"])
    op.create_table(
        "segment",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("encoding_id", sa.Integer, sa.ForeignKey("encoding.id"), nullable=False),
        sa.Column("first_id", sa.BigInteger, nullable=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "segment_file",
        sa.Column("segment_id", _ID, sa.ForeignKey("segment.id"), primary_key=True, autoincrement=False),
        sa.Column("suffix", _TEXT, primary_key=True),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", _TEXT, nullable=False),
    )
    op.create_table(
        "log",
        sa.Column("sequence", _ID, primary_key=True, autoincrement=False),
        sa.Column("time", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("counts", _TEXT, nullable=False),
    )
