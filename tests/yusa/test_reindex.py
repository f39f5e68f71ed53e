"""Another encoder beside the old one, switched in one transaction, resumable, and the way back."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from stubs import StubEncoder

import yusa
from yusa.errors import EncoderMismatchError, IndexLockedError, StorageError, UsageError
from yusa.index import Index
from yusa.indexer import Progress
from yusa.storage import Settings, publish

_SUPPORT = Path(__file__).parents[1] / "support"
WORDS = ["바다", "산", "강", "하늘", "구름", "비", "눈", "바람", "나무", "꽃", "river", "mountain", "cloud", "rain"]
OLD = StubEncoder(16, seed="old")
NEW = StubEncoder(24, name="new", seed="new")


def _rows(numbers: range, suffix: str = "") -> list[dict[str, object]]:
    return [
        {"id": f"d{n}", "text": f"{WORDS[n % 14]} {WORDS[n * 5 % 13]} 문서 {n}{suffix}", "title": f"제목 {n}", "n": n}
        for n in numbers
    ]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    monkeypatch.setattr(publish, "TAIL_LIMIT", 40)
    made = yusa.create(tmp_path / "index", encoder=OLD, passage_tokens=16, overlap=0)
    made.add(_rows(range(100)))
    return made


def _check(index: Index, encoder: StubEncoder, rows: list[dict[str, object]]) -> None:
    """Every stored vector is this encoder's for its text, and each document is found by its own."""
    assert index.settings.fingerprint == encoder.fingerprint.to_dict()
    assert index.stats().passages == len(rows)
    with index._store.read() as view:
        assert view.live() == len(rows)
        for row in rows:
            stored = view.get(str(row["id"]))
            assert stored is not None
            passages = view.passages_of(stored.key)
            vectors = view.vectors([one.vector_id for one in passages])
            texts = [f"{row['title']} {str(row['text'])[one.start : one.end]}" for one in passages]
            np.testing.assert_array_equal(vectors, encoder.encode_documents(texts))
    for row in rows[::17]:
        for mode in ("dense", "hybrid"):
            assert index.search(f"{row['title']} {row['text']}", top_k=1, mode=mode)[0].id == row["id"]
        assert row["id"] in {hit.id for hit in index.search(f"제목 {row['n']}", mode="lexical", top_k=100)}
    assert index.verify(deep=True).ok


def test_reindex_switches_and_goes_back(index: Index) -> None:
    seen: list[Progress] = []
    report = index.reindex(NEW, progress=seen.append)
    assert (report.encoder, report.documents, report.passages, report.interrupted) == ("new", 100, 100, False)
    assert seen[-1].done == 100
    _check(index, NEW, _rows(range(100)))
    with pytest.raises(EncoderMismatchError):
        yusa.open(index.path, encoder=OLD)
    index.add(_rows(range(100, 110)))
    index.delete(["d3"])
    rows = [row for row in _rows(range(110)) if row["id"] != "d3"]
    _check(index, NEW, rows)

    OLD.encoded_texts.clear()
    report = index.rollback(OLD)
    assert report.documents == 10
    assert len(OLD.encoded_texts) == 10
    _check(index, OLD, rows)
    assert index.rollback(NEW).documents == 0
    _check(index, NEW, rows)
    index.close()
    with yusa.open(index.path, encoder=NEW) as again:
        _check(again, NEW, rows)


def test_a_rollback_with_nothing_to_encode_loads_no_encoder(index: Index) -> None:
    index.reindex(NEW)
    assert index.rollback().documents == 0  # by its name "stub" it could not be loaded
    index.close()
    with yusa.open(index.path, encoder=OLD) as again:
        _check(again, OLD, _rows(range(100)))


def test_a_rollback_that_was_cut_off_goes_on_whichever_encoding_came_first(index: Index) -> None:
    rows = _rows(range(100))
    index.reindex(NEW, passage_tokens=16)
    for encoder in (OLD, NEW):
        with pytest.raises(KeyboardInterrupt), index._store.rollback():
            raise KeyboardInterrupt
        rows += _rows(range(len(rows), len(rows) + 5))
        index.add(rows)
        index.rollback(encoder)
        _check(index, encoder, rows)


