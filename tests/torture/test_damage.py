"""Files that other programs, or the disk, changed: served right from the truth, or refused by name."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from storing import check_against, check_view, filled, make_entries, open_store, vector_ids

from yusa.errors import IndexFormatError, StorageError
from yusa.storage import Entry, publish

_DOCUMENTS = 200


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of one segment, whose checksums are remembered, and no tail."""
    monkeypatch.setattr(publish, "TAIL_LIMIT", 40)
    filled(tmp_path / "index", range(_DOCUMENTS), batch=_DOCUMENTS, passages=2).close()
    store = open_store(tmp_path / "index")
    check_against(store, _model())
    store.close()
    return tmp_path / "index"


def _model() -> dict[str, Entry]:
    return {entry.document.id: entry for entry in make_entries(range(_DOCUMENTS), passages=2)}


def _segment_files(path: Path) -> list[Path]:
    return sorted((path / "segments").iterdir())


def _flip(path: Path, at: int, bit: int) -> None:
    """One bit becomes another, in place."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def _flips(path: Path, seed: int, count: int) -> Iterator[tuple[int, int]]:
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield int(random.integers(path.stat().st_size)), int(random.integers(8))


@pytest.mark.parametrize("suffix", ["faiss", "ids", "owners", "postings"])
def test_a_flipped_bit_of_a_segment_is_never_a_wrong_hit(index: Path, suffix: str) -> None:
    [path] = [path for path in _segment_files(index) if path.suffix == f".{suffix}"]
    for at, bit in _flips(path, seed=1, count=6):
        _flip(path, at, bit)
        store = open_store(index)
        check_against(store, _model(), seed=at)
        assert len(store.verify(deep=True).repairable) == 1
        store.close()
        _flip(path, at, bit)


@pytest.mark.parametrize("suffix", ["faiss", "postings"])
def test_a_bit_that_decays_without_a_trace_is_found_deeply_and_then_rebuilt(index: Path, suffix: str) -> None:
    """A checksum is remembered by a file's time, which a disk that forgets does not change."""
    [path] = [path for path in _segment_files(index) if path.suffix == f".{suffix}"]
    status = path.stat()
    _flip(path, status.st_size - 1, 3)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    store = open_store(index)
    assert "checksum" in "".join(store.verify(deep=True).repairable)
    store.close()
    store = open_store(index)
    check_against(store, _model())
    with store.write():
        pass
    check_against(store, _model())
    assert store.verify(deep=True).ok
    assert not path.exists()
    store.close()


def _outcome(path: Path, model: dict[str, Entry], owned: dict[str, list[int]] | None = None) -> str:
    """What an index shows of a model: it, an error that names the file, or something else.

    Args:
        owned: the vector ids of the documents, where the database cannot be asked for them.
    """
    try:
        store = open_store(path)
    except StorageError as error:
        return f"refused: {error}"
    try:
        with store.read() as view:
            check_view(view, model, owned or vector_ids(path))
            found = {id: stored.document for id in model if (stored := view.get(id)) is not None}
        assert found == {id: entry.document for id, entry in model.items()}
    except StorageError as error:
        return f"refused: {error}"
    except AssertionError:
        return "wrong"
    finally:
        store.close()
    return "right"


def test_a_flipped_bit_in_the_database_is_never_a_wrong_hit(index: Path) -> None:
    path = index / "index.db"
    whole, owned = path.read_bytes(), vector_ids(index)
    for at, bit in _flips(path, seed=1, count=40):
        _flip(path, at, bit)
        assert _outcome(index, _model(), owned) != "wrong", f"bit {bit} of byte {at}"
        for name in ("index.db-wal", "index.db-shm"):
            (index / name).unlink(missing_ok=True)
        path.write_bytes(whole)


def _with_another_log(directory: Path, *, same: bool) -> tuple[Path, dict[str, Entry]]:
    """A copy of an index beside which stands the WAL of another one, or of its own later self, as a kill leaves it."""
    store = filled(directory / "index", range(_DOCUMENTS))
    store.backup(directory / "copy")
    other = store if same else filled(directory / "other", range(40))
    with other.write() as writer:
        writer.put(make_entries(range(300, 340)))
        writer.delete([f"d{number}" for number in range(30)])
    with other.write() as writer:
        writer.put(make_entries(range(340, 360)))
        shutil.copy(other.path / "index.db-wal", directory / "copy" / "index.db-wal")
    store.close()
    other.close()
    return directory / "copy", {entry.document.id: entry for entry in make_entries(range(_DOCUMENTS))}


