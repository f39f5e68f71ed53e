"""The contract: whatever the order of changes, the store holds and finds what a dictionary holds."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from storing import check_against, create_store, filled, make_entries, make_entry, make_settings, open_store, vector_ids

from yusa.errors import IndexExistsError, IndexFormatError, IndexNotFoundError, StorageError
from yusa.storage import Entry, Store, publish
from yusa.storage.engine import writer_engine
from yusa.storage.settings import VectorType


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("vector_dtype", ["float16", "float32"])
def test_random_changes_against_a_dictionary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, vector_dtype: VectorType
) -> None:
    monkeypatch.setattr(publish, "TAIL_LIMIT", 30)
    monkeypatch.setattr(publish, "_LARGEST_BYTES", 60 * make_settings(vector_dtype=vector_dtype).vector_bytes)
    random = np.random.default_rng(seed)
    store = create_store(tmp_path / "색인", make_settings(vector_dtype=vector_dtype))
    model: dict[str, Entry] = {}
    other = open_store(store.path)
    used: set[int] = set()
    segments = 0
    for step in range(45):
        match random.choice(["put", "put", "put", "delete", "reopen", "compact", "many"]):
            case "reopen":
                store.close()
                store = open_store(store.path)
            case "compact":
                store.compact()
            case "delete" if model:
                gone = [str(id) for id in random.choice(sorted(model), size=min(len(model), 15), replace=False)]
                with store.write() as writer:
                    assert sorted(writer.delete([*gone, "never there", gone[0]])) == sorted(gone)
                for id in gone:
                    del model[id]
            case kind:
                entries = {}
                for _ in range(30 if kind == "many" else 5):
                    id = f"d{random.integers(120)}"
                    entries[id] = make_entry(
                        id,
                        f"{id} as of step {step}",
                        source="b" if id.endswith("7") else "a",
                        passages=int(random.integers(4)),
                        metadata={"step": step, "tags": ["x", "y"][: int(random.integers(3))]},
                        title="제목" if step % 2 else None,
                    )
                with store.write() as writer:
                    before = writer.sequence
                    writer.put(list(entries.values()))
                    assert writer.sequence > before
                model |= entries
                owned = vector_ids(store.path)
                new = {vector_id for id in entries for vector_id in owned[id]}
                assert not new & used
                used |= new
        check_against(store, model, seed=step)
        if step % 5 == 0:
            check_against(other, model, seed=step)
            segments = max(segments, store.stats().segments)
    assert segments > 1
    assert store.verify(deep=True).ok
    with store.write() as writer:
        known = writer.known([*model, "never there"])
        assert {id: (k.source, k.content_hash, k.encoding_hash) for id, k in known.items()} == {
            id: (e.source, e.content_hash, e.encoding_hash) for id, e in model.items()
        }
        assert set(writer.ids_of("b")) == {id for id, entry in model.items() if entry.source == "b"}
    with store.read() as view:
        assert view.known(model) == known
        assert set(view.ids_of("b")) == {id for id, entry in model.items() if entry.source == "b"}
    other.close()
    store.close()


def test_settings_come_back(tmp_path: Path) -> None:
    made = make_settings()
    create_store(tmp_path / "index", made).close()
    store = open_store(tmp_path / "index")
    assert store.settings.to_row() == made.to_row()
    np.testing.assert_array_equal(store.settings.probe_vectors, made.probe_vectors)
    assert store.settings.probe_is_query == (True, False)
    assert store.stats().settings.encoder == "stub"
    store.close()


@pytest.mark.parametrize("name", ["a b?#%", "한글 경로", "x" * 200, "'quoted\";--"])
def test_any_path(tmp_path: Path, name: str, small_tail: int) -> None:
    store = filled(tmp_path / name / name, range(100))
    check_against(store, {entry.document.id: entry for entry in make_entries(range(100))})
    assert store.stats().segments > 0
    store.close()


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = filled(Path("index"), range(3))
    with store.read() as view:
        assert view.document_count() == 3
    store.close()


def test_create_refuses_what_is_there(tmp_path: Path) -> None:
    filled(tmp_path / "index", range(3)).close()
    with pytest.raises(IndexExistsError, match=r"there is an index at .* already"):
        create_store(tmp_path / "index", make_settings())
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(IndexExistsError, match="is a file"):
        create_store(tmp_path / "file", make_settings())
    with pytest.raises(IndexExistsError, match=r"not empty \(it holds 'file'\)"):
        create_store(tmp_path, make_settings())
    with pytest.raises(StorageError, match="cannot be made"):
        create_store(tmp_path / "file" / "index", make_settings())
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_open_never_creates(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError, match="there is no directory"):
        open_store(tmp_path / "nothing")
    with pytest.raises(IndexNotFoundError, match="there is no index at"):
        open_store(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(IndexNotFoundError, match="is a file, not an index"):
        open_store(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert not Store.exists(tmp_path)
    assert not Store.exists(tmp_path / "nothing")


def test_open_refuses_other_files(tmp_path: Path) -> None:
    database = tmp_path / "index.db"
    database.write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(IndexFormatError, match="no SQLite database"):
        open_store(tmp_path)
    assert Store.exists(tmp_path)
    database.unlink()
    engine = writer_engine(tmp_path, create=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE theirs (a)")
    engine.dispose()
    with pytest.raises(IndexFormatError, match="database of another program"):
        open_store(tmp_path)
    with pytest.raises(IndexExistsError):
        create_store(tmp_path, make_settings())


def test_unfinished_creation_is_taken_up(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path, create=True)
    engine.connect().close()
    engine.dispose()
    assert (tmp_path / "index.db").exists()
    assert not Store.exists(tmp_path)
    with pytest.raises(IndexNotFoundError, match="creation did not finish"):
        open_store(tmp_path)
    store = create_store(tmp_path, make_settings())
    check_against(store, {})
    store.close()


def test_a_creation_killed_before_the_wal_is_taken_up(tmp_path: Path) -> None:
    """A database is first made under a rollback journal, which a reader can see but not take back."""
    (tmp_path / "killed").mkdir()
    connection = sqlite3.connect(tmp_path / "index.db", isolation_level=None)
    connection.execute("PRAGMA cache_size=1")
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE half (a)")
    connection.executemany("INSERT INTO half VALUES (?)", [("x" * 1000,)] * 200)
    for name in ("index.db", "index.db-journal"):
        shutil.copy(tmp_path / name, tmp_path / "killed" / name)
    connection.close()
    assert (tmp_path / "killed" / "index.db").stat().st_size > 0
    assert not Store.exists(tmp_path / "killed")
    with pytest.raises(IndexNotFoundError, match="creation did not finish"):
        open_store(tmp_path / "killed")
    store = create_store(tmp_path / "killed", make_settings())
    check_against(store, {})
    store.close()


def test_write_to_an_index_that_was_deleted(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(3))
    (tmp_path / "index" / "index.db").unlink()
    with pytest.raises(IndexNotFoundError), store.write():
        pass
    assert not (tmp_path / "index" / "index.db").exists()
    store.close()


def test_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    filled(tmp_path / "index", range(3)).close()
    engine = writer_engine(tmp_path / "index")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE state SET format_version = 99")
    engine.dispose()
    with pytest.raises(IndexFormatError, match=r"has format 99; this version of yusa reads formats up to 3\. Update"):
        open_store(tmp_path / "index")


def test_pragmas_and_format(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(3))
    engine = writer_engine(store.path)
    with engine.connect() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "auto_vacuum", "foreign_keys")
        }
    engine.dispose()
    assert values == {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2, "foreign_keys": 1}
    assert store.stats().format_version == 3
    store.close()


def test_importing_storage_loads_nothing_heavy() -> None:
    code = (
        "import sys, yusa.storage; from yusa.storage import Settings, Entry, Document; "
        "assert not {'faiss', 'sqlalchemy', 'alembic', 'filelock'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_counting_and_deleting_load_no_faiss(tmp_path: Path) -> None:
    filled(tmp_path / "index", range(10)).close()
    code = (
        "import sys; from pathlib import Path; from storing import open_store; store = open_store(Path(sys.argv[1]))\n"
        "with store.write() as writer:\n    writer.delete(['d1'])\n"
        "assert store.stats().documents == 9\nassert not {'faiss', 'alembic'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "support")}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "index")], env=environment, check=True)


def test_public_names() -> None:
    import yusa.storage

    assert yusa.storage.__all__ == sorted(yusa.storage.__all__)
    assert all(getattr(yusa.storage, name) for name in yusa.storage.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Stroe'"):
        _ = yusa.storage.Stroe


def test_an_index_that_is_removed_while_open_is_no_longer_answered_from(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(3))
    shutil.rmtree(tmp_path / "index")
    with pytest.raises(IndexNotFoundError, match="was removed or replaced while it was open"), store.read():
        pass
    with pytest.raises(IndexNotFoundError, match="was removed or replaced while it was open"), store.write():
        pass
    store.close()


def test_writing_into_a_removed_index_does_not_end_well(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(3))

    def write() -> None:
        with store.write() as writer:
            shutil.rmtree(tmp_path / "index")
            writer.delete(["1"])

    with pytest.raises(IndexNotFoundError, match="was removed or replaced while it was open"):
        write()
    store.close()
