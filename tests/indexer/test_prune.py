from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from stubs import StubEncoder

from yusa.indexer import Report, documents_source, read, run
from yusa.storage import Store


def _ids(store: Store) -> set[str]:
    with store.read() as view:
        return {id for source in ("one", "two", "mine") for id in view.ids_of(source)}


def _rows(numbers: Any) -> list[dict[str, Any]]:
    return [{"id": f"d{i}", "text": f"text {i}"} for i in numbers]


def _add(store: Store, encoder: StubEncoder, rows: list[dict[str, Any]], name: str = "one", **options: Any) -> Report:
    return run([documents_source(rows, name)], store, encoder, **options)


def test_what_is_gone_is_deleted_from_the_given_source_only(store: Store, encoder: StubEncoder) -> None:
    _add(store, encoder, _rows(range(10)))
    _add(store, encoder, _rows(range(100, 110)), "two")
    report = _add(store, encoder, _rows(range(2, 12)), prune=True)
    assert (report.pruned, report.added, report.prune_refused) == (2, 2, ())
    assert _ids(store) == {f"d{i}" for i in [*range(2, 12), *range(100, 110)]}


def test_without_prune_nothing_is_deleted(store: Store, encoder: StubEncoder) -> None:
    _add(store, encoder, _rows(range(10)))
    assert _add(store, encoder, []).pruned == 0
    assert len(_ids(store)) == 10


@pytest.mark.parametrize("answer", [True, False, None])
def test_above_a_fifth_it_asks(store: Store, encoder: StubEncoder, answer: bool | None) -> None:
    _add(store, encoder, _rows(range(10)))
    asked: list[tuple[str, int, int]] = []

    def confirm(source: str, count: int, total: int) -> bool:
        asked.append((source, count, total))
        assert answer is not None
        return answer

    report = _add(store, encoder, _rows(range(7)), prune=True, confirm=None if answer is None else confirm)
    if answer:
        assert (report.pruned, report.prune_refused, len(_ids(store))) == (3, (), 7)
    else:
        [reason] = report.prune_refused
        assert reason.startswith("one was not pruned: 3 of its 10 documents would be deleted")
        assert ("--yes" in reason) == (answer is None)
        assert (report.pruned, len(_ids(store))) == (0, 10)
    assert asked == ([] if answer is None else [("one", 3, 10)])


def test_an_empty_folder_is_asked_about(folder: Path, store: Store, encoder: StubEncoder) -> None:
    (folder / "a.txt").write_text("text")
    run(read(folder, source="mine"), store, encoder)
    (folder / "a.txt").unlink()
    report = run(read(folder, source="mine"), store, encoder, prune=True)
    assert "1 of its 1 documents would be deleted" in report.prune_refused[0]
    assert _ids(store) == {"a.txt"}
    report = run(read(folder, source="mine"), store, encoder, prune=True, confirm=lambda *_: True)
    assert (report.pruned, _ids(store)) == (1, set())


def test_rejected_rows_count_as_present(store: Store, encoder: StubEncoder) -> None:
    _add(store, encoder, _rows(range(10)))
    report = _add(store, encoder, [*_rows(range(8)), {"id": "d8", "text": ""}], prune=True)
    assert (report.rejected, report.pruned) == (1, 1)
    assert _ids(store) == {f"d{i}" for i in range(9)}


def test_rejected_rows_count_as_present_in_whatever_normal_form(
    folder: Path, store: Store, encoder: StubEncoder
) -> None:
    name = unicodedata.normalize("NFD", "학교")
    (folder / "a.csv").write_text(f"id,text,n\n{name},text,1\n")
    (folder / f"{name}.txt").write_text("text")
    run(read(folder, source="mine"), store, encoder)
    assert _ids(store) == {"학교", "학교.txt"}
    (folder / "a.csv").write_text(f"id,text,n\n{name},text\n")  # a cell is missing
    (folder / f"{name}.txt").write_bytes(bytes(range(256)))
    report = run(read(folder, source="mine"), store, encoder, prune=True, confirm=lambda *_: True)
    assert (report.rejected, report.pruned, report.prune_refused) == (2, 0, ())
    assert _ids(store) == {"학교", "학교.txt"}


def test_a_rejected_row_without_id_forbids_pruning(folder: Path, store: Store, encoder: StubEncoder) -> None:
    path = folder / "a.jsonl"
    path.write_text("".join(f'{{"id": "d{i}", "text": "t"}}\n' for i in range(10)))
    run(read(path, source="mine"), store, encoder)
    path.write_text("".join(f'{{"id": "d{i}", "text": "t"}}\n' for i in range(8)) + '{"id": "d9", "te\n')
    report = run(read(path, source="mine"), store, encoder, prune=True, confirm=lambda *_: True)
    assert "1 rejected rows have no id that could be read" in report.prune_refused[0]
    assert len(_ids(store)) == 10


def test_a_source_that_was_not_read_completely_is_not_pruned(
    folder: Path, store: Store, encoder: StubEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(10):
        (folder / f"{i}.txt").write_text(f"text {i}")
    run(read(folder, source="mine"), store, encoder)
    (folder / "0.txt").unlink()
    real = os.open

    def open_(path: Any, *args: Any, **options: Any) -> int:
        if Path(path).name == "5.txt":
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", open_)
    report = run(read(folder, source="mine"), store, encoder, prune=True, confirm=lambda *_: True)
    assert report.prune_refused == ("mine was not pruned: it could not be read completely",)
    assert len(_ids(store)) == 10
    monkeypatch.undo()
    assert run(read(folder, source="mine"), store, encoder, prune=True).pruned == 1


def test_sources_under_one_name_are_pruned_as_one(tmp_path: Path, store: Store, encoder: StubEncoder) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(5):
            (tmp_path / name / f"{name}{i}.txt").write_text(f"text {name}{i}")
    both = [tmp_path / "a", tmp_path / "b"]
    run(read(both, source="mine"), store, encoder)
    (tmp_path / "b" / "b4.txt").unlink()
    report = run(read(both, source="mine"), store, encoder, prune=True)
    assert (report.unchanged, report.pruned) == (9, 1)


def test_a_document_that_moved_to_another_source_is_pruned_from_the_first(store: Store, encoder: StubEncoder) -> None:
    _add(store, encoder, _rows(range(10)), "one")
    sources = [documents_source(_rows(range(9)), "one"), documents_source(_rows([9]), "two")]
    report = run(sources, store, encoder, prune=True)
    assert (report.rejected, report.pruned) == (1, 1)
    assert _add(store, encoder, _rows([9]), "two").added == 1
