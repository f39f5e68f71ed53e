"""An older index becomes a newer one whole, with its old self beside it, or stays what it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect
from storing import check_against, filled, make_entries

from yusa.errors import IndexFormatError
from yusa.storage import Entry, Store, tables
from yusa.storage.database import writer_engine
from yusa.storage.migrate import migrate, upgrade


def _model(numbers: range) -> dict[str, Entry]:
    return {entry.document.id: entry for entry in make_entries(numbers)}


def test_the_first_revision_makes_the_tables(tmp_path: Path) -> None:
    (tmp_path / "migrated").mkdir()
    engine = writer_engine(tmp_path / "migrated", create=True)
    with engine.begin() as connection:
        upgrade(connection, 0, 1)
    filled(tmp_path / "made", range(1)).close()
    made = writer_engine(tmp_path / "made")
    with engine.connect() as one, made.connect() as other:
        assert compare_metadata(MigrationContext.configure(one, opts={"compare_type": True}), tables.metadata) == []
        query = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%' ORDER BY type, name"
        first, second = (
            [(r[0], r[1], " ".join((r[2] or "").split())) for r in connection.exec_driver_sql(query)]
            for connection in (one, other)
        )
        assert first == second
    engine.dispose()
    made.dispose()


_SECOND = """
import sqlalchemy as sa
from alembic import op
revision = "0002"
down_revision = "0001"
def upgrade() -> None:
    op.add_column("document", sa.Column("language", sa.Text))
    op.execute("UPDATE document SET language = 'ko'")
    FAIL
"""


def _scripts(directory: Path, fail: str = "pass") -> Path:
    scripts = directory / f"scripts {len(list(directory.iterdir()))}"
    shutil.copytree(Path(tables.__file__).parent / "migrations", scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "0002_language.py").write_text(_SECOND.replace("FAIL", fail), encoding="utf-8")
    return scripts


def test_migration_is_one_transaction_after_a_backup(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(10))
    store.close()
    with pytest.raises(ZeroDivisionError):
        migrate(store.path, scripts=_scripts(tmp_path, "1 / 0"), target=2)
    check_against(store, _model(range(10)))
    store.close()
    saved = migrate(store.path, scripts=_scripts(tmp_path), target=2)
    assert saved == store.path / "index.db.format-1"
    assert migrate(store.path, scripts=_scripts(tmp_path), target=2) is None
    engine = writer_engine(store.path)
    with engine.begin() as connection:
        assert "language" in {column["name"] for column in inspect(connection).get_columns("document")}
        assert connection.exec_driver_sql("SELECT format_version FROM state").scalar_one() == 2
        assert connection.exec_driver_sql("SELECT count(*) FROM document WHERE language = 'ko'").scalar_one() == 10
    engine.dispose()
    with pytest.raises(IndexFormatError, match="format 2"):
        Store.open(store.path)
    (tmp_path / "old").mkdir()
    shutil.copy(saved, tmp_path / "old" / "index.db")
    old = Store.open(tmp_path / "old")
    check_against(old, _model(range(10)))
    assert old.verify(deep=True).ok
    old.close()
