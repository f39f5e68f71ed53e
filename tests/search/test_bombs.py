"""Inputs that are small and mean a great deal of work."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from searching import make_searcher, new_store, put

from yusa.errors import InputError
from yusa.search import datasets
from yusa.search.datasets import load_dataset


def _bomb(path: Path, line: bytes, times: int) -> None:
    with gzip.open(path, "wb") as file:
        for _ in range(times):
            file.write(line)


@pytest.mark.parametrize("score", ["+-5", "9" * 5000, "1.5", "²"])
def test_a_score_that_is_no_whole_number_is_refused_by_name(tmp_path: Path, score: str) -> None:
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "question"}\n', "utf-8")
    (tmp_path / "qrels.tsv").write_text(f"q\td\t1\nq\te\t{score}\n", "utf-8")
    with pytest.raises(InputError, match=r"qrels\.tsv:2 is not"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("name", ["queries.jsonl.gz", "qrels.tsv.gz"])
def test_a_packed_file_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "MOST_BYTES", 1 << 20)
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "question"}\n', "utf-8")
    (tmp_path / "qrels.tsv").write_text("q\td\t1\n", "utf-8")
    assert load_dataset(tmp_path).questions == {"q": "question"}
    (tmp_path / name.removesuffix(".gz")).unlink()
    _bomb(tmp_path / name, b" " * (1 << 16), 40)
    assert (tmp_path / name).stat().st_size < 1 << 13
    with pytest.raises(InputError, match="more than 1 MiB, unpacked"):
        load_dataset(tmp_path)


def test_deeply_nested_questions_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text("[" * 200_000 + "\n", "utf-8")
    (tmp_path / "qrels.tsv").write_text("q\td\t1\n", "utf-8")
    with pytest.raises(InputError, match=r"queries\.jsonl:1 is not JSON"):
        load_dataset(tmp_path)


def test_a_query_of_a_megabyte_is_answered(tmp_path: Path) -> None:
    store = new_store(tmp_path / "index")
    put(store, {"a": ["사과와 배"]})
    searcher = make_searcher(store)
    for piece in ("사과 ", "사과", "學校", "a1", "a-1 ", "a*", "“", '" ', "\u0301\u0323", "\u200b"):
        searcher.search(["사과" + piece * 100_000], mode="lexical")
    store.close()
