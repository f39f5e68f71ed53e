from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from tiny import DOCUMENTS, Run, write_rows

import yusa

PROGRAM = [sys.executable, "-c", "from yusa.service.cli import main; main()"]


def documents(index: Path) -> int:
    with yusa.open(index) as opened:
        return opened.stats().documents


def test_the_first_run_makes_the_index_and_says_what_it_did(
    run: Run, tmp_path: Path, rows: Path, encoder: Path
) -> None:
    index = tmp_path / "index"
    result = run("index", rows, "-i", index, "--encoder", encoder)
    assert result.exit_code == 0, result.output
    assert f"loading {encoder} …" in result.stderr
    assert "documents, " in result.stderr
    first, second = result.stdout.splitlines()
    assert first == "5 added, 0 updated, 0 unchanged, 0 rejected, 0 skipped, 0 pruned"
    assert second.startswith("5 of 5 passages encoded in ")
    assert second.endswith(" tokens/s")
    assert documents(index) == 5


def test_the_second_run_encodes_nothing_and_loads_no_encoder(run: Run, own: Path, rows: Path) -> None:
    result = run("index", rows, "-i", own)
    assert result.exit_code == 0
    assert "0 added, 0 updated, 5 unchanged" in result.stdout
    assert "0 of 0 passages encoded" in result.stdout
    assert "loading" not in result.stderr


def test_changed_rows_are_updated(run: Run, own: Path, rows: Path) -> None:
    write_rows(rows, [{**DOCUMENTS[0], "text": "비 가 그쳤다 ."}, *DOCUMENTS[1:]])
    assert "0 added, 1 updated, 4 unchanged" in run("index", rows, "-i", own).stdout


