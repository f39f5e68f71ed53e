from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from tiny import DOCUMENTS, Run, write_rows

import yusa
from yusa.storage.checksums import encoding_checksum

KEYS = ["rank", "score", "id", "title", "text", "highlights", "passage", "metadata", "scores"]
PROGRAM = [sys.executable, "-c", "from yusa.service.cli import main; main()"]


def ids(output: str) -> list[str]:
    return [hit["id"] for hit in json.loads(output)]


def test_words_need_no_quotes_and_the_nearest_comes_first(run: Run, made: Path) -> None:
    result = run("search", "지루한", "영화", "-i", made, "-k", 2)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["1", lines[0].split()[1], "████████"]
    assert "film  영화" in lines[0]
    assert "«지루한» «영화» 를 보았다 . 음악 은 좋았다 ." in lines[1]
    assert run("search", "지루한 영화", "-i", made, "-k", 2).stdout == result.stdout


def test_json_is_an_array_of_hits(run: Run, made: Path) -> None:
    result = run("search", "지루한 영화", "-i", made, "-k", 3, "--format", "json")
    hits = json.loads(result.stdout)
    assert [list(hit)[: len(KEYS)] for hit in hits] == [KEYS] * 3
    first = hits[0]
    assert (first["rank"], first["id"], first["title"]) == (1, "film", "영화")
    assert first["metadata"] == {"year": 2022, "lang": "ko"}
    assert first["passage"] == {"ordinal": 0, "start": 0, "end": len(first["text"])}
    assert [first["text"][start:end] for start, end in first["highlights"]] == ["지루한", "영화"]
    assert first["text"][slice(*first["snippet"])] == "지루한 영화 를 보았다 .\n음악 은 좋았다 ."
    assert set(first["scores"]) == {"dense", "lexical"}
    assert first["score"] == 1.0
    assert first["ranks"] == {"dense": 1, "lexical": 1}
    assert "영화" in result.stdout


def test_jsonl_is_a_hit_a_line(run: Run, made: Path) -> None:
    as_json = run("search", "김치", "-i", made, "--format", "json")
    as_lines = run("search", "김치", "-i", made, "--format", "jsonl")
    assert [json.loads(line) for line in as_lines.stdout.splitlines()] == json.loads(as_json.stdout)


def test_queries_from_standard_input_are_told_apart(run: Run, made: Path) -> None:
    stdin = "김치 와 밥\n\n지루한 영화\n"
    result = run("search", "-", "-i", made, "-k", 1, "--format", "jsonl", stdin=stdin)
    hits = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(hit["query"], hit["id"]) for hit in hits] == [("김치 와 밥", "dinner"), ("지루한 영화", "film")]
    table = run("search", "-", "-i", made, "-k", 1, stdin=stdin).stdout
    assert table.index("김치 와 밥") < table.index("dinner") < table.index("지루한 영화") < table.index("film")


def test_offset_where_min_score_and_passages(run: Run, made: Path) -> None:
    everything = ids(run("search", "비", "-i", made, "--format", "json").stdout)
    assert len(everything) == 5
    assert ids(run("search", "비", "-i", made, "--format", "json", "--offset", 3).stdout) == everything[3:]
    english = run("search", "비", "-i", made, "--format", "json", "--where", "lang = 'en' and year > 2020")
    assert ids(english.stdout) == ["class"]
    assert ids(run("search", "비", "-i", made, "--format", "json", "--min-score", 0.999).stdout) == []
    assert sorted(ids(run("search", "비", "-i", made, "--format", "json", "--passages").stdout)) == sorted(everything)


