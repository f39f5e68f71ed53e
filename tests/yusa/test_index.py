"""The front door with a stub encoder: everything a library user does, on a real store."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stubs import StubEncoder

import yusa
from yusa.errors import (
    DocumentNotFoundError,
    EncoderMismatchError,
    IndexExistsError,
    IndexNotFoundError,
    UsageError,
)

DOCUMENTS = [
    {"id": "a", "text": "apples and pears", "title": "Fruit", "year": 2020},
    {"id": "b", "text": "carrots and onions", "year": 2021},
    {"id": "c", "text": "사과와 배", "year": 2022},
]


@pytest.fixture
def encoder() -> StubEncoder:
    return StubEncoder(dimension=32)


@pytest.fixture
def index(tmp_path: Path, encoder: StubEncoder) -> yusa.Index:
    index = yusa.create(tmp_path / "index", encoder=encoder)
    index.add(DOCUMENTS)
    return index


def test_documents_go_in_and_questions_find_them(index: yusa.Index) -> None:
    hits = index.search("carrots and onions", top_k=2)
    assert hits[0].id == "b"
    assert hits[0].score == pytest.approx(1.0, abs=1e-3)
    assert hits[0].metadata == {"year": 2021}
    assert hits[0].text == "carrots and onions"
    assert len(hits) == 2


def test_a_title_is_encoded_in_front_of_the_passage(index: yusa.Index, encoder: StubEncoder) -> None:
    assert "Fruit apples and pears" in encoder.encoded_texts


def test_add_reports_what_happened(tmp_path: Path, encoder: StubEncoder) -> None:
    index = yusa.create(tmp_path / "index", encoder=encoder)
    first = index.add(DOCUMENTS)
    assert (first.added, first.updated, first.unchanged) == (3, 0, 0)
    encoder.encoded_texts.clear()
    changed = [DOCUMENTS[0], {**DOCUMENTS[1], "text": "leeks"}]
    second = index.add(changed)
    assert (second.added, second.updated, second.unchanged) == (0, 1, 1)
    assert encoder.encoded_texts == ["leeks"]


def test_only_metadata_changed_encodes_nothing(index: yusa.Index, encoder: StubEncoder) -> None:
    encoder.encoded_texts.clear()
    report = index.add([{**DOCUMENTS[0], "year": 1999}])
    assert report.updated == 1
    assert encoder.encoded_texts == []
    assert index.get("a").metadata == {"year": 1999}
    assert index.search("apples", where="year = 1999")[0].id == "a"


def test_where_narrows_every_query(index: yusa.Index) -> None:
    answers = index.search_many(["apples", "onions"], where="year >= 2021")
    assert [{hit.id for hit in hits} for hits in answers] == [{"b", "c"}, {"b", "c"}]


def test_similar_leaves_the_document_itself_out(index: yusa.Index) -> None:
    assert {hit.id for hit in index.similar("a")} == {"b", "c"}


def test_get_and_delete(index: yusa.Index) -> None:
    assert index.delete(["a", "zzz"]) == ["a"]
    with pytest.raises(DocumentNotFoundError, match="'a'"):
        index.get("a")
    assert "a" not in {hit.id for hit in index.search("apples and pears")}


def test_ids_are_found_in_whatever_normal_form(index: yusa.Index) -> None:
    decomposed = unicodedata.normalize("NFD", "학교")
    index.add([{"id": decomposed, "text": "t"}])
    assert index.get(decomposed).id == "학교"
    assert index.row(decomposed)[0].document.id == "학교"
    assert index.delete([decomposed]) == ["학교"]


def test_a_string_is_no_list_of_ids(index: yusa.Index) -> None:
    with pytest.raises(UsageError, match="list"):
        index.delete("abc")
    assert index.stats().documents == 3


def test_create_refuses_an_index_that_exists(index: yusa.Index, encoder: StubEncoder) -> None:
    with pytest.raises(IndexExistsError, match="there is an index at"):
        yusa.create(index.path, encoder=encoder)


def test_a_directory_in_use_is_refused_before_the_encoder_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(IndexExistsError, match=r"not empty \(it holds 'notes.txt'\)"):
        yusa.create(tmp_path, encoder="no such encoder")


def test_open_refuses_a_directory_without_index(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError):
        yusa.open(tmp_path)


@pytest.mark.parametrize(("passage_tokens", "overlap"), [(16, 16), (16, -1), (0, 0)])
def test_create_refuses_senseless_passages(
    tmp_path: Path, encoder: StubEncoder, passage_tokens: int, overlap: int
) -> None:
    with pytest.raises(UsageError, match="overlap"):
        yusa.create(tmp_path / "x", encoder=encoder, passage_tokens=passage_tokens, overlap=overlap)
    assert not (tmp_path / "x").exists()


def test_create_refuses_vectors_that_would_be_cut_to_nothing(tmp_path: Path, encoder: StubEncoder) -> None:
    with pytest.raises(UsageError, match="vector_dtype must be 'float16' or 'float32', not 'int8'"):
        yusa.create(tmp_path / "new", encoder=encoder, vector_dtype="int8")  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_another_encoder_object_is_refused_at_once(index: yusa.Index) -> None:
    with pytest.raises(EncoderMismatchError, match=r"weights \('stub-'.*'stub-other'"):
        yusa.open(index.path, encoder=StubEncoder(dimension=32, seed="other"))


def test_an_encoder_with_other_vectors_is_refused(
    index: yusa.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YUSA_CACHE", str(tmp_path / "cache"))

    class Broken(StubEncoder):
        def _encode(self, texts: object) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
            rows = super()._encode(texts)  # type: ignore[arg-type]
            return -rows

    with pytest.raises(EncoderMismatchError, match="lowest cosine -"):
        yusa.open(index.path, encoder=Broken(dimension=32)).search("apples")


def test_a_runtime_that_passed_is_not_asked_again(
    index: yusa.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YUSA_CACHE", str(tmp_path / "cache"))
    first, second = StubEncoder(dimension=32), StubEncoder(dimension=32)
    yusa.open(index.path, encoder=first).search("apples")
    assert first.encoded_texts
    yusa.open(index.path, encoder=second).search("apples")
    assert second.encoded_texts == []


def test_options_beside_an_encoder_object_are_refused(tmp_path: Path, encoder: StubEncoder) -> None:
    with pytest.raises(UsageError, match="loaded already"):
        yusa.create(tmp_path / "x", encoder=encoder, device="cpu")


def test_many_threads_search_while_one_writes(index: yusa.Index) -> None:
    wrong: list[str] = []
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            hits = index.search("carrots and onions", top_k=50)
            wrong.extend(hit.id for hit in hits if hit.id.startswith("n") and hit.text != f"onions number {hit.id[1:]}")

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for start in range(0, 60, 10):
        index.add([{"id": f"n{n}", "text": f"onions number {n}"} for n in range(start, start + 10)])
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert index.stats().documents == 63


def test_backup_is_an_index(index: yusa.Index, tmp_path: Path, encoder: StubEncoder) -> None:
    index.backup(tmp_path / "copy")
    with yusa.open(tmp_path / "copy", encoder=encoder) as copy:
        assert [hit.id for hit in copy.search("apples")] == [hit.id for hit in index.search("apples")]


class Judge:
    """A reranker that likes the text with the most words."""

    def __init__(self, name: str) -> None:
        self.name = name

    def scores(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([len(text.split()) for text in texts], dtype=np.float32)


def test_a_reranker_is_loaded_once_by_its_name_and_taken_from_what_was_tuned(
    index: yusa.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(name: str) -> Judge:
        loaded.append(name)
        return Judge(name)

    monkeypatch.setattr("yusa.encoder.CrossEncoder.load", load)
    index.add([{"id": "long", "text": "one two three four five six"}])
    plain = index.search("carrots")
    assert [set(hit.scores) for hit in plain] == [{"dense", "lexical"}] * 4
    hits = index.search("carrots", rerank="some/judge")
    assert (hits[0].id, hits[0].scores["rerank"], len(hits)) == ("long", 6.0, 4)
    assert index.search("carrots", rerank=Path("some/judge")) == hits
    assert index.search("carrots", rerank=Judge("mine")) == hits
    assert loaded == ["some/judge"]
    index.tune({"rerank": "some/judge", "rerank_depth": 2})
    assert [set(hit.scores) for hit in index.search("carrots")] == [{"dense", "lexical", "rerank"}] * 2 + [
        {"dense", "lexical"}
    ] * 2
    # A mode that is asked for is what it is, without what was tuned beside it.
    assert index.search("carrots", mode="hybrid") == plain
    assert loaded == ["some/judge"]
