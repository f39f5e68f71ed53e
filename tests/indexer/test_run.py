from __future__ import annotations

import json
import signal
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from stubs import StubEncoder

from yusa.encoder.base import EncodeProgress
from yusa.errors import IndexLockedError, RejectedInputError, UsageError
from yusa.indexer import Progress, Report, documents_source, read, run
from yusa.storage import Store, Writer
from yusa.storage.records import Document, DocumentRow, Entry


def _add(store: Store, encoder: StubEncoder, rows: Any, *, name: str = "python", **options: Any) -> Report:
    return run([documents_source(rows, name)], store, encoder, **options)


def _get(store: Store, id: str) -> DocumentRow | None:
    with store.read() as view:
        return view.get(id)


def _counts(report: Report) -> tuple[int, int, int, int, int]:
    return report.added, report.updated, report.unchanged, report.rejected, report.pruned


def _rows(count: int, *, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"id": f"d{i}", "text": f"Document {i}. It has two sentences.", "n": i} for i in range(start, start + count)
    ]


def test_documents_go_in_with_passages_that_find_them(store: Store, encoder: StubEncoder) -> None:
    text = "하나 둘 셋 넷 다섯. 여섯 일곱 여덟 아홉. 열 열하나 열둘. 열셋 열넷 열다섯 열여섯."
    report = _add(store, encoder, [{"id": "a", "text": text, "title": "제목", "year": 2020}])
    assert _counts(report) == (1, 0, 0, 0, 0)
    row = _get(store, "a")
    assert row is not None
    assert row.document == Document("a", text, "제목", {"year": 2020})
    with store.read() as view:
        passages = view.passages_of(row.key)
        vectors = view.vectors([passage.vector_id for passage in passages])
    pieces = [text[passage.start : passage.end] for passage in passages]
    assert pieces == [
        "하나 둘 셋 넷 다섯. 여섯 일곱 여덟 아홉. 열 열하나 열둘.",
        "열 열하나 열둘. 열셋 열넷 열다섯 열여섯.",
    ]
    assert encoder.encoded_texts == [f"제목 {piece}" for piece in pieces]
    np.testing.assert_array_equal(vectors, encoder.encode_documents(list(encoder.encoded_texts)))
    assert (report.passages, report.encoded, report.tokens) == (2, 2, 21)
    assert report.sequence == 1


def test_a_second_run_encodes_nothing(store: Store, encoder: StubEncoder) -> None:
    _add(store, encoder, _rows(1200))
    encoder.encoded_texts.clear()

    class Untouched:
        """An encoder that is not even loaded."""

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    report = _add(store, Untouched(), _rows(1200))  # type: ignore[arg-type]
    assert _counts(report) == (0, 0, 1200, 0, 0)
    assert report.encoded == 0


def test_changed_documents_are_replaced_and_metadata_is_not_encoded_again(store: Store, encoder: StubEncoder) -> None:
    rows = _rows(5)
    _add(store, encoder, rows)
    encoder.encoded_texts.clear()
    rows[1]["n"] = 100
    rows[2]["text"] = "Something else."
    rows[3]["title"] = "A title"
    report = _add(store, encoder, rows)
    assert _counts(report) == (0, 3, 2, 0, 0)
    assert encoder.encoded_texts == ["Something else.", "A title Document 3. It has two sentences."]
    row = _get(store, "d1")
    assert row is not None
    assert row.document.metadata == {"n": 100}


def test_duplicates_and_renames_share_work_and_keep_every_id(store: Store, encoder: StubEncoder) -> None:
    _add(store, encoder, [{"id": str(i), "text": f"text {i % 3}", "i": i} for i in range(30)], window_documents=2)
    assert sorted(encoder.encoded_texts) == ["text 0", "text 1", "text 2"]
    report = _add(store, encoder, [{"id": f"renamed{i}", "text": f"text {i}"} for i in range(3)])
    assert len(encoder.encoded_texts) == 3
    assert (report.added, report.encoded, report.passages) == (3, 0, 3)
    with store.read() as view:
        rows = [view.get(id) for id in [*map(str, range(30)), "renamed0", "renamed1", "renamed2"]]
        for row in rows:
            assert row is not None
            [passage] = view.passages_of(row.key)
            expected = StubEncoder().encode_documents([row.document.text])
            np.testing.assert_array_equal(view.vectors([passage.vector_id]), expected)


def test_the_same_id_twice_in_one_run(store: Store, encoder: StubEncoder) -> None:
    rows = [{"id": "a", "text": "first"}, {"id": "a", "text": "first"}, {"id": "a", "text": "second"}]
    filler = _rows(600)
    for rows_ in (rows, [rows[0], *filler, *rows[1:]]):
        report = _add(store, encoder, rows_)
        assert report.rejected == 1
        [rejected] = report.rejections
        assert (rejected.id, rejected.line) == ("a", len(rows_))
        assert rejected.reason == "the id stands twice with different content; the first one counts"
    row = _get(store, "a")
    assert row is not None
    assert row.document.text == "first"