def test_no_hits_are_said_and_are_no_failure(run: Run, made: Path, tmp_path: Path, encoder: Path) -> None:
    result = run("search", "비", "-i", made, "--where", "year = 1900", "--min-score", 0.1)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no hits (with this --where and --min-score)" in result.stderr
    result = run("search", "비", "-i", made, "--offset", 99, "--format", "json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    with yusa.create(tmp_path / "empty", encoder=encoder):
        pass
    for mode in ("dense", "lexical", "hybrid"):
        none = run("search", "비", "-i", tmp_path / "empty", "--mode", mode)
        assert (none.exit_code, none.stdout) == (0, "")
        assert "no hits; the index is empty" in none.stderr
    assert "no document holds a word of it" in run("search", "zebra", "-i", made, "--mode", "lexical").stderr
    assert "nothing holds what it asks for" in run("search", '"zebra"', "-i", made).stderr


def test_explain_shows_scores_and_times(run: Run, made: Path) -> None:
    result = run("search", "비", "-i", made, "-k", 1, "--explain")
    explained = " ".join(result.stdout.split())
    assert re.search(r"dense 0\.\d{4} \(rank \d\), lexical \d\.\d{4} \(rank 1\)", explained)
    assert "passage 0, characters 0–" in explained
    assert "hybrid · encode " in result.stderr
    assert " on cpu" in result.stderr
    for mode in ("dense", "lexical"):
        result = run("search", "비", "-i", made, "-k", 1, "--explain", "--mode", mode)
        assert f"{mode} " in result.stdout
        assert (f"{mode} · encode " in result.stderr) == (mode == "dense")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Missing argument 'QUERY...'"),
        (["비", "--where", "year >"], 2, "^"),
        (["비", "--where", "year ="], 2, "year ="),
        (["비", "-k", "0"], 2, "0 is not in the range x>=1"),
        (["비", "-k", "many"], 2, "'many' is not a valid integer"),
        (["비", "--offset", "-1"], 2, "-1 is not in the range x>=0"),
        (["비", "--mode", "psychic"], 2, "'psychic' is not one of 'dense', 'lexical', 'hybrid'"),
        (["비", "--format", "xml"], 2, "'xml' is not one of 'table', 'json', 'jsonl'"),
        (["-", "--format", "json"], 2, "use --format jsonl"),
        (["-", "--facet", "lang"], 2, "use --format jsonl"),
        (["비", "--mode", "lexical", "--min-score", "0.5"], 2, "mode 'lexical' does not compute"),
        (["비", "--context", "-1"], 2, "-1 is not in the range x>=0"),
        (["비", "--rerank-depth", "0"], 2, "0 is not in the range x>=1"),
        ([" "], 2, "query"),
        (["\udcff"], 1, "the query is not valid UTF-8"),
        (["비", "--encoder", "/no/such/model"], 1, "/no/such/model"),
    ],
)
def test_wrong_usage_is_named(run: Run, made: Path, arguments: list[str], code: int, message: str) -> None:
    result = run("search", *arguments, "-i", made, stdin="비\n")
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["search", "비"],
        ["similar", "a"],
        ["show", "a"],
        ["delete", "a"],
        ["stats"],
        ["verify"],
        ["compact"],
        ["session"],
    ],
)
def test_a_missing_index_is_named(run: Run, tmp_path: Path, command: list[str]) -> None:
    result = run(*command, "-i", tmp_path / "nowhere")
    assert (result.exit_code, result.stdout) == (1, "")
    assert str(tmp_path / "nowhere") in result.stderr
    assert not (tmp_path / "nowhere").exists()


def test_modes_and_operators(run: Run, made: Path) -> None:
    def found(*arguments: str) -> list[str]:
        result = run("search", "-i", made, "--format", "json", *arguments)
        assert result.exit_code == 0, result.output
        return ids(result.stdout)

    assert found("--mode", "lexical", "영화") == ["film"]
    assert found("--mode", "lexical", "statement") == ["loop", "class"]
    assert found("--mode", "lexical", "state*") == ["loop", "class"]
    assert found("--mode", "lexical", "--", "statement", "-iterates") == ["class"]
    assert sorted(found("--", "statement", "-iterates", '-"우산 을"')) == ["class", "dinner", "film"]
    assert found('"class object" 영화') == ["class"]
    assert sorted(found("--literal", '"class object" 영화')) == ["class", "dinner", "film", "loop", "rain"]
    assert found("--mode", "lexical", "--literal", "--", "-영화") == ["film"]
    refused = run("search", "-i", made, "--", "-영화")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "the query only says what to leave out" in refused.stderr


