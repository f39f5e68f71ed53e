"""An older index becomes a newer one whole, with its old self beside it, or stays what it was."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect
from storing import check_against, filled, make_entries, make_entry, open_store, vector_ids

from yusa.errors import IndexFormatError
from yusa.storage import Entry, tables
from yusa.storage.engine import writer_engine
from yusa.storage.migrate import migrate, upgrade
from yusa.storage.state import FORMAT_VERSION


def _model(numbers: range) -> dict[str, Entry]:
    return {entry.document.id: entry for entry in make_entries(numbers)}


def test_the_revisions_make_the_tables(tmp_path: Path) -> None:
    (tmp_path / "migrated").mkdir()
    engine = writer_engine(tmp_path / "migrated", create=True)
    with engine.begin() as connection:
        upgrade(connection, 0, FORMAT_VERSION)
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


_NEXT = """
import sqlalchemy as sa
from alembic import op
revision = "0004"
down_revision = "0003"
def upgrade() -> None:
    op.add_column("document", sa.Column("language", sa.Text))
    op.execute("UPDATE document SET language = 'ko'")
    FAIL
"""


def _scripts(directory: Path, fail: str = "pass") -> Path:
    scripts = directory / f"scripts {len(list(directory.iterdir()))}"
    shutil.copytree(Path(tables.__file__).parent / "migrations", scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "0004_language.py").write_text(_NEXT.replace("FAIL", fail), encoding="utf-8")
    return scripts


def test_migration_is_one_transaction_after_a_backup(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(10))
    store.close()
    with pytest.raises(ZeroDivisionError):
        migrate(store.path, scripts=_scripts(tmp_path, "1 / 0"), target=4)
    check_against(store, _model(range(10)))
    store.close()
    saved = migrate(store.path, scripts=_scripts(tmp_path), target=4)
    assert saved == store.path / "index.db.format-3"
    assert migrate(store.path, scripts=_scripts(tmp_path), target=4) is None
    engine = writer_engine(store.path)
    with engine.begin() as connection:
        assert "language" in {column["name"] for column in inspect(connection).get_columns("document")}
        assert connection.exec_driver_sql("SELECT format_version FROM state").scalar_one() == 4
        assert connection.exec_driver_sql("SELECT count(*) FROM document WHERE language = 'ko'").scalar_one() == 10
    engine.dispose()
    with pytest.raises(IndexFormatError, match="format 4"):
        open_store(store.path)
    (tmp_path / "old").mkdir()
    shutil.copy(saved, tmp_path / "old" / "index.db")
    old = open_store(tmp_path / "old")
    check_against(old, _model(range(10)))
    assert old.verify(deep=True).ok
    old.close()


def _stored(directory: Path, number: int) -> tuple[Path, dict[str, Entry]]:
    """What the version of a format wrote: d0 to d59 of two passages and a title, d1 and d2 deleted, d3 replaced."""
    with zipfile.ZipFile(Path(__file__).parent / "fixtures" / f"format-{number}.zip") as archive:
        archive.extractall(directory / "index")
    model = {entry.document.id: entry for entry in make_entries(range(60), passages=2, title="제목")}
    model["d3"] = make_entry("d3", metadata={"number": 3})
    del model["d1"], model["d2"]
    return directory / "index", model


def test_every_format_is_stored() -> None:
    stored = {path.name for path in (Path(__file__).parent / "fixtures").iterdir()}
    assert stored == {f"format-{number}.zip" for number in range(1, FORMAT_VERSION + 1)}


def test_an_index_of_format_1_is_searched_and_its_writer_makes_the_postings(tmp_path: Path, small_tail: int) -> None:
    path, model = _stored(tmp_path, 1)
    store = open_store(path)
    assert (path / "index.db.format-1").is_file()
    check_against(store, model)
    owned = vector_ids(path)
    assert not store.verify().ok
    for _ in range(2):
        with store.read() as view:
            assert view.holding(["d7"]).tolist() == [i for i in owned["d7"] if "d7" in view.texts([i])[i][1].split()]
            assert len(view.lexical([{"제목": 1.0}], 200)[1][0].nonzero()[0]) > 0
            assert view.tuned() == {}
        with store.write():
            pass
    assert store.verify(deep=True).ok
    check_against(store, model)
    store.close()


@pytest.mark.parametrize("number", range(2, FORMAT_VERSION + 1))
def test_an_index_of_a_format_with_postings_is_whole_at_once(tmp_path: Path, small_tail: int, number: int) -> None:
    path, model = _stored(tmp_path, number)
    store = open_store(path)
    assert (path / f"index.db.format-{number}").is_file() == (number < FORMAT_VERSION)
    check_against(store, model)
    assert store.verify(deep=True).ok
    assert store.stats().format_version == FORMAT_VERSION
    with store.read() as view:
        assert view.tuned() == {"mode": "dense"}
    with store.write() as writer:
        writer.put(make_entries(range(100, 160)))
        writer.delete(["d9"])
    del model["d9"]
    check_against(store, model | _model(range(100, 160)))
    assert store.verify(deep=True).ok
    store.close()
