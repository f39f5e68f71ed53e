"""`yusa eval`: on an index, on a corpus of its own, and where it cannot work."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tiny import DOCUMENTS, Run, write_rows

QUESTIONS = {"q1": "우산 을 샀다", "q2": "지루한 영화", "q3": "a class statement", "q4": "the for statement"}
RIGHT = {"q1": "rain", "q2": "film", "q3": "class", "q4": "loop"}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "tiny-set"
    path.mkdir()
    rows = write_rows(path / "corpus.jsonl", DOCUMENTS)
    (path / "corpus.jsonl.gz").write_bytes(gzip.compress(rows.read_bytes()))
    rows.unlink()
    write_rows(path / "queries.jsonl", [{"_id": id, "text": text} for id, text in QUESTIONS.items()])
    lines = [f"{question}\t{document}\t1\n" for question, document in RIGHT.items()]
    (path / "qrels.dev.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), "utf-8")
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    rows = [f'"{QUESTIONS[id]}",{RIGHT[id]}\n' for id in QUESTIONS]
    path.write_text("question,id\n" + "".join(rows), "utf-8")
    return path


def evaluated(run: Run, *arguments: object) -> dict[str, Any]:
    result = run("eval", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_an_index_is_asked_and_stays_as_it_is(run: Run, made: Path, questions: Path) -> None:
    before = sorted(file.name for file in made.iterdir())
    found = evaluated(run, questions, "-i", made, "--mode", "dense,lexical,hybrid", "--weight", "0.3,0.6")
    assert (found["dataset"], found["split"], found["questions"], found["notes"]) == ("mine", None, 4, [])
    assert [row["settings"]["mode"] for row in found["runs"]] == ["dense", "lexical", "hybrid", "hybrid"]
    assert [row["settings"].get("weight") for row in found["runs"]] == [None, None, 0.3, 0.6]
    for row in found["runs"]:
        assert list(row) == ["settings", "metrics", "intervals", "latency_ms"]
        assert list(row["metrics"]) == ["ndcg@10", "recall@100", "mrr@10", "map"]
        assert all(low <= row["metrics"][name] <= high for name, (low, high) in row["intervals"].items())
    # Words decide in this tiny set: each question shares its words with its document alone.
    assert found["runs"][1]["metrics"]["ndcg@10"] == 1.0
    assert [(one["run"], one["metric"]) for one in found["comparisons"][:3]] == [
        (1, "ndcg@10"),
        (2, "ndcg@10"),
        (3, "ndcg@10"),
    ]
    assert sorted(file.name for file in made.iterdir()) == before


def test_a_corpus_is_indexed_once_in_the_cache(run: Run, dataset: Path, encoder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    arguments = ("eval", dataset, "--split", "dev", "--encoder", encoder, "--mode", "lexical", "--json")
    first = run(*arguments, env={"YUSA_CACHE": str(cache)})
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    assert (found["split"], found["runs"][0]["metrics"]["recall@100"]) == ("dev", 1.0)
    assert " documents, " in first.stderr
    homes = list((cache / "eval").iterdir())
    assert len(homes) == 1
    again = run(*arguments, env={"YUSA_CACHE": str(cache)})
    assert " documents, " not in again.stderr
    assert json.loads(again.stdout)["runs"][0]["metrics"] == found["runs"][0]["metrics"]
    # Another pooling makes other vectors, so it has an index of its own.
    both = run(*arguments, "--pooling", "mean,cls", env={"YUSA_CACHE": str(cache)})
    assert [row["settings"]["pooling"] for row in json.loads(both.stdout)["runs"]] == ["mean", "cls"]
    assert len(list((cache / "eval").iterdir())) == 2
    assert not list(cache.rglob("unpacked-*"))


def test_a_table_for_people(run: Run, made: Path, questions: Path) -> None:
    result = run("eval", questions, "-i", made, "--mode", "lexical,dense", "--failures", "2")
    assert result.exit_code == 0, result.output
    assert "mine: 4 questions" in result.stdout
    for word in ("ndcg@10", "recall@100", "mrr@10", "map", "p50 ms", "dense against lexical: ndcg@10", "p = "):
        assert word in result.stdout
    assert "0 worst questions of lexical" in result.stdout


def test_failures_say_what_came_first(run: Run, made: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text("question,id\n우산 을 샀다,film|dinner\n", "utf-8")
    result = run("eval", path, "-i", made, "--mode", "lexical", "--failures", "3")
    assert "우산 을 샀다\n  right: dinner, film; " in result.stdout
    assert "  1. rain  비 어제 비 가 왔다" in result.stdout
    found = evaluated(run, path, "-i", made, "--mode", "lexical", "--failures", "3")
    assert found["runs"][0]["failures"][0]["top"][0]["id"] == "rain"


def test_questions_are_taken_literally(run: Run, made: Path, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text('question,id\n"""우산 -을 샀다*",rain\n', "utf-8")
    assert evaluated(run, path, "-i", made, "--mode", "lexical")["runs"][0]["metrics"]["mrr@10"] == 1.0