def test_ids_that_are_one_after_nfc(store: Store, encoder: StubEncoder) -> None:
    nfd = unicodedata.normalize("NFD", "학교")
    report = _add(store, encoder, [{"id": "학교", "text": "a"}, {"id": nfd, "text": "a"}, {"id": nfd, "text": "b"}])
    assert _counts(report) == (1, 0, 1, 1, 0)
    assert report.rejections[0].id == "학교"


def test_an_id_of_another_source_is_rejected_by_name(store: Store, encoder: StubEncoder) -> None:
    _add(store, encoder, [{"id": "a", "text": "mine"}], name="one")
    for text in ("theirs", "mine"):
        report = _add(store, encoder, [{"id": "a", "text": text}, {"id": "b", "text": "new"}], name="two")
        assert report.rejected == 1
        assert "the id belongs to the source one: delete it there first" in report.rejections[0].reason
    row = _get(store, "a")
    assert row is not None
    assert (row.source, row.document.text) == ("one", "mine")
    assert _get(store, "b") is not None


def test_two_new_sources_with_the_same_id_in_one_run(store: Store, encoder: StubEncoder) -> None:
    sources = [documents_source([{"id": "a", "text": "same"}], name) for name in ("one", "two")]
    report = run(sources, store, encoder)
    assert _counts(report) == (1, 0, 0, 1, 0)
    assert "belongs to the source one" in report.rejections[0].reason


def test_two_folders_with_the_same_relative_ids(tmp_path: Path, store: Store, encoder: StubEncoder) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "readme.txt").write_text(f"readme of {name}")
        (tmp_path / name / f"only-{name}.txt").write_text(f"only in {name}")
    assert _counts(run(read(tmp_path / "a"), store, encoder)) == (2, 0, 0, 0, 0)
    report = run(read(tmp_path / "b"), store, encoder)
    assert _counts(report) == (1, 0, 0, 1, 0)
    [rejected] = report.rejections
    assert (rejected.file, rejected.id) == (str(tmp_path / "b" / "readme.txt"), "readme.txt")
    assert f"the id belongs to the source {tmp_path / 'a'}" in rejected.reason
    row = _get(store, "readme.txt")
    assert row is not None
    assert row.document.text == "readme of a"


def test_rejected_rows_cost_only_themselves_and_are_written_down(
    folder: Path, tmp_path: Path, store: Store, encoder: StubEncoder
) -> None:
    (folder / "a.jsonl").write_text(
        '{"id": "a", "text": "fine"}\nnot json\n{"id": "b"}\n{"id": "c", "text": "fine too"}\n'
    )
    (folder / "b.txt").write_bytes(b"\x00\x01\x02" * 100)
    (folder / "c.txt").write_bytes("오늘은 날씨가 좋다.".encode("cp949"))
    (folder / "d.xyz").write_text("what")
    rejects = tmp_path / "sub" / "rejects.jsonl"
    report = run(read(folder), store, encoder, rejects=rejects)
    assert _counts(report) == (3, 0, 0, 3, 0)
    assert report.skipped == 1
    assert report.notes == (f"{folder / 'c.txt'}: read as CP949",)
    assert report.rejects_file == rejects
    written = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert written == [
        {"file": r.file, "line": r.line, "id": r.id, "reason": r.reason, "raw": r.raw} for r in report.rejections
    ]
    assert [(Path(r["file"]).name, r["line"], r["id"]) for r in written] == [
        ("a.jsonl", 2, None),
        ("a.jsonl", 3, "b"),
        ("b.txt", None, "b.txt"),
    ]
    for id in ("a", "c", "c.txt"):
        assert _get(store, id) is not None


def test_rejects_are_never_written_over_what_is_read(
    folder: Path, tmp_path: Path, store: Store, encoder: StubEncoder
) -> None:
    path = folder / "rows.jsonl"
    path.write_text('{"id": "a", "text": "t"}\n{"id": "b"}\n')
    (tmp_path / "link").symlink_to(folder)
    before = path.read_bytes()
    for dry_run in (False, True):
        with pytest.raises(UsageError, match=r"rejects cannot be written to .*: it is what is read"):
            run(read(path), store, encoder, rejects=tmp_path / "link" / "rows.jsonl", dry_run=dry_run)
    assert path.read_bytes() == before
    assert _get(store, "a") is None


