"""Every commit of this process: told to a listener, and a place to be killed at."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite


@dataclass(frozen=True, slots=True)
class Commit:
    """Where the index stands after a commit, and what its log says of it."""

    sequence: int
    kind: str


def watch_commits(
    before: Callable[[], None], after: Callable[[], None], told: Callable[[Commit], None], *, early: bool = False
) -> None:
    """Around each commit of SQLAlchemy's that changes something call `before` and `after`, then `told`.

    For the rest of the life of this process.

    Args:
        early: tell before the commit, which is wrong.
    """
    begun: dict[int, int] = {}

    @event.listens_for(Engine, "begin")
    def _begin(connection: Connection) -> None:
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        begun[id(raw)] = raw.total_changes

    dialect: Any = SQLiteDialect_pysqlite
    commit = dialect.do_commit

    def watched(self: SQLiteDialect_pysqlite, connection: Any) -> None:
        raw: sqlite3.Connection = getattr(connection, "driver_connection", connection)
        if raw.total_changes == begun.get(id(raw)):
            commit(self, connection)
            return
        if early:
            told(where(raw))
        before()
        commit(self, connection)
        after()
        if not early:
            told(where(raw))

    dialect.do_commit = watched


def where(connection: sqlite3.Connection) -> Commit:
    """Where the index of a connection stands."""
    row = connection.execute(
        "SELECT state.sequence, coalesce(log.kind, '') FROM state LEFT JOIN log ON log.sequence = state.sequence"
    ).fetchone()
    return Commit(*row)