def test_only_what_passes_the_filter(run: Run, made: Path, questions: Path) -> None:
    found = evaluated(run, questions, "-i", made, "--mode", "lexical", "--where", "lang = 'en'")
    assert found["runs"][0]["metrics"]["recall@100"] == 0.5
    assert found["runs"][0]["settings"]["where"] == "lang = 'en'"


def test_what_the_index_lacks_is_said(run: Run, made: Path, tmp_path: Path) -> None:
    path = tmp_path / "part.csv"
    path.write_text("question,id\n우산,rain|gone\n", "utf-8")
    found = evaluated(run, path, "-i", made, "--mode", "lexical")
    assert found["notes"] == ["1 of 2 judged documents are not in the index"]
    assert found["runs"][0]["metrics"]["recall@100"] == 0.5
    path.write_text("question,id\n우산,gone\n", "utf-8")
    result = run("eval", path, "-i", made)
    assert result.exit_code == 1
    assert "holds none of the 1 right documents of part, such as 'gone'" in result.stderr


def test_a_tuned_index_is_asked_as_it_was_tuned(run: Run, own: Path, questions: Path) -> None:
    import yusa

    with yusa.open(own) as index:
        index.tune({"mode": "hybrid", "weight": 0.3})
    assert evaluated(run, questions, "-i", own)["runs"][0]["settings"]["weight"] == 0.3
    assert evaluated(run, questions, "-i", own, "--mode", "dense")["runs"][0]["settings"]["mode"] == "dense"


def test_files(run: Run, made: Path, questions: Path, tmp_path: Path) -> None:
    trec, report = tmp_path / "out.trec", tmp_path / "out.html"
    modes = ("--mode", "lexical,dense")
    result = run("eval", questions, "-i", made, *modes, "--run", trec, "--report", report)
    assert result.exit_code == 0, result.output
    assert not trec.exists()
    assert (tmp_path / "out-1.trec").read_text("utf-8").splitlines()[0].split()[1:4] == ["Q0", "rain", "1"]
    assert (tmp_path / "out-2.trec").exists()
    assert "<svg" in report.read_text("utf-8")
    run("eval", questions, "-i", made, "--mode", "lexical", "--run", trec)
    assert trec.read_text("utf-8") == (tmp_path / "out-1.trec").read_text("utf-8")


@pytest.mark.parametrize("option", ["--run", "--report"])
def test_a_file_that_cannot_be_written_is_said_first(run: Run, made: Path, tmp_path: Path, option: str) -> None:
    result = run("eval", tmp_path / "not there", "-i", made, option, tmp_path / "no folder" / "file")
    assert result.exit_code == 2
    assert "cannot write" in result.stderr


def test_wrong_usage(run: Run, made: Path, questions: Path, dataset: Path, other_encoder: Path) -> None:
    for arguments, code, message in (
        ((questions,), 2, "mine has no corpus.jsonl to index; name the index to ask with -i"),
        ((questions, "-i", made, "--mode", "dense,best"), 2, "'best' is not one of"),
        ((questions, "-i", made, "--mode", ","), 2, "at least one value"),
        ((questions, "-i", made, "--weight", "0.5,2"), 2, "2.0 is not in the range"),
        ((questions, "-i", made, "--encoder", other_encoder), 1, "differs"),
        ((questions, "-i", made, "--where", "lang ="), 2, "expected"),
        ((dataset, "-i", made, "--split", "test"), 2, "no split 'test'; it has dev"),
        ((dataset.parent / "nothing", "-i", made), 1, "no data set at"),
    ):
        result = run("eval", *arguments)
        assert (result.exit_code, message in result.stderr) == (code, True), result.output


def test_rows_that_cannot_be_indexed_are_said(run: Run, dataset: Path, encoder: Path, tmp_path: Path) -> None:
    env = {"YUSA_CACHE": str(tmp_path / "cache")}
    rows = [json.dumps(row, ensure_ascii=False) for row in DOCUMENTS]
    (dataset / "corpus.jsonl").write_text("\n".join([rows[0], "not json", *rows[1:]]), "utf-8")
    arguments = ("eval", dataset, "--encoder", encoder, "--mode", "lexical")
    for _ in range(2):  # the second time from the cache
        result = run(*arguments, env=env)
        assert result.exit_code == 0, result.output
        assert "1 rows of the corpus were rejected, the first in line 2: " in result.stderr
    (dataset / "corpus.jsonl").write_text("not json\n", "utf-8")
    result = run(*arguments, env=env)
    assert result.exit_code == 1
    assert "no row of" in result.stderr