def test_the_report_as_json(run: Run, tmp_path: Path, rows: Path, encoder: Path) -> None:
    rows.write_text(rows.read_text("utf-8") + "{broken\n", "utf-8")
    result = run("index", rows, "-i", tmp_path / "index", "--encoder", encoder, "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["added"], report["rejected"], report["interrupted"]) == (5, 1, False)
    assert report["rejections"][0]["line"] == 6
    assert Path(report["rejects_file"]).is_file()


def test_strict_reports_as_json_what_it_refuses(run: Run, tmp_path: Path, rows: Path, encoder: Path) -> None:
    rows.write_text(rows.read_text("utf-8") + "not json\n", "utf-8")
    result = run("index", rows, "-i", tmp_path / "index", "--encoder", encoder, "--strict", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["added"], report["rejected"]) == (0, 1)


def test_a_file_of_another_name_is_read_as_it_is_told(run: Run, tmp_path: Path, rows: Path, encoder: Path) -> None:
    data = rows.rename(tmp_path / "rows.data")
    refused = run("index", data, "-i", tmp_path / "index", "--encoder", encoder)
    assert refused.exit_code == 1
    assert "--format says what it is" in refused.stderr
    assert run("index", data, "-i", tmp_path / "index", "--encoder", encoder, "--format", "jsonl").exit_code == 0
    assert documents(tmp_path / "index") == 5
    wrong = run("index", data, "-i", tmp_path / "index", "--format", "docx")
    assert wrong.exit_code == 2
    assert "jsonl, csv, tsv, parquet" in wrong.stderr


def test_rejected_rows_are_named_and_kept_and_the_rest_goes_in(
    run: Run, tmp_path: Path, rows: Path, encoder: Path
) -> None:
    with rows.open("a", encoding="utf-8") as file:
        file.write("not json\n" + '{"id": "empty"}\n' + '{"id": "rain", "text": "something else"}\n' * 9)
    result = run("index", rows, "-i", tmp_path / "index", "--encoder", encoder)
    assert result.exit_code == 1
    assert "5 added, 0 updated, 0 unchanged, 11 rejected" in result.stdout
    shown = [line for line in result.stderr.splitlines() if line.startswith("rejected ")]
    assert len(shown) == 5
    assert f"{rows}:6: " in shown[0] or "rows.jsonl:6: " in shown[0]
    rejects = tmp_path / "index" / "rejects.jsonl"
    assert f"and 6 more; all of them, with their rows: {rejects}" in result.stderr
    assert len(rejects.read_text("utf-8").splitlines()) == 11
    assert documents(tmp_path / "index") == 5


def test_rejects_go_where_they_are_wanted(run: Run, tmp_path: Path, rows: Path, own: Path) -> None:
    rows.write_text("not json\n", "utf-8")
    result = run("index", rows, "-i", own, "--rejects", tmp_path / "bad.jsonl")
    assert result.exit_code == 1
    assert (tmp_path / "bad.jsonl").is_file()


def test_strict_puts_nothing_in_if_a_row_is_bad(run: Run, tmp_path: Path, rows: Path, encoder: Path) -> None:
    rows.write_text(rows.read_text("utf-8") + "not json\n", "utf-8")
    result = run("index", rows, "-i", tmp_path / "index", "--encoder", encoder, "--strict")
    assert result.exit_code == 1
    assert "rows.jsonl:6: " in result.stderr
    assert "Error: nothing was committed: 1 of 6 rows are rejected" in result.stderr
    assert documents(tmp_path / "index") == 0


def test_a_dry_run_writes_nothing_and_makes_no_index(run: Run, tmp_path: Path, rows: Path, encoder: Path) -> None:
    index = tmp_path / "index"
    result = run("index", rows, "-i", index, "--encoder", encoder, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "nothing is written; it would be: 5 added" in result.stdout
    assert not index.exists()


def test_a_dry_run_of_an_index_leaves_it_as_it_is(run: Run, rows: Path, own: Path) -> None:
    write_rows(rows, [{**DOCUMENTS[0], "text": "비"}, {"id": "new", "text": "list"}])
    result = run("index", rows, "-i", own, "--dry-run", "--prune", "--yes")
    assert "1 added, 1 updated, 0 unchanged, 0 rejected, 0 skipped, 4 pruned" in result.stdout
    assert documents(own) == 5


def test_standard_input_and_named_fields(run: Run, tmp_path: Path, encoder: Path) -> None:
    index = tmp_path / "index"
    stdin = '{"key": "k1", "body": "비 가 왔다", "head": "비"}\n'
    result = run(
        "index", "-", "-i", index, "--encoder", encoder, "--source", "feed",
        "--id-field", "key", "--text-field", "body", "--title-field", "head", stdin=stdin,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with yusa.open(index) as opened:
        row, _ = opened.row("k1")
    assert (row.document.title, row.document.text, row.source) == ("비", "비 가 왔다", "feed")


def test_a_folder_with_a_glob_and_an_encoding(run: Run, tmp_path: Path, encoder: Path) -> None:
    folder = tmp_path / "notes"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_bytes("비 가 왔다".encode("cp949"))
    (folder / "deep" / "b.txt").write_bytes("저녁 에 김치".encode("cp949"))
    (folder / "c.md").write_text("list")
    result = run(
        "index", folder, "-i", tmp_path / "index", "--encoder", encoder, "--glob", "*.txt", "--encoding", "cp949"
    )
    assert result.exit_code == 0, result.output
    with yusa.open(tmp_path / "index") as opened:
        assert opened.get("a.txt").text == "비 가 왔다"
        assert opened.get("deep/b.txt").text == "저녁 에 김치"
        assert opened.stats().documents == 2


@pytest.mark.parametrize("agreed", [False, True])
def test_pruning_much_is_refused_where_nobody_can_be_asked(run: Run, rows: Path, own: Path, agreed: bool) -> None:
    write_rows(rows, DOCUMENTS[:2])
    result = run("index", rows, "-i", own, "--prune", *(["--yes"] if agreed else []))
    assert documents(own) == (2 if agreed else 5)
    assert result.exit_code == (0 if agreed else 1)
    assert ("3 pruned" in result.stdout) == agreed
    assert ("--yes" in result.stderr) != agreed


@pytest.mark.parametrize(("answer", "left", "code"), [("y", 2, 0), ("n", 5, 1)])
def test_pruning_much_is_asked_about_on_a_terminal(rows: Path, own: Path, answer: str, left: int, code: int) -> None:
    write_rows(rows, DOCUMENTS[:2])
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "index", str(rows), "-i", str(own), "--prune"],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "dumb"},
    )
    os.close(theirs)
    seen = b""
    try:
        while b"no longer has 3 of its 5 documents. Delete them? [y/N]: " not in seen:
            assert select.select([ours], [], [], 60.0)[0], seen
            seen += os.read(ours, 4096)
        os.write(ours, f"{answer}\n".encode())
        with suppress(OSError):  # Linux ends a terminal that everybody left with EIO
            while os.read(ours, 4096):
                pass
        assert process.wait(timeout=60) == code
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert documents(own) == left


