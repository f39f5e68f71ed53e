from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

from tiny import Run


def test_lines_are_queries_and_commands(run: Run, made: Path) -> None:
    stdin = "\n".join([
        "지루한 영화", ":k 1", "지루한 영화", ":where lang = 'en'", "지루한 영화", ":where", "김치 와 밥",
        ":mode lexical", "zebra", "김치", ":mode dense", "zebra",
        ":show dinner", ":similar dinner", ":help", ":quit", "never read",
    ])  # fmt: skip
    result = run("session", "-i", made, stdin=stdin)
    assert result.exit_code == 0, result.output
    timings = re.findall(r"(\d+) hits? · encode \d+\.\d ms · search \d+\.\d ms", result.stderr)
    assert timings == ["5", "1", "1", "1", "0", "1", "1"]
    assert result.stdout.count("film") >= 2
    assert "김치 와 밥 을 먹었다" in result.stdout
    assert "passage 0" in result.stdout
    assert ":similar ID" in result.stderr
    assert "never read" not in result.output


def test_a_bad_line_does_not_end_it_but_counts_in_a_pipe(run: Run, made: Path) -> None:
    stdin = "\n".join(
        [
            ":nonsense",
            ":k zero",
            ":mode psychic",
            "-only",
            ":where year >",
            ":show nobody",
            ":show",
            ":similar nobody",
            "김치",
        ]
    )
    result = run("session", "-i", made, stdin=stdin)
    assert result.exit_code == 1
    for message in (
        "no command :nonsense",
        ":k wants a number of hits, at least 1; got 'zero'",
        ":mode wants one of dense, lexical, hybrid; got 'psychic'",
        "the query only says what to leave out",
        "year >",
        "'nobody'",
        "the id of a document is missing",
    ):
        assert message in result.stderr
    assert "^" in result.stderr
    assert "dinner" in result.stdout.splitlines()[0]


def test_without_a_locale_it_speaks_utf8_and_refuses_what_is_not(made: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", "from yusa.service.cli import main; main()", "session", "-i", str(made)],
        input="김치\n".encode("cp949") + "지루한 영화\n".encode(),
        capture_output=True,
        check=False,
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    )
    assert result.returncode == 1
    assert b"the query is not valid UTF-8" in result.stderr
    assert "«지루한» «영화» 를 보았다 ." in result.stdout.decode("utf-8")


def test_on_a_terminal_ctrl_c_cancels_a_line_and_ctrl_d_ends(made: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from yusa.service.cli import main; main()", "session", "-i", str(made)],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env={**os.environ, "TERM": "dumb"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""

    def arrives(text: str, seconds: float = 60.0) -> bool:
        nonlocal seen
        while text.encode() not in seen:
            if not select.select([ours], [], [], seconds)[0]:
                return False
            seen += os.read(ours, 4096)
        seen = seen.split(text.encode(), 1)[1]
        return True

    try:
        assert arrives("yusa> ")
        os.write(ours, b"half a que")
        assert arrives("half a que")
        process.send_signal(signal.SIGINT)
        # A signal in the instant before input() waits is noticed at the next one, here as for a user.
        if not arrives("yusa> ", seconds=3.0):
            process.send_signal(signal.SIGINT)
            assert arrives("yusa> ")
        os.write(ours, "지루한 영화\n".encode())
        assert arrives("film")
        assert arrives("5 hits")
        assert arrives("yusa> ")
        os.write(ours, b"\x04")
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_it_goes_on_after_a_reindex_by_another_process(run: Run, own: Path, other_encoder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from yusa.service.cli import main; main()", "session", "-i", str(own)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", bufsize=1,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for _ in range(2):
            process.stdin.write("지루한 영화\n")
            while "5 hits" not in (line := process.stdout.readline()):
                assert line, "the session ended"
                assert "Error" not in line
            result = run("reindex", "-i", own, "--encoder", other_encoder, "--passage-tokens", "16")
        assert "0 documents, 0 passages" in result.stdout
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