@pytest.mark.parametrize("same", [True, False])
def test_a_log_of_another_database_is_never_a_wrong_hit(tmp_path: Path, same: bool) -> None:
    path, model = _with_another_log(tmp_path, same=same)
    # Where the mixture cannot be read at all, SQLite says so first.
    assert ("belongs to another database than index.db" if same else "index.db is damaged") in _outcome(path, model)
    for name in ("index.db-wal", "index.db-shm"):  # as the message says
        (path / name).unlink()
    assert _outcome(path, model) == "right"


def _copied_in_use(directory: Path, order: list[str]) -> tuple[Path, list[dict[str, Entry]]]:
    """An index copied file by file, with commits and checkpoints between the files; what it held at each commit."""
    store = filled(directory / "index", range(60))
    copy = directory / "copied"
    copy.mkdir()
    models = [{entry.document.id: entry for entry in make_entries(range(60))}]
    for name, numbers in zip(order, [range(100, 300), range(300, 301)], strict=True):
        with store.write() as writer:
            writer.put(make_entries(numbers))
            models.append(models[-1] | {entry.document.id: entry for entry in make_entries(numbers)})
            shutil.copy(store.path / name, copy / name)
    store.close()
    return copy, models


def test_an_index_copied_file_by_file_while_in_use_is_never_a_wrong_hit(tmp_path: Path) -> None:
    path, models = _copied_in_use(tmp_path, ["index.db", "index.db-wal"])
    assert {_outcome(path, model).partition(":")[0] for model in models} == {"refused"}


def test_an_index_copied_in_use_without_its_log_is_one_of_its_commits(tmp_path: Path) -> None:
    path, models = _copied_in_use(tmp_path, ["index.db-wal", "index.db"])
    (path / "index.db-wal").unlink()
    assert "right" in {_outcome(path, model) for model in models}


def test_verification_of_a_database_whose_rows_cannot_be_read_is_a_report(index: Path) -> None:
    """The error of a search advises it, so it must not end in the same error."""
    path = index / "index.db"
    connection = sqlite3.connect(path)
    number = connection.execute("SELECT max(pageno) FROM dbstat WHERE name = 'document' AND pagetype = 'leaf'")
    place = (number.fetchone()[0] - 1) * connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    content = bytearray(path.read_bytes())
    content[place : place + 64] = b"\xff" * 64
    path.write_bytes(content)
    assert _outcome(index, _model()).startswith("refused")
    store = open_store(index)
    assert "malformed" in "".join(store.verify(deep=True).problems)
    store.close()


def test_a_row_too_many_is_damage(index: Path) -> None:
    """As after a flipped bit of a row's number."""
    connection = sqlite3.connect(index / "index.db")
    connection.executescript(
        """
        CREATE TABLE twice AS SELECT * FROM encoding;
        INSERT INTO twice SELECT * FROM encoding;
        DROP TABLE encoding;
        ALTER TABLE twice RENAME TO encoding;
        """
    )
    connection.close()
    with pytest.raises(IndexFormatError, match="is damaged"):
        open_store(index)


@pytest.mark.parametrize("change", ["UPDATE state SET format_version = 'x'", "UPDATE state SET index_id = X'ff'"])
def test_a_state_of_another_type_is_damage(index: Path, change: str) -> None:
    connection = sqlite3.connect(index / "index.db")
    connection.execute(change)
    connection.commit()
    connection.close()
    with pytest.raises(IndexFormatError, match="damaged"):
        open_store(index)


def test_a_text_that_is_none_is_damage_and_is_not_shown(index: Path) -> None:
    connection = sqlite3.connect(index / "index.db")
    connection.execute("UPDATE encoding SET settings = CAST(X'ff' || settings AS TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(IndexFormatError, match=r"damaged.*restore a backup") as caught:
        open_store(index)
    assert len(str(caught.value)) < 400
