"""Bringing an index of an older format to this one: a backup beside it, then one transaction."""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import Connection, select, update

from yusa.errors import StorageError
from yusa.storage import tables as t
from yusa.storage.backup import copy_database
from yusa.storage.database import driver_connection
from yusa.storage.engine import translated, writer_engine
from yusa.storage.files import sync_directory
from yusa.storage.state import FORMAT_VERSION
from yusa.storage.wal import checkpoint

_log = logging.getLogger(__name__)

SCRIPTS = Path(__file__).parent / "migrations"


def migrate(directory: Path, *, scripts: Path = SCRIPTS, target: int = FORMAT_VERSION) -> Path | None:
    """Migrate an index; only who holds the writer's lock may call it.

    A kill leaves the old format whole: the backup is written beside the database under a temporary name first, and the
    change is one transaction.

    Args:
        scripts: Alembic's directory; revision `0002` makes format 2.

    Returns:
        The backup of the old database (`index.db.format-N`), or None if the format was right already.
    """
    with translated(directory):
        engine = writer_engine(directory)
        try:
            with engine.connect() as connection:
                with connection.begin():
                    version = int(connection.execute(select(t.state.c.format_version)).scalar_one())
                if version >= target:
                    return None
                saved = directory / f"index.db.format-{version}"
                temporary = saved.with_name(f".{saved.name}.tmp")
                try:
                    temporary.unlink(missing_ok=True)
                    copy_database(driver_connection(connection), temporary, forget_segments=False)
                    temporary.replace(saved)
                    sync_directory(directory)
                except OSError as error:
                    raise StorageError(
                        f"{directory} could not be migrated ({error.strerror or error}). It is as it was; check the "
                        "disk (space, quota, permissions), then open it again."
                    ) from error
                _log.info(
                    "migrating %s from format %d to %d; %s keeps the old one", directory, version, target, saved.name
                )
                with connection.begin():
                    upgrade(connection, version, target, scripts)
                    connection.execute(update(t.state).values(format_version=target))
                # As long as the whole database, and the next writer may be long in coming.
                checkpoint(connection)
                return saved
        finally:
            engine.dispose()


def upgrade(connection: Connection, version: int, target: int, scripts: Path = SCRIPTS) -> None:
    """Run the revisions from format `version` (0: an empty database) to `target` in the caller's transaction."""
    from alembic.config import Config
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    directory = ScriptDirectory.from_config(config)
    context = MigrationContext.configure(connection)
    with Operations.context(context):
        for revision in reversed(
            list(directory.iterate_revisions(_name(target), _name(version) if version else "base"))
        ):
            revision.module.upgrade()


def _name(version: int) -> str:
    return f"{version:04d}"
