"""Ways to break the product on purpose, each of which a campaign has to report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from yusa.storage import Entry, database, store
from yusa.storage.writer import Writer


def early() -> None:
    """A commit is acknowledged before it is made, as where a writer answers from memory: every tenth one never is."""
    commit = SQLiteDialect_pysqlite.do_commit
    left = 10

    def forgetful(self: SQLiteDialect_pysqlite, connection: Any) -> None:
        nonlocal left
        left -= 1
        if left % 10 == 0:
            return
        commit(self, connection)

    SQLiteDialect_pysqlite.do_commit = forgetful  # type: ignore[method-assign]


def swapped() -> None:
    """The vectors of a batch are stored in another order than its passages."""
    packed = Writer._packed

    def reversed_rows(self: Writer, entries: Sequence[Entry]) -> list[bytes]:
        return packed(self, entries)[::-1]

    Writer._packed = reversed_rows  # type: ignore[method-assign]


def apart() -> None:
    """Every statement of a writer commits by itself."""

    def engine(directory: Path, *, create: bool = False) -> Engine:
        return database._engine(
            f"{database._uri(directory)}?mode={'rwc' if create else 'rw'}",
            database._WRITER_PRAGMAS,
            "SELECT 1",
            pooled=False,
        )

    store.writer_engine = engine  # type: ignore[attr-defined]