def test_rejects_in_the_folder_that_is_read_are_not_read(
    folder: Path, tmp_path: Path, store: Store, encoder: StubEncoder
) -> None:
    (folder / "rows.jsonl").write_text('{"id": "a"}\n' * 2000)
    (tmp_path / "link").symlink_to(folder)
    for _ in range(2):
        report = run(read(tmp_path / "link"), store, encoder, rejects=folder / "sub" / "rejects.jsonl")
        assert report.rejected == 2000
        assert len((folder / "sub" / "rejects.jsonl").read_text().splitlines()) == 2000


def test_no_rejects_file_without_rejects(tmp_path: Path, store: Store, encoder: StubEncoder) -> None:
    report = _add(store, encoder, _rows(1), rejects=tmp_path / "rejects.jsonl")
    assert report.rejects_file is None
    assert not (tmp_path / "rejects.jsonl").exists()


def test_only_the_first_hundred_rejections_are_kept(store: Store, encoder: StubEncoder) -> None:
    report = _add(store, encoder, [{"id": str(i)} for i in range(1500)])
    assert (report.rejected, len(report.rejections)) == (1500, 100)


def test_nothing_to_read(folder: Path, store: Store, encoder: StubEncoder) -> None:
    assert _counts(run(read(folder), store, encoder)) == (0, 0, 0, 0, 0)
    assert _counts(run([], store, encoder)) == (0, 0, 0, 0, 0)


def test_progress_reaches_the_end(folder: Path, store: Store, encoder: StubEncoder) -> None:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in _rows(2000)))
    snapshots: list[Progress] = []
    run(read(path), store, encoder, progress=snapshots.append, window_documents=300)
    assert len(snapshots) >= 7
    last = snapshots[-1]
    assert (last.documents, last.encoded, last.passages, last.tokens) == (2000, 2000, 2000, 12000)
    assert last.bytes_read == last.bytes_total == path.stat().st_size
    for before, after in pairwise(snapshots):
        assert before.documents <= after.documents
        assert before.encoded <= after.encoded
    snapshots.clear()
    run(read(path), store, encoder, progress=snapshots.append)
    assert len(snapshots) >= 4  # unchanged rows move the bar too


def test_stop_commits_the_batch_in_flight(store: Store, encoder: StubEncoder) -> None:
    stop = threading.Event()
    encoded = encoder.encode_documents

    def stopping(texts: Sequence[str], *, progress: EncodeProgress | None = None) -> NDArray[np.float32]:
        stop.set()
        return encoded(texts, progress=progress)

    encoder.encode_documents = stopping  # type: ignore[method-assign]
    report = _add(store, encoder, _rows(1500), stop=stop, window_documents=100, prune=True)
    assert report.interrupted
    assert (report.added, report.encoded, report.pruned, report.prune_refused) == (100, 100, 0, ())
    assert _get(store, "d99") is not None
    assert _get(store, "d100") is None
    del encoder.encode_documents
    encoder.encoded_texts.clear()
    report = _add(store, encoder, _rows(1500))
    assert _counts(report) == (1400, 0, 100, 0, 0)
    assert len(encoder.encoded_texts) == 1400


def test_stop_while_a_stream_stands_still(store: Store, encoder: StubEncoder) -> None:
    stop, release = threading.Event(), threading.Event()

    def rows() -> Iterator[dict[str, str]]:
        yield {"text": "first"}
        stop.set()
        release.wait()

    report = _add(store, encoder, rows(), stop=stop)
    release.set()
    assert report.interrupted
    assert report.added == 0


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals that wake a waiting thread")
def test_a_second_ctrl_c_waits_for_the_threads_that_use_the_index(
    store: Store, encoder: StubEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, ended = threading.get_ident(), threading.Event()
    committed: list[bool] = []
    put = Writer.put

    def putting(writer: Writer, entries: Sequence[Entry]) -> None:
        while not _waits_in_run(main):
            time.sleep(0.001)
        signal.pthread_kill(main, signal.SIGINT)
        ended.wait(0.2)
        put(writer, entries)
        committed.append(not ended.is_set())

    monkeypatch.setattr(Writer, "put", putting)
    before = threading.active_count()
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(KeyboardInterrupt))
        stack.callback(ended.set)
        _add(store, encoder, _rows(10))
    assert committed == [True]
    assert threading.active_count() == before
    monkeypatch.undo()
    assert _add(store, encoder, _rows(10)).unchanged == 10


def _waits_in_run(thread: int) -> bool:
    """Whether a thread waits for others, called by `Pipeline.run` itself."""
    frame = sys._current_frames().get(thread)
    names = []
    while frame is not None and frame.f_code.co_name != "run":
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return bool(names) and names[-1] in ("join", "wait")


def test_a_window_is_bounded_in_characters_too(store: Store, encoder: StubEncoder) -> None:
    rows = [{"id": f"d{i}", "text": f"long {i} " + "x" * 1_000_000} for i in range(40)]
    _add(store, encoder, rows)
    sequence = _add(store, encoder, rows).sequence
    report = _add(store, encoder, [row | {"n": 1} for row in rows])  # nothing to encode, and yet much to hold
    assert (report.updated, report.encoded) == (40, 0)
    assert report.sequence - sequence >= 4


