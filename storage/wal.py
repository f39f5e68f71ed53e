"""The WAL: copied into the database and kept short, and recognised as the one that belongs to it.

SQLite applies whatever stands in `index.db-wal`. Where that is another index's, or where `index.db` was put back under
a WAL that went on without it, a mixture of both comes out. So every commit tells up to which sequence the database is
known to be complete without the WAL (`state.checkpointed`), and every copy has an id of its own: a database that is
behind that sequence, or of another id than its WAL says, is refused.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yusa.errors import IndexFormatError
from yusa.storage.database import BUSY_SECONDS, DATABASE, WAL_BYTES, driver_connection
from yusa.storage.files import file_bytes

if TYPE_CHECKING:
    from sqlalchemy import Connection

_log = logging.getLogger(__name__)

# Longer than a search takes.
_WAIT: Final = 1.0
_TURN: Final = 0.1
_KNOWN: Final = "yusa.checkpointed"


def wal_bytes(directory: Path) -> int:
    """Size of an index's WAL; 0 if there is none."""
    return file_bytes(_log_of(directory / DATABASE))


def known_checkpoint(connection: Connection) -> int:
    """The sequence up to which the writer's connection has seen the database complete; 0 if it has not."""
    return int(connection.info.get(_KNOWN, 0))


def note_checkpoint(connection: Connection) -> None:
    """The database is complete as it stands: what is committed from now on says so."""
    ((sequence,),) = driver_connection(connection).execute("SELECT sequence FROM state").fetchall()
    connection.info[_KNOWN] = sequence


def checkpoint(connection: Connection, *, wait: float = 0.0) -> None:
    """Copy the WAL into the database and empty it, as far as readers allow within `wait` seconds.

    A failure (a full disk) is only logged: what is committed is safe in the WAL.
    """
    raw = driver_connection(connection)
    end = time.monotonic() + wait
    try:
        while True:
            # In short turns: one long wait was seen to miss that the reader it waited for had gone.
            raw.execute(f"PRAGMA busy_timeout={int(min(wait, _TURN) * 1000)}")
            ((busy, frames, copied),) = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            # Both are -1 where another connection was copying.
            if not busy or frames == copied >= 0:
                note_checkpoint(connection)
            if not busy or time.monotonic() >= end:
                return
    except sqlite3.OperationalError as error:
        _log.warning("the WAL was not copied into the database: %s", error)
    finally:
        raw.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")


class WalLimit:
    """Keeps the WAL at twice the size at which it is copied, plus one commit. VACUUM and a migration are one commit.

    SQLite begins the file anew only when no reader needs it, so while searches overlap without a gap it grows with
    every commit. Asked to wait, it has the searches that begin meanwhile read the database, and is done when those
    under way have ended.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._next = WAL_BYTES

    def keep(self, connection: Connection) -> None:
        """Empty a WAL that has grown long, and one of twice that size by waiting for the searches under way.

        To be called between two transactions. Where it cannot be emptied, it is tried again when the file has
        grown by as much again.
        """
        size = wal_bytes(self._directory)
        # It may have been emptied since.
        self._next = min(self._next, size + WAL_BYTES)
        if size > self._next:
            long = size > 2 * WAL_BYTES
            checkpoint(connection, wait=_WAIT if long else 0.0)
            left = wal_bytes(self._directory)
            # What could not be emptied without waiting is waited for at twice the size, and not later.
            self._next = left + WAL_BYTES if long or left <= WAL_BYTES else 2 * WAL_BYTES


def require_own_wal(file: Path, connection: sqlite3.Connection) -> None:
    """Refuse a WAL that belongs to another database than the file beside it, or to a later state of it.

    Raises:
        IndexFormatError: it does; what to do is said.
    """
    log = _log_of(file)
    if not file_bytes(log):
        return
    ((index_id, checkpointed),) = connection.execute("SELECT index_id, checkpointed FROM state").fetchall()

    def foreign(alone: tuple[str, int] | None) -> bool:
        return alone is not None and (alone[0] != index_id or alone[1] < checkpointed)

    # Last, as the database only gets newer: a writer may be at work. One into which the WAL is being copied, or was
    # when its writer was killed, may show anything by itself, so only a whole one counts; that takes long to tell.
    if foreign(_alone(file, whole=False)) and foreign(_alone(file, whole=True)):
        raise IndexFormatError(
            f"{log} belongs to another database than {file.name} beside it, as after copying single files of an index. "
            f"Put both back as they were, or restore a backup; if {file.name} alone is what you want, move {log.name} "
            f"and {file.name}-shm away."
        )


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def _alone(file: Path, *, whole: bool) -> tuple[str, int] | None:
    """Id and sequence of what a database holds without its WAL.

    None if it holds no state, as before its first checkpoint, or, where `whole` is asked for, is no sound database.
    """
    uri = f"{file.absolute().as_uri()}?mode=ro&immutable=1"
    question = "SELECT index_id, sequence FROM state"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            rows = connection.execute(question).fetchall()
            if whole and connection.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]:
                return None
            if len(rows) != 1 or connection.execute(question).fetchall() != rows:
                return None
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    id, sequence = rows[0]
    return (id, sequence) if isinstance(id, str) and isinstance(sequence, int) else None