def test_pruning_little_needs_no_question(run: Run, rows: Path, own: Path) -> None:
    write_rows(rows, DOCUMENTS[:4])
    result = run("index", rows, "-i", own, "--prune")
    assert result.exit_code == 0, result.output
    assert "1 pruned" in result.stdout


def test_an_index_keeps_the_settings_it_was_made_with(run: Run, rows: Path, own: Path) -> None:
    result = run("index", rows, "-i", own, "--passage-tokens", 100, "--overlap", 5)
    assert result.exit_code == 1
    assert "was made with --passage-tokens 256, not 100 and --overlap 32, not 5" in result.stderr
    assert "-i" in result.stderr
    assert run("index", rows, "-i", own, "--passage-tokens", 256, "--overlap", 32).exit_code == 0


def test_a_shorter_passage_has_a_shorter_overlap(run: Run, tmp_path: Path, rows: Path, encoder: Path) -> None:
    index = tmp_path / "index"
    assert run("index", rows, "-i", index, "--encoder", encoder, "--passage-tokens", 24).exit_code == 0
    with yusa.open(index) as opened:
        assert (opened.settings.passage_tokens, opened.settings.overlap) == (24, 3)


def test_another_encoder_is_refused_and_the_same_from_another_place_is_not(
    run: Run, tmp_path: Path, rows: Path, own: Path, encoder: Path, other_encoder: Path
) -> None:
    result = run("index", rows, "-i", own, "--encoder", other_encoder)
    assert result.exit_code == 1
    assert "weights (" in result.stderr
    moved = shutil.copytree(encoder, tmp_path / "moved")
    assert run("index", rows, "-i", own, "--encoder", moved).exit_code == 0


@pytest.mark.parametrize(
    ("option", "difference"), [(["--pooling", "cls"], "pooling ("), (["--max-length", "32"], "max_length (")]
)
def test_another_use_of_the_encoder_is_refused(
    run: Run, rows: Path, own: Path, option: list[str], difference: str
) -> None:
    result = run("index", rows, "-i", own, *option)
    assert result.exit_code == 1
    assert difference in result.stderr


def test_the_variable_chooses_an_encoder_only_for_a_new_index(
    run: Run, tmp_path: Path, rows: Path, own: Path, encoder: Path, other_encoder: Path
) -> None:
    environment = {"YUSA_ENCODER": str(other_encoder), "YUSA_INDEX": str(own)}
    assert run("index", rows, env=environment).exit_code == 0
    new = tmp_path / "new"
    assert run("index", rows, "-i", new, env=environment).exit_code == 0
    with yusa.open(new) as opened:
        assert opened.settings.encoder == str(other_encoder)