@pytest.mark.parametrize("stage", ["reader", "tokenizer", "encoder", "writer", "progress"])
def test_a_failure_in_any_stage_ends_the_run_and_keeps_what_was_committed(
    store: Store, encoder: StubEncoder, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BrokenError(Exception):
        pass

    calls = 0

    def breaking(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise BrokenError(stage)
        return real(*args, **options)

    def rows() -> Iterator[dict[str, Any]]:
        yield from _rows(1500)
        raise BrokenError(stage)

    def real(*args: Any, **options: Any) -> Any:
        return None

    given: Any = _rows(1500)
    progress = None
    if stage == "reader":
        given = rows()
    elif stage == "progress":
        progress = breaking
    elif stage == "writer":
        real = Writer.put
        monkeypatch.setattr(Writer, "put", breaking)
    else:
        name = "token_starts" if stage == "tokenizer" else "encode_documents"
        real = getattr(encoder, name)
        monkeypatch.setattr(encoder, name, breaking)
    before = threading.active_count()
    with pytest.raises(BrokenError):
        _add(store, encoder, given, window_documents=100, progress=progress)
    assert threading.active_count() == before
    monkeypatch.undo()
    with store.read() as view:
        held = view.document_count()
    assert held % 100 == 0
    report = _add(store, encoder, _rows(1500))  # the lock is free, and only what is missing is done
    assert (report.added, report.unchanged) == (1500 - held, held)


def test_another_writer_is_named(store: Store, encoder: StubEncoder) -> None:
    with store.write(), pytest.raises(IndexLockedError):
        _add(store, encoder, _rows(1))


def test_titles_are_clipped_and_leave_room_for_the_text(store: Store) -> None:
    encoder = StubEncoder(document_budget=8)
    _add(store, encoder, [{"id": "a", "title": "t1 t2 t3 t4 t5", "text": "a b c d e f. G h i j k l."}])
    assert encoder.encoded_texts == ["t1 t2 a b c d e f.", "t1 t2 G h i j k l."]


# strict


@pytest.mark.parametrize("once", [False, True])
def test_strict_commits_nothing_if_a_row_is_bad(store: Store, encoder: StubEncoder, once: bool, tmp_path: Path) -> None:
    rows: Any = [*_rows(1000), {"id": "bad"}]
    with pytest.raises(
        RejectedInputError,
        match=r"nothing was committed: 1 of 1,001 rows are rejected, the first in python, line 1001: no",
    ) as caught:
        _add(store, encoder, iter(rows) if once else rows, strict=True, rejects=tmp_path / "rejects.jsonl")
    assert isinstance(caught.value.report, Report)
    assert caught.value.report.rejects_file == tmp_path / "rejects.jsonl"
    assert caught.value.report.rejections[0].id == "bad"
    assert encoder.encoded_texts == []
    with store.read() as view:
        assert view.document_count() == 0


@pytest.mark.parametrize("once", [False, True])
def test_strict_takes_in_what_is_good(store: Store, encoder: StubEncoder, once: bool) -> None:
    rows: Any = _rows(1000)
    report = _add(store, encoder, iter(rows) if once else rows, strict=True)
    assert _counts(report) == (1000, 0, 0, 0, 0)


def test_strict_sees_ids_of_other_sources(store: Store, encoder: StubEncoder) -> None:
    _add(store, encoder, _rows(1), name="one")
    with pytest.raises(RejectedInputError, match="belongs to the source one"):
        _add(store, encoder, _rows(2), name="two", strict=True)


def test_stop_during_the_strict_check(store: Store, encoder: StubEncoder) -> None:
    stop = threading.Event()

    def rows() -> Iterator[dict[str, Any]]:
        yield from _rows(600)
        stop.set()
        yield from _rows(600, start=600)

    report = _add(store, encoder, rows(), strict=True, stop=stop)
    assert report.interrupted
    assert _counts(report) == (0, 0, 0, 0, 0)


# dry run


def test_a_dry_run_counts_and_writes_nothing(store: Store, encoder: StubEncoder) -> None:
    _add(store, encoder, _rows(100))
    encoder.encoded_texts.clear()
    rows = [{**row, "text": "new"} if row["n"] % 2 else row for row in _rows(100, start=50)]
    with store.write():  # no lock is taken
        report = _add(store, encoder, [*rows, {"id": "bad"}], dry_run=True, prune=True)
    assert _counts(report) == (50, 25, 25, 1, 50)
    assert report.sequence == 1
    assert not report.interrupted
    assert encoder.encoded_texts == []
    with store.read() as view:
        assert (view.sequence, view.document_count()) == (1, 100)
