"""Data sets as people have them: BEIR's layout and tables, whole and broken."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from yusa.errors import InputError, UsageError
from yusa.search.datasets import corpus_digest, load_dataset, question_id


def write_set(path: Path, qrels: str, *, name: str = "qrels.tsv", questions: dict[str, str] | None = None) -> Path:
    path.mkdir(exist_ok=True)
    rows = questions or {"q1": "비 오는 날", "q2": "영화"}
    (path / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": id, "text": text}, ensure_ascii=False) + "\n" for id, text in rows.items()), "utf-8"
    )
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_text(qrels, "utf-8")
    return path


def test_a_directory_in_beirs_layout(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set", "query-id\tcorpus-id\tscore\nq1\ta\t2\nq1\tb\t1\nq1\tc\t0\nq2\ta\t1\n")
    (path / "corpus.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    dataset = load_dataset(path)
    assert (dataset.name, dataset.split, dataset.notes) == ("set", None, ())
    assert dataset.questions == {"q1": "비 오는 날", "q2": "영화"}
    assert dataset.qrels == {"q1": {"a": 2, "b": 1, "c": 0}, "q2": {"a": 1}}
    assert dataset.right("q1") == ["a", "b"]
    assert dataset.judged_documents() == {"a", "b", "c"}
    assert dataset.corpus == path / "corpus.jsonl.gz"


@pytest.mark.parametrize("name", ["qrels.dev.tsv", "qrels/dev.tsv"])
def test_a_split_is_found_in_both_places(tmp_path: Path, name: str) -> None:
    path = write_set(tmp_path / "set", "q1\ta\t1\n", name=name)
    for split in ("dev", None):
        dataset = load_dataset(path, split)
        assert (dataset.split, dataset.qrels) == ("dev", {"q1": {"a": 1}})


def test_packed_files_and_a_bom(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set", "q1\ta\t1\n")
    for name in ("queries.jsonl", "qrels.tsv"):
        raw = (path / name).read_bytes()
        (path / name).unlink()
        (path / f"{name}.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + raw))
    assert load_dataset(path).qrels == {"q1": {"a": 1}}


def test_which_split_is_taken(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set", "q1\ta\t1\n", name="qrels.dev.tsv")
    write_set(path, "q1\tb\t1\n", name="qrels.train.tsv")
    with pytest.raises(UsageError, match=r"the splits dev, train; choose one with --split"):
        load_dataset(path)
    with pytest.raises(UsageError, match=r"no split 'tset'; it has dev, train"):
        load_dataset(path, "tset")
    write_set(path, "q1\tc\t1\n", name="qrels.test.tsv")
    assert load_dataset(path).split == "test"
    write_set(path, "q1\td\t1\n", name="qrels.tsv")
    assert load_dataset(path).split is None


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    questions = {"q1": "a", "q2": "b", "q3": "c", "q4": "d"}
    path = write_set(tmp_path / "set", "q1\ta\t1\nq2\ta\t0\nq2\tb\t-1\nq9\ta\t1\n", questions=questions)
    dataset = load_dataset(path)
    assert list(dataset.questions) == ["q1"]
    assert list(dataset.qrels) == ["q1"]
    assert dataset.notes == (
        "1 judged questions are not among the questions, and are left out",
        "2 questions have no judgement in this split, and are left out",
        "1 questions are judged to have no right document, and are left out",
    )


def test_of_two_judgements_the_higher_holds(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set", "q1\ta\t1\nq1\ta\t3\nq1\ta\t2\nq1\tb\t-2\n")
    assert load_dataset(path).qrels == {"q1": {"a": 3, "b": -2}}


def test_ids_are_nfc_as_in_an_index(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set", "q1\t가\t1\n")  # two jamo
    assert load_dataset(path).qrels == {"q1": {"가": 1}}


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ("q1 a 1\n", r"qrels\.tsv:1 is not"),
        ("q1\ta\t1\nq1\tb\tyes\n", r"qrels\.tsv:2 is not"),
        ("query-id\tcorpus-id\tscore\n", "no question of set has a right document"),
        ("q1\ta\t0\n", "no right document"),
    ],
)
def test_broken_judgements(tmp_path: Path, qrels: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_dataset(write_set(tmp_path / "set", qrels))


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ('{"_id": "q1", "text"', r"queries\.jsonl:1 is not JSON"),
        ('{"_id": "q1"}', r"queries\.jsonl:1 is not a question"),
        ('{"_id": "q1", "text": "  "}', r"queries\.jsonl:1 is not a question"),
        ("[1]", r"queries\.jsonl:1 is not a question"),
        ('{"_id": "q1", "text": "a"}\n\n{"_id": "q1", "text": "b"}', r"queries\.jsonl:3 gives the id 'q1' to another"),
    ],
)
def test_broken_questions(tmp_path: Path, queries: str, message: str) -> None:
    path = write_set(tmp_path / "set", "q1\ta\t1\n")
    (path / "queries.jsonl").write_text(queries, "utf-8")
    with pytest.raises(InputError, match=message):
        load_dataset(path)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data set at"):
        load_dataset(tmp_path / "nothing")
    with pytest.raises(InputError, match="has no judgements"):
        load_dataset(tmp_path)
    path = write_set(tmp_path / "set", "q1\ta\t1\n")
    (path / "queries.jsonl").unlink()
    with pytest.raises(InputError, match=r"has no queries\.jsonl \(or queries\.jsonl\.gz\)"):
        load_dataset(path)
    (path / "queries.jsonl.gz").write_bytes(b"not packed")
    with pytest.raises(InputError, match="cannot be read"):
        load_dataset(path)


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes('\ufeffQuestion,id\n비가 오나,a|b\n"쉼표, 있음",c\n비가  오나,d\n\n'.encode())
    dataset = load_dataset(path)
    rain = question_id("비가 오나")
    assert (dataset.name, dataset.split, dataset.corpus) == ("mine", None, None)
    assert dataset.questions == {rain: "비가 오나", question_id("쉼표, 있음"): "쉼표, 있음"}
    assert dataset.qrels[rain] == {"a": 1, "b": 1, "d": 1}


def test_a_table_with_scores_and_tabs(tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text("query\tids\tscore\nx\ta\t3\nx\tb\t\ny\tc\t0\n", "utf-8")
    dataset = load_dataset(path)
    assert list(dataset.qrels.values()) == [{"a": 3, "b": 1}]
    assert dataset.notes == ("1 questions are judged to have no right document, and are left out",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "needs a header"),
        (b"frage,id\nx,a\n", "needs a header"),
        (b"question,id\n,a\n", r"mine\.csv:2 has no question"),
        (b"question,id,score\nx,a,high\n", r"mine\.csv:2 has a score that is not a whole number: 'high'"),
        (b"question,id\nx,\n", "no question of mine has a right document"),
        ("question,id\n비,a\n".encode("cp949"), "not UTF-8"),
    ],
)
def test_broken_tables(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_dataset(path)


def test_a_table_has_no_splits(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("question,id\nx,a\n")
    with pytest.raises(UsageError, match="no splits"):
        load_dataset(path, "dev")


def test_a_corpus_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    plain, packed, other = tmp_path / "corpus.jsonl", tmp_path / "corpus.jsonl.gz", tmp_path / "other.jsonl"
    plain.write_bytes(b"rows\n")
    packed.write_bytes(gzip.compress(b"rows\n"))
    other.write_bytes(b"other rows\n")
    assert corpus_digest(plain) == corpus_digest(packed) != corpus_digest(other)
    packed.write_bytes(packed.read_bytes()[:-3])
    with pytest.raises(InputError, match="cannot be read"):
        corpus_digest(packed)
