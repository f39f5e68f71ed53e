"""Making an empty index, and whether a path is free for one."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection, insert, inspect

from yusa.errors import IndexExistsError, IndexNotFoundError, StorageError
from yusa.storage import tables as t
from yusa.storage.checksums import STATE_COLUMNS
from yusa.storage.database import DATABASE
from yusa.storage.engine import translated, writer_engine
from yusa.storage.files import SEGMENTS, make_directory, sync_directory
from yusa.storage.lock import writer_lock
from yusa.storage.network import refuse_network
from yusa.storage.opening import open_reader, refuse_missing, table_names, too_long
from yusa.storage.settings import Settings
from yusa.storage.state import FORMAT_VERSION, State, insert_settings, write_state

_OWN_FILES: Final = {DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal", "writer.lock", SEGMENTS}


def create_index(path: Path, settings: Settings) -> None:
    """Make the directory and its database.

    Raises:
        IndexExistsError, StorageError: see `Store.create`.
    """
    require_free(path)
    try:
        make_directory(path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be made ({error.strerror}). Check the path, its permissions and its disk."
        ) from error
    with writer_lock(path, wait=0.0), translated(path):
        engine = writer_engine(path, create=True)
        try:
            with engine.begin() as connection:
                if inspect(connection).get_table_names():
                    raise IndexExistsError(f"there is an index at {path} already. Open it, or give another path.")
                _fill(connection, settings)
        finally:
            engine.dispose()
        try:
            sync_directory(path)
            sync_directory(path.absolute().parent)
        except OSError as error:
            raise StorageError(
                f"the index at {path} was made, but a power loss may take it again ({error.strerror}). Check the "
                "disk, delete the directory and create the index again."
            ) from error


def require_free(path: Path) -> None:
    """Refuse a path where `create` could not make an index; nothing is made.

    Raises:
        IndexExistsError: there is an index, or something else, at this path.
        StorageError: the directory cannot be read, lies on a network file system, or its path is too long.
    """
    if reason := too_long(path):
        raise StorageError(reason)
    refuse_network(path)
    if exists(path):
        raise IndexExistsError(f"there is an index at {path} already. Open it, or give another path.")
    try:
        strangers = sorted(entry.name for entry in path.iterdir() if entry.name not in _OWN_FILES)
    except FileNotFoundError:
        return
    except OSError as error:
        if path.is_file():
            raise IndexExistsError(f"{path} is a file. Give the path of a directory that is not there yet.") from None
        raise StorageError(
            f"{path} cannot be made ({error.strerror}). Check the path, its permissions and its disk."
        ) from error
    if strangers:
        raise IndexExistsError(f"{path} is not empty (it holds {strangers[0]!r}). Give a new or an empty directory.")


def exists(path: Path) -> bool:
    """Whether there is an index at a path, be it readable or not; one whose creation was killed is none."""
    try:
        refuse_missing(path)
        readers, _ = open_reader(path)
        try:
            with translated(path), readers.connection() as connection:
                return bool(table_names(connection))
        finally:
            readers.close()
    except IndexNotFoundError:
        return False
    except StorageError:
        return True


def _fill(connection: Connection, settings: Settings) -> None:
    t.metadata.create_all(connection, checkfirst=False)
    insert_settings(connection, 1, settings)
    state = State(
        format_version=FORMAT_VERSION,
        index_id=uuid4().hex,
        encoding_id=1,
        sequence=0,
        deletions_from=0,
        next_key=1,
        next_vector_id=0,
        next_segment=1,
        building_id=None,
        previous_id=None,
        checkpointed=0,
        live=0,
        live_sum=0,
    )
    row = {name: getattr(state, name) for name in ("format_version", *STATE_COLUMNS)}
    connection.execute(insert(t.state).values(id=1, **row))
    write_state(connection, state, "create", {})
