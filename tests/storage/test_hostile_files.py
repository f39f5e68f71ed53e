"""Segment files are read only as what the database says they are, whoever put them there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from storing import check_against, filled, make_entries, open_store

from yusa.storage import files, parts, postings, publish
from yusa.storage.files import DamagedFileError


@pytest.fixture
def opened_files(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The content of every file that FAISS or the reader of postings is given."""
    read: list[bytes] = []
    read_index, map_block = parts._read_index, postings.map_block

    def reading(path: Path) -> Any:
        read.append(path.read_bytes())
        return read_index(path)

    def mapping(path: Path) -> Any:
        read.append(path.read_bytes())
        return map_block(path)

    monkeypatch.setattr(parts, "_read_index", reading)
    monkeypatch.setattr("yusa.storage.blocks.map_block", mapping)
    return read


def test_a_segment_file_of_another_index_is_never_opened(
    tmp_path: Path, opened_files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "TAIL_LIMIT", 10)
    mine, other = (filled(tmp_path / name, range(start, start + 30)) for name, start in (("mine", 0), ("other", 30)))
    model = {entry.document.id: entry for entry in make_entries(range(30))}
    check_against(mine, model)
    assert opened_files
    mine.close()
    other.close()
    swapped = set()
    for path in sorted((tmp_path / "mine" / "segments").iterdir()):
        foreign = (tmp_path / "other" / "segments" / path.name).read_bytes()
        if path.suffix in (".faiss", ".postings"):
            assert foreign != path.read_bytes()
            assert len(foreign) == path.stat().st_size
            swapped.add(foreign)
            path.write_bytes(foreign)
    assert len(swapped) == 2
    opened_files.clear()
    again = open_store(tmp_path / "mine")
    check_against(again, model)
    assert not swapped & set(opened_files)
    with again.write() as writer:
        writer.delete([])
    check_against(again, model)
    assert again.verify(deep=True).repairable == ()
    assert opened_files
    assert not swapped & set(opened_files)
    again.close()


def test_a_file_that_the_database_does_not_name_is_never_opened(
    tmp_path: Path, opened_files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "TAIL_LIMIT", 10)
    filled(tmp_path / "index", range(30)).close()
    segments = tmp_path / "index" / "segments"
    for suffix in ("faiss", "ids", "owners", "postings"):
        (segments / f"000099.{suffix}").write_bytes(b"hostile")
    again = open_store(tmp_path / "index")
    opened_files.clear()
    check_against(again, {entry.document.id: entry for entry in make_entries(range(30))})
    assert opened_files
    assert b"hostile" not in opened_files
    with again.write() as writer:
        writer.delete([])
    assert not list(segments.glob("000099.*"))
    again.close()


def test_a_checksum_is_looked_at_before_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "x.faiss"
    path.write_bytes(b"right")
    verified = files.Verified("id")
    expected = files.FileSum(5, "0" * 64)
    for again in (False, True):
        with pytest.raises(DamagedFileError, match="checksum"):
            verified.check(path, expected, again=again)