def test_a_directory_is_remembered_by_its_absolute_path(
    run: Run, tmp_path: Path, rows: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(encoder.parent)
    assert run("index", rows, "-i", tmp_path / "index", "--encoder", encoder.name).exit_code == 0
    monkeypatch.chdir(tmp_path)
    assert run("search", "비", "-i", "index").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Missing argument 'SOURCE...|-'"),
        (["-", "a.jsonl"], 2, "- stands for standard input and cannot be mixed with other sources"),
        (["a.jsonl", "--passage-tokens", "0"], 2, "0 is not in the range x>=1"),
        (["a.jsonl", "--pooling", "max"], 2, "'max' is not one of"),
        (["a.jsonl", "--wait", "-1"], 2, "-1.0 is not in the range x>=0"),
        (["a.jsonl", "--nonsense"], 2, "No such option '--nonsense'"),
        (["no-such-file.jsonl"], 1, "no-such-file.jsonl"),
    ],
)
def test_wrong_usage_is_named_and_makes_no_index(
    run: Run, tmp_path: Path, encoder: Path, arguments: list[str], code: int, message: str
) -> None:
    index = tmp_path / "index"
    result = run("index", *arguments, "-i", index, "--encoder", encoder)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert not index.exists()


def test_passages_that_overlap_wholly_make_no_index(run: Run, tmp_path: Path, rows: Path, encoder: Path) -> None:
    result = run("index", rows, "-i", tmp_path / "i", "--encoder", encoder, "--passage-tokens", 10, "--overlap", 10)
    assert result.exit_code == 2
    assert "overlap" in result.stderr
    assert not (tmp_path / "i").exists()


def test_the_same_relative_ids_of_two_folders_are_not_mixed_up(run: Run, tmp_path: Path, encoder: Path) -> None:
    for name, text in (("a", "비 가 왔다"), ("b", "list object")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "note.txt").write_text(text, "utf-8")
    index = tmp_path / "index"
    assert run("index", tmp_path / "a", "-i", index, "--encoder", encoder).exit_code == 0
    second = run("index", tmp_path / "b", "-i", index)
    assert second.exit_code == 1
    assert "note.txt" in second.stderr
    assert str(tmp_path / "a") in second.stderr
    with yusa.open(index) as opened:
        assert opened.get("note.txt").text == "비 가 왔다"


def test_a_writer_that_is_not_alone_is_told_who_writes(run: Run, rows: Path, own: Path) -> None:
    write_rows(rows, [{"id": "new", "text": "list"}])
    program = (
        "import sys\nfrom pathlib import Path\nfrom yusa.storage.lock import writer_lock\n"
        f"with writer_lock(Path({str(own)!r}), wait=0):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        for command in (["index", rows], ["delete", "rain"], ["compact"]):
            result = run(*command, "-i", own)
            assert result.exit_code == 1
            assert str(holder.pid) in result.stderr
        assert run("search", "비", "-i", own).exit_code == 0
        holder.communicate()
    assert run("index", rows, "-i", own, "--wait", 30).exit_code == 0


def test_ctrl_c_finishes_the_batch_in_flight_and_says_what_is_in(tmp_path: Path, encoder: Path) -> None:
    index = tmp_path / "index"
    process = subprocess.Popen(
        [*PROGRAM, "index", "-", "-i", str(index), "--encoder", str(encoder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        for number in range(9000):
            process.stdin.write(json.dumps({"id": f"d{number}", "text": f"list {number}"}) + "\n")
        process.stdin.flush()
        while " documents, " not in (line := process.stderr.readline()):
            assert line, "no progress"
        process.send_signal(signal.SIGINT)
        # Standard input stays open: the stop must not wait for the next row.
        assert process.wait(timeout=60) == 130
        summary, said = process.stdout.read(), process.stderr.read()
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()
    assert "Ctrl-C again stops at once" in said
    assert "the same command does the rest" in said
    added = int(summary.split(" added")[0].replace(",", ""))
    assert 0 < added < 9000
    assert documents(index) == added
