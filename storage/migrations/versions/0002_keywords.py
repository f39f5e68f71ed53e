"""Format 2: keyword postings of the tail, and the choice that tuning made.

Segments of format 1 have no postings; the first writer builds them anew, and until then readers make them from the
texts.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add tables `tuning` and `block`."""
    op.create_table(
        "tuning",
        sa.Column("encoding_id", sa.Integer, sa.ForeignKey("encoding.id"), primary_key=True, autoincrement=False),
        sa.Column("choice", _TEXT, nullable=False),
    )
    op.create_table(
        "block",
        sa.Column("first_id", _ID, primary_key=True, autoincrement=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sa.Column("encoding_id", sa.Integer, sa.ForeignKey("encoding.id"), nullable=False),
        sa.Column("analyzer", _TEXT, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