def test_lexical_search_needs_no_encoder(run: Run, made: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(made, tmp_path / "moved")
    with contextlib.closing(sqlite3.connect(moved / "index.db")) as database, database:
        ((id, settings, probes),) = database.execute("SELECT id, settings, probe_vectors FROM encoding")
        gone = json.dumps({**json.loads(settings), "encoder": "/gone"})
        checksum = encoding_checksum(id, gone, probes)
        database.execute("UPDATE encoding SET settings = ?, checksum = ?", (gone, checksum))
    result = run("search", "영화", "-i", moved, "--mode", "lexical", "--explain", "--facet", "lang")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "film" in result.stdout
    assert "ko 1" in result.stdout
    refused = run("search", "영화", "-i", moved)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "/gone" in refused.stderr


def test_facets(run: Run, made: Path) -> None:
    table = run("search", "비", "-i", made, "-k", 1, "--facet", "lang", "--facet", "nothing")
    assert table.stdout.splitlines()[-3:] == ["lang  ko 3 · en 2", "", "nothing  no values"]
    counted = {"lang": [{"value": "ko", "count": 3}, {"value": "en", "count": 2}]}
    as_json = json.loads(run("search", "비", "-i", made, "-k", 1, "--facet", "lang", "--format", "json").stdout)
    assert list(as_json) == ["hits", "facets"]
    assert (len(as_json["hits"]), as_json["facets"]) == (1, counted)
    *hits, last = run("search", "비", "-i", made, "--facet", "lang", "--format", "jsonl").stdout.splitlines()
    assert (len(hits), json.loads(last)) == (5, {"facets": counted})
    few = run("search", "statement", "-i", made, "--mode", "lexical", "--facet", "year", "--where", "year > 2020")
    assert few.stdout.splitlines()[-1] == "year  2024 1"


def test_context_and_collapse(run: Run, encoder: Path, tmp_path: Path) -> None:
    text = "어제 비 가 왔다 .\n지루한 영화 를 보았다 .\n저녁 에 김치 와 밥 을 먹었다 ."
    rows = write_rows(tmp_path / "rows.jsonl", [{"id": id, "text": text} for id in ("one", "two")])
    index = tmp_path / "index"
    made = run("index", rows, "-i", index, "--encoder", encoder, "--passage-tokens", 8, "--overlap", 0)
    assert made.exit_code == 0, made.output
    (hit,) = json.loads(run("search", "영화", "-i", index, "--collapse", "--context", 1, "--format", "json").stdout)
    assert (hit["id"], hit["collapsed"], hit["text"]) == ("one", ["two"], "지루한 영화 를 보았다 .")
    assert [other["text"] for other in hit["context"]] == ["어제 비 가 왔다 .", "저녁 에 김치 와 밥 을 먹었다 ."]
    table = run("search", "영화", "-i", index, "--collapse", "--context", 1).stdout
    for part in ("passage 0  어제 비", "passage 2  저녁 에", "and nearly the same in two"):
        assert part in table


def test_similar_to_a_passage_and_to_a_file(run: Run, made: Path, tmp_path: Path) -> None:
    whole = run("similar", "film", "-i", made, "--json")
    assert json.loads(run("similar", "film", "--passage", 0, "-i", made, "--json").stdout) == json.loads(whole.stdout)
    none = run("similar", "film", "--passage", 1, "-i", made)
    assert (none.exit_code, none.stdout) == (1, "")
    assert "has no passage 1; it has 1" in none.stderr
    draft = tmp_path / "draft.txt"
    draft.write_bytes("어제 비 가 왔다 . 우산 을 샀다 .".encode("cp949"))
    assert ids(run("similar", "--file", draft, "-i", made, "--json").stdout)[0] == "rain"
    for bad, code, message in (
        ([], 2, "give the ID of a document"),
        (["film", "--file", draft], 2, "give the ID of a document"),
        (["--file", draft, "--passage", 0], 2, "give the ID of a document"),
        (["--file", tmp_path / "gone.txt"], 1, "gone.txt cannot be read"),
        (["--file", tmp_path], 1, "cannot be read"),
    ):
        result = run("similar", *bad, "-i", made)
        assert (result.exit_code, result.stdout) == (code, "")
        assert message in result.stderr
    draft.write_bytes(bytes(range(256)))
    assert run("similar", "--file", draft, "-i", made).exit_code == 1


def test_another_encoder_is_refused_by_name(run: Run, made: Path, other_encoder: Path) -> None:
    result = run("search", "비", "-i", made, "--encoder", other_encoder)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "weights (" in result.stderr


@pytest.mark.parametrize("pooling", ["cls", "pooler"])
def test_another_pooling_is_refused_by_name(run: Run, made: Path, pooling: str) -> None:
    result = run("search", "비", "-i", made, "--pooling", pooling)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"pooling ('mean' and '{pooling}')" in result.stderr


def test_the_prompts_of_the_index_are_used_and_others_are_refused_by_name(
    run: Run, made: Path, encoder: Path, tmp_path: Path
) -> None:
    prompted = shutil.copytree(encoder, tmp_path / "prompted")
    (prompted / "modules.json").write_text('[{"type": "Transformer", "path": ""}]')
    (prompted / "config_sentence_transformers.json").write_text('{"prompts": {"query": "비 ", "document": "list "}}')
    index = tmp_path / "index"
    rows = write_rows(tmp_path / "rows.jsonl", DOCUMENTS)
    assert run("index", rows, "-i", index, "--encoder", prompted).exit_code == 0
    own = run("search", "우산", "-i", index, "--format", "json")
    # The same weights without their prompt files: the index says which prompts belong to it.
    plain = run("search", "우산", "-i", index, "--format", "json", "--encoder", encoder)
    assert (plain.exit_code, plain.stdout) == (0, own.stdout)
    assert own.stdout != run("search", "우산", "-i", made, "--format", "json").stdout
    with yusa.open(made, prompts={"query": "비 "}) as other, pytest.raises(yusa.YusaError, match="query_prompt"):
        other.search("우산")


def test_the_same_encoder_from_another_place_is_accepted(run: Run, made: Path, encoder: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(encoder, tmp_path / "moved")
    here = run("search", "비", "-i", made, "--format", "json")
    there = run("search", "비", "-i", made, "--format", "json", "--encoder", moved)
    assert there.exit_code == 0, there.output
    assert there.stdout == here.stdout


def test_similar_leaves_the_document_out_and_needs_no_encoder(run: Run, made: Path) -> None:
    result = run("similar", "class", "-i", made, "-k", 2, "--format", "json")
    assert result.exit_code == 0, result.output
    found = ids(result.stdout)
    assert found[0] == "loop"
    assert len(found) == 2
    assert "1 " in run("similar", "class", "-i", made, "--explain").stdout
    none = run("similar", "class", "-i", made, "--where", "year = 1900")
    assert (none.exit_code, none.stdout) == (0, "")
    assert "no other document is there that --where lets pass" in none.stderr


@pytest.mark.parametrize("command", ["similar", "show"])
def test_an_unknown_id_is_named(run: Run, made: Path, command: str) -> None:
    result = run(command, "nobody", "-i", made)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "'nobody'" in result.stderr


def test_show(run: Run, made: Path) -> None:
    result = run("show", "film", "-i", made)
    assert result.exit_code == 0, result.output
    for part in ("film", "영화", "2022", "rows.jsonl", "지루한 영화 를 보았다 .\n음악 은 좋았다 .", "passage 0  0–"):
        assert part in result.stdout
    shown = json.loads(run("show", "film", "-i", made, "--json").stdout)
    assert list(shown) == ["id", "title", "text", "metadata", "source", "passages"]
    assert shown["text"] == DOCUMENTS[1]["text"]
    assert shown["passages"] == [{"ordinal": 0, "start": 0, "end": len(shown["text"])}]


def test_ids_are_compared_in_nfc(run: Run, own: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "more.jsonl", [{"id": "한글", "text": "비"}])
    assert run("index", rows, "-i", own).exit_code == 0
    assert run("show", "\u1112\u1161\u11ab\u1100\u1173\u11af", "-i", own).exit_code == 0


def test_delete_takes_what_is_there_and_names_the_rest(run: Run, own: Path) -> None:
    result = run("delete", "rain", "nobody", "film", "-i", own)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "deleted 2 documents" in result.stderr
    assert "no document has the id 'nobody'" in result.stderr
    assert sorted(ids(run("search", "비", "-i", own, "--format", "json").stdout)) == ["class", "dinner", "loop"]
    assert run("delete", "-", "-i", own, stdin="dinner\nloop\n").exit_code == 0
    assert ids(run("search", "비", "-i", own, "--format", "json").stdout) == ["class"]


def test_ids_to_delete_are_compared_in_nfc(run: Run, own: Path, tmp_path: Path) -> None:
    row = write_rows(tmp_path / "row.jsonl", [{"id": "학교", "text": "비"}])
    assert run("index", row, "-i", own).exit_code == 0
    result = run("delete", "-", "-i", own, stdin=unicodedata.normalize("NFD", "학교\n"))
    assert (result.exit_code, result.stderr) == (0, "deleted 1 document\n")


def test_similar_delete_and_backup_print_json(run: Run, own: Path, tmp_path: Path) -> None:
    similar = run("similar", "rain", "-i", own, "--json")
    assert json.loads(similar.stdout) == json.loads(run("similar", "rain", "-i", own, "--format", "json").stdout)
    deleted = run("delete", "rain", "nobody", "film", "-i", own, "--json")
    assert deleted.exit_code == 1
    assert json.loads(deleted.stdout) == {"deleted": ["rain", "film"], "missing": ["nobody"]}
    backup = run("backup", tmp_path / "copy", "-i", own, "--json")
    assert json.loads(backup.stdout) == {"index": str(own), "backup": str(tmp_path / "copy")}


def test_stats(run: Run, made: Path) -> None:
    text = run("stats", "-i", made).stdout
    for part in ("documents", "5", "at most 256 tokens, overlap 32", "32 dimensions, mean pooling", "float16"):
        assert part in text
    assert re.search(r"on disk +[\d.]+ MB: [\d.]+ MB live, 0\.0 MB of deleted vectors", text)
    assert re.search(r"compact +would give [\d.]+ MB back", text)
    counted = json.loads(run("stats", "-i", made, "--json").stdout)
    assert (counted["documents"], counted["passages"], counted["sources"]) == (5, 5, 1)
    assert counted["settings"]["fingerprint"]["pooling"] == "mean"
    assert "probe_vectors" not in counted["settings"]


def test_verify(run: Run, made: Path) -> None:
    for deep in ([], ["--deep"]):
        result = run("verify", "-i", made, *deep)
        assert (result.exit_code, result.stderr) == (0, "")
        assert "5 documents, 5 passages" in result.stdout
        assert "all is well" in result.stdout
    assert json.loads(run("verify", "-i", made, "--json").stdout)["ok"] is True


def test_verify_names_what_is_damaged(run: Run, own: Path) -> None:
    import sqlite3

    with sqlite3.connect(own / "index.db") as database:
        database.execute('UPDATE passage SET "end" = 100000 WHERE vector_id = (SELECT min(vector_id) FROM passage)')
    database.close()
    result = run("verify", "-i", own, "--deep")
    assert result.exit_code == 1
    assert "not as it should be" in result.stdout
    assert "damaged: " in result.stderr
    report = json.loads(run("verify", "-i", own, "--deep", "--json").stdout)
    assert (report["ok"], len(report["problems"])) == (False, 2)


def test_compact_and_backup(run: Run, own: Path, tmp_path: Path) -> None:
    assert run("delete", "rain", "-i", own).exit_code == 0
    compacted = run("compact", "-i", own)
    assert compacted.exit_code == 0, compacted.output
    assert "MB given back; the index takes " in compacted.stdout
    assert set(json.loads(run("compact", "-i", own, "--json").stdout)) >= {
        "bytes_before",
        "bytes_after",
        "bytes_freed",
    }
    copy = tmp_path / "copy"
    assert run("backup", copy, "-i", own).exit_code == 0
    assert len(ids(run("search", "비", "-i", copy, "--format", "json").stdout)) == 4
    again = run("backup", copy, "-i", own)
    assert again.exit_code == 1
    assert str(copy) in again.stderr


def test_arguments_are_utf8_without_a_locale(own: Path, run: Run, tmp_path: Path) -> None:
    assert run("index", write_rows(tmp_path / "more.jsonl", [{"id": "한글", "text": "비"}]), "-i", own).exit_code == 0
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [*PROGRAM, "show", "한글", "-i", str(own), "--json"]
    result = subprocess.run([part.encode() for part in command], capture_output=True, env=environment, check=True)
    assert json.loads(result.stdout)["id"] == "한글"


def test_the_index_may_be_named_by_a_variable(run: Run, made: Path) -> None:
    assert run("stats", env={"YUSA_INDEX": str(made)}).exit_code == 0


def test_a_reader_that_goes_away_is_no_reason_to_say_anything(made: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        for form in ("table", "jsonl"):
            command = [*PROGRAM, "similar", "film", "-i", str(made), "--format", form]
            result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
            assert (result.returncode, result.stderr) == (1, b"")
    finally:
        os.close(write)


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_is_for_terminals_that_want_it(made: Path, environment: dict[str, str], coloured: bool) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "similar", "dinner", "-i", str(made), "-k", "1"],
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **environment},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 4096):
            seen += chunk
    except OSError:
        pass  # Linux ends a terminal that everybody left with EIO
    finally:
        os.close(ours)
        process.communicate(timeout=60)
    style = b"\x1b[1;33m" if coloured else b"\x1b[1m"
    assert style + "을".encode() in seen
    assert (b"33m" in seen or b"36m" in seen) == coloured
