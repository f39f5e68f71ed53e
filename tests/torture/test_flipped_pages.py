"""A bit of the database that flips: the right answer, or a refusal by name; never another's text, or a wrong hit.

Rows of filterable values alone have no checksums. A flipped one may hide a document from a filter until `verify --deep`
finds it; what it lets pass wrongly is refused.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stubs import StubEncoder

import yusa
from yusa.errors import StorageError
from yusa.index import Index
from yusa.search.hit import Hit
from yusa.storage import publish

_ENCODER = StubEncoder(64)
_WORDS = ["바다", "산", "강", "하늘", "구름", "비", "눈", "바람", "나무", "꽃", "river", "mountain", "cloud", "rain"]
_QUERIES = ("바다 산", "river 문서 17", "제목 9")
_WHERE: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "year >= 2010 and lang = 'ko'": lambda data: data["year"] >= 2010 and data["lang"] == "ko",
    "tags = 't3'": lambda data: "t3" in data["tags"],
    "lang != 'ko'": lambda data: data["lang"] != "ko",
}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of segments, a tail, postings of both, attributes and deletions, its WAL empty."""
    monkeypatch.setattr(publish, "TAIL_LIMIT", 150)
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    rows = [
        {
            "id": f"d{n}",
            "title": f"제목 {n}",
            "text": " ".join(_WORDS[(n * k * 7 + k) % 14] for k in range(1, 12)) + f" 문서 {n}",
            "year": 2000 + n % 20,
            "lang": "ko" if n % 3 else "en",
            "tags": [f"t{n % 5}", f"u{n % 7}"],
        }
        for n in range(220)
    ]
    path = tmp_path / "made"
    with yusa.create(path, encoder=_ENCODER, passage_tokens=32, overlap=0) as index:
        index.add(rows[:160])
        index.add(rows[160:])
        index.delete(["d5", "d6"])
        assert (index.stats().segments, index.stats().tail) == (1, 60)
    _without_wal(path)
    return path


def _without_wal(path: Path) -> None:
    """What is committed stands in the database alone."""
    wal = path / "index.db-wal"
    assert not wal.exists() or wal.stat().st_size == 0
    for name in ("index.db-wal", "index.db-shm"):
        (path / name).unlink(missing_ok=True)


def _told(hits: list[Hit]) -> list[tuple[object, ...]]:
    return [
        (hit.id, round(hit.score, 5), hit.title, hit.text, json.dumps(hit.metadata), hit.passage.start) for hit in hits
    ]


def _answers(index: Index) -> list[object]:
    answers: list[object] = [
        _told(index.search(query, mode=mode, top_k=8)) for query in _QUERIES for mode in ("dense", "lexical", "hybrid")
    ]
    return [*answers, _told(index.similar("d9")), index.get("d17")]


def _filtered(index: Index) -> list[tuple[str, Hit]]:
    return [
        (where, hit)
        for where in _WHERE
        for mode in ("dense", "lexical")
        for hit in index.search("바다 산", where=where, mode=mode)
    ]


def _flipped(made: Path, copy: Path, random: np.random.Generator) -> str:
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(made, copy)
    at = int(random.integers((copy / "index.db").stat().st_size))
    bit = 1 << int(random.integers(8))
    with (copy / "index.db").open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bit]))
    return f"page {at // 8192 + 1}, byte {at % 8192}, bit {bit}"


def _try(made: Path, count: int, seed: int) -> dict[str, int]:
    with yusa.open(made, encoder=_ENCODER) as index:
        truth = _answers(index)
        texts = {hit.id: (hit.text, hit.metadata) for _, hit in _filtered(index)}
        documents = {f"d{n}": index.get(f"d{n}") for n in range(220) if n not in (5, 6)}
    _without_wal(made)
    assert len(texts) > 20
    seen = {"right": 0, "refused": 0}
    random = np.random.default_rng(seed)
    for _ in range(count):
        where = _flipped(made, made.with_name("copy"), random)
        try:
            with yusa.open(made.with_name("copy"), encoder=_ENCODER) as index:
                assert _answers(index) == truth, where
                for clause, hit in _filtered(index):
                    document = documents[hit.id]
                    assert (hit.title, hit.metadata) == (document.title, document.metadata), where
                    assert hit.text in document.text, where
                    assert _WHERE[clause](hit.metadata), where
            seen["right"] += 1
        except StorageError as error:
            seen["refused"] += str(made.with_name("copy")) in str(error)
    assert sum(seen.values()) == count
    return seen


def test_a_flipped_bit_of_the_database_is_never_a_wrong_hit(made: Path) -> None:
    seen = _try(made, 60, seed=5)
    assert min(seen.values()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_many_flipped_bits_of_the_database_are_never_a_wrong_hit(made: Path, seed: int) -> None:
    assert sum(_try(made, int(os.environ.get("YUSA_FLIPS", "400")), seed).values()) >= 400


def test_what_passes_a_filter_wrongly_is_refused(made: Path) -> None:
    """The entry of one document becomes another's in the index over values."""
    import sqlite3

    with sqlite3.connect(made / "index.db") as database:
        key, other = (
            database.execute("SELECT key FROM document WHERE id = ?", [id]).fetchone()[0] for id in ("d3", "d4")
        )
        database.execute("UPDATE attribute SET text = 't3' WHERE document = ? AND text = 't4'", [other])
    database.close()
    assert key != other
    with (
        yusa.open(made, encoder=_ENCODER) as index,
        pytest.raises(StorageError, match="filterable values of document 'd4'"),
    ):
        index.search("문서 4", where="tags = 't3'", top_k=200)