def test_other_readers_follow_the_switch(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was opened with the old encoder refuses the new one; one that loads by name takes it."""
    reader = yusa.open(index.path, encoder=OLD)
    assert reader.search("바다", mode="dense")
    loaded: list[str] = []

    def by_name(settings: object) -> StubEncoder:
        loaded.append(settings.encoder)  # type: ignore[attr-defined]
        return {"stub": OLD, "new": NEW}[loaded[-1]]

    follower = yusa.open(index.path)
    monkeypatch.setattr(follower._encoder, "_load", by_name)
    before = follower.search("바다 구름", mode="dense", top_k=3)
    index.reindex(NEW)
    after = follower.search("바다 구름", mode="dense", top_k=3)
    assert loaded == ["stub", "new"]
    assert [hit.id for hit in after] == [hit.id for hit in index.search("바다 구름", mode="dense", top_k=3)]
    assert [hit.score for hit in after] != [hit.score for hit in before]
    assert follower.similar_text("바다 구름")[0].score == pytest.approx(index.similar_text("바다 구름")[0].score)
    with pytest.raises(EncoderMismatchError, match="was made with new"):
        reader.search("바다", mode="dense")
    assert reader.search("바다", mode="lexical")
    reader.close()
    follower.close()


def test_searches_go_on_and_each_is_of_one_encoding(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries encoded before the switch are never answered from after it."""
    reader = yusa.open(index.path)
    monkeypatch.setattr(reader._encoder, "_load", lambda settings: {"stub": OLD, "new": NEW}[settings.encoder])
    rows = {str(row["id"]): row for row in _rows(range(100))}
    stop = threading.Event()
    failures: list[BaseException] = []
    searches = [0]

    def search() -> None:
        try:
            while not stop.is_set():
                for id in ("d3", "d50", "d97"):
                    found = reader.search(f"{rows[id]['title']} {rows[id]['text']}", top_k=1, mode="dense")
                    assert [(hit.id, round(hit.score, 2)) for hit in found] == [(id, 1.0)]
                    searches[0] += 1
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for round_ in range(6):
        if round_ % 2:
            index.rollback(OLD)
        else:
            index.reindex(NEW)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert searches[0] > 10
    reader.close()


def test_a_stopped_reindex_goes_on_with_what_was_written_since(index: Index) -> None:
    stop = threading.Event()
    NEW.encoded_texts.clear()

    def stop_at_once(progress: Progress) -> None:
        stop.set()

    with index._store.reindex(_settings(index, NEW)) as encoding:
        from yusa.indexer import reindex

        report = reindex(encoding, lambda: NEW, stop=stop, progress=stop_at_once, window_tokens=120)
    assert report.interrupted
    assert 0 < report.documents < 100
    _check(index, OLD, _rows(range(100)))
    first = report.documents

    with pytest.raises(StorageError, match="a reindex with new is under way"):
        index.reindex(StubEncoder(24, name="third", seed="third"))
    index.add(_rows(range(90, 120), suffix=" neu"))
    index.delete(["d1", "d60"])
    rows = [row for row in [*_rows(range(90)), *_rows(range(90, 120), " neu")] if row["id"] not in {"d1", "d60"}]
    _check(index, OLD, rows)
    report = index.reindex(NEW)
    assert not report.interrupted
    assert sum(text.startswith("제목") for text in NEW.encoded_texts) == first + report.documents
    assert report.documents < len(rows)
    _check(index, NEW, rows)


def _settings(index: Index, encoder: StubEncoder) -> Settings:
    from yusa.identity import settings_for

    now = index.settings
    return settings_for(
        encoder, passage_tokens=now.passage_tokens, overlap=now.overlap, vector_dtype="float16", analyzer=now.analyzer
    )


_KILLED = """
import os, sys
from pathlib import Path
from stubs import StubEncoder
import yusa
from yusa.storage import encodings, publish
publish.TAIL_LIMIT = 40
put = encodings.NewEncoding.put
left = [3]
def dying(self, documents):
    put(self, documents)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), 9)
encodings.NewEncoding.put = dying
from yusa.indexer import reindexing
reindexing.default_window_tokens = lambda encoder: 100
yusa.open(Path(sys.argv[1])).reindex(StubEncoder(24, name="new", seed="new"))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_reindex_goes_on(index: Index) -> None:
    environment = {**os.environ, "PYTHONPATH": str(_SUPPORT)}
    done = subprocess.run([sys.executable, "-c", _KILLED, str(index.path)], env=environment, check=False)
    assert done.returncode == -9
    _check(index, OLD, _rows(range(100)))
    report = index.reindex(NEW)
    assert 0 < report.documents < 100
    _check(index, NEW, _rows(range(100)))


def test_discard_gives_up_and_the_space_comes_back(index: Index) -> None:
    with pytest.raises(StorageError, match="no previous encoding"):
        index.rollback()
    assert not index.discard()
    index.compact()
    before = index.stats()
    index.reindex(NEW)
    assert index.discard()
    with pytest.raises(StorageError, match="no previous encoding"):
        index.rollback()
    index.compact()
    _check(index, NEW, _rows(range(100)))
    after = index.stats()
    assert after.database_bytes <= 1.3 * before.database_bytes
    numbers = {path.name.split(".")[0] for path in (index.path / "segments").iterdir()}
    assert len(numbers) == 1
    index.reindex(OLD)
    third = StubEncoder(8, name="third", seed="third")
    index.reindex(third)
    index.rollback(OLD)
    _check(index, OLD, _rows(range(100)))


def test_what_is_refused(index: Index) -> None:
    sequence = index.refresh()
    assert index.reindex(OLD).documents == 0
    assert index.refresh() == sequence
    with pytest.raises(UsageError, match="overlap"):
        index.reindex(NEW, passage_tokens=8, overlap=9)
    with index._store.write(), pytest.raises(IndexLockedError, match=str(os.getpid())):
        index.reindex(NEW)
    _check(index, OLD, _rows(range(100)))


def test_passages_can_be_cut_anew(index: Index) -> None:
    index.add([{"id": "long", "text": " ".join(WORDS * 3)}])
    assert index.row("long")[0].passages == 3
    index.reindex(passage_tokens=7)
    assert (index.settings.passage_tokens, index.settings.overlap) == (7, 0)
    assert index.row("long")[0].passages == 6
    assert index.verify(deep=True).ok


def test_a_tuned_choice_belongs_to_its_encoding(index: Index) -> None:
    index.tune({"mode": "dense"})
    index.reindex(NEW)
    assert index.tuned() == {}
    index.rollback(OLD)
    assert index.tuned() == {"mode": "dense"}


def test_a_restored_backup_of_two_encodings_in_segments_goes_back_too(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy has no segments, so the tail of both begins at the first id."""
    index.compact()
    index.reindex(NEW)
    index.compact()
    index.backup(tmp_path / "saved")
    index.close()
    monkeypatch.setattr(publish, "TAIL_LIMIT", 1000)
    with yusa.open(tmp_path / "saved", encoder=NEW) as copy:
        copy.add(_rows(range(100, 105)))
        _check(copy, NEW, _rows(range(105)))
        copy.rollback(OLD)
        _check(copy, OLD, _rows(range(105)))


def test_a_search_right_after_the_switch_has_the_new_encoder_already(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other threads follow the commit, not the end of the call that made it."""
    found: list[str] = []
    monkeypatch.setattr(
        "yusa.storage.store.checkpoint", lambda _: found.append(index.search("바다 구름", mode="dense")[0].id)
    )
    index.reindex(NEW)
    index.rollback(OLD)
    assert len(found) == 2
    index.close()


def test_who_has_reindexed_follows_others_all_the_same(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = yusa.open(index.path), yusa.open(index.path)
    for each in (one, other):
        monkeypatch.setattr(each._encoder, "_load", lambda settings: {"stub": OLD, "new": NEW}[settings.encoder])
    one.reindex(NEW)
    assert one.search("바다 구름", mode="dense")
    other.rollback(OLD)
    assert one.search("바다 구름", mode="dense")
    _check(one, OLD, _rows(range(100)))
    for each in (index, one, other):
        each.close()


def test_files_that_only_a_rollback_reads_are_rebuilt_by_it(index: Index) -> None:
    old = list((index.path / "segments").iterdir())
    assert old
    index.reindex(NEW)
    for file in old:
        file.unlink()
    assert index.verify(deep=True).ok
    index.delete(["d99"])
    assert index.verify(deep=True).ok
    index.rollback(OLD)
    _check(index, OLD, _rows(range(99)))
    index.close()


def test_damage_to_what_a_rollback_would_need_is_reported(index: Index) -> None:
    index.reindex(NEW)
    with sqlite3.connect(index.path / "index.db") as database:
        database.execute("UPDATE encoding SET probe_vectors = zeroblob(8) WHERE id = 1")
    database.close()
    assert "encoding 1 is not what was written" in "".join(index.verify(deep=True).problems)
    index.close()
