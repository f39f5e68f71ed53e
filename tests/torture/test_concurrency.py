"""Ten readers beside one writer see whole commits in their order; writers exclude each other and leave no lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from reading import DIMENSION, DOCUMENTS, Reader, Shared, create, make_document
from stubs import StubEncoder

import yusa
from yusa.errors import IndexLockedError
from yusa.storage import publish

_ROOT = Path(__file__).parents[2]
_SUPPORT = _ROOT / "tests" / "support"
_READERS = 5


def _start(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{_SUPPORT}{os.pathsep}{_ROOT}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _read_and_write(directory: Path, go_on: Callable[[int], bool]) -> None:
    """Five threads and five processes read while this thread writes, as long as `go_on` says of the step."""
    shared = Shared(directory)
    index = create(shared.index)
    index.add([make_document(number, 0) for number in range(DOCUMENTS)])
    processes = [_start(str(_SUPPORT / "reading.py"), str(directory), str(seed)) for seed in range(_READERS)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
    failures: list[BaseException] = []
    readers = [Reader(shared, index, _READERS + seed) for seed in range(_READERS)]

    def read(reader: Reader) -> None:
        try:
            reader.read()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=read, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    model = {f"d{number}": 0 for number in range(DOCUMENTS)}
    step = 0
    try:
        while go_on(step) and not failures:
            step += 1
            _change(shared, index, step, model)
    finally:
        shared.stop.touch()
        for thread in threads:
            thread.join()
        outputs = [process.communicate() for process in processes]
    for failure in failures:
        raise failure
    for process, (output, errors) in zip(processes, outputs, strict=True):
        assert (process.returncode, errors) == (0, "")
        assert int(output) > 0
    assert min(reader.rounds for reader in readers) > 0
    assert {id: index.get(id).metadata["step"] for id in model} == model
    assert index.stats().documents == len(model)
    assert index.verify(deep=True).ok
    index.close()


def _change(shared: Shared, index: yusa.Index, step: int, model: dict[str, int]) -> None:
    """Put and replace, then delete, and every few steps compact; each commit is acknowledged to the readers."""
    random = np.random.default_rng([17, step])
    numbers = random.choice(DOCUMENTS, size=12, replace=False).tolist()
    index.add([make_document(number, step) for number in numbers])
    model |= {f"d{number}": step for number in numbers}
    shared.acknowledged[0] = index.refresh()
    if step % 2:
        gone = [f"d{number}" for number in random.choice(DOCUMENTS, size=6, replace=False)]
        index.delete(gone)
        for id in gone:
            model.pop(id, None)
    if step % 3 == 0:
        index.compact()
    shared.acknowledged[0] = index.refresh()


def test_readers_see_whole_commits_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "TAIL_LIMIT", 40)
    _read_and_write(tmp_path, lambda step: step < 6)


@pytest.mark.slow
def test_readers_see_whole_commits_in_their_order_for_two_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "TAIL_LIMIT", 40)
    end = time.monotonic() + 120
    _read_and_write(tmp_path, lambda _: time.monotonic() < end)


_ADD = """
import sys
from pathlib import Path
import yusa
from reading import DIMENSION, make_document
from stubs import StubEncoder
from yusa.errors import IndexLockedError

def documents(first):
    yield make_document(first, 1)
    print("writing", flush=True)
    sys.stdin.readline()
    yield make_document(first + 1, 1)

with yusa.open(Path(sys.argv[1]), encoder=StubEncoder(DIMENSION)) as index:
    print("open", flush=True)
    sys.stdin.readline()
    try:
        report = index.add(documents(int(sys.argv[2])), wait=float(sys.argv[3]))
        print(f"added {report.added}", flush=True)
    except IndexLockedError as error:
        print(error, flush=True)
"""


def _writers(path: Path, wait: float) -> list[subprocess.Popen[str]]:
    """Two processes that have the index open and are about to write."""
    create(path).close()
    processes = [_start("-c", _ADD, str(path), str(first), str(wait)) for first in (10, 20)]
    for process in processes:
        assert _line(process) == "open"
    for process in processes:
        _go_on(process)
    return processes


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def _end(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate("\n")
    assert (process.returncode, errors) == (0, "")
    return output.strip()


def test_of_two_that_write_at_once_one_is_refused_and_told_the_other(tmp_path: Path) -> None:
    first, second = _writers(tmp_path / "index", wait=0)
    said = [_line(first), _line(second)]
    winner, loser = (first, second) if said[0] == "writing" else (second, first)
    assert sorted(said)[1] == "writing"
    assert f"process {winner.pid} on " in sorted(said)[0]
    assert "is writing to it. Try again when it has finished." in sorted(said)[0]
    assert _end(loser) == ""
    assert _end(winner) == "added 2"
    index = yusa.open(tmp_path / "index", encoder=StubEncoder(DIMENSION))
    assert index.stats().documents == 2
    index.close()


def test_of_two_that_write_at_once_one_waits(tmp_path: Path) -> None:
    processes = _writers(tmp_path / "index", wait=60)
    # Each stops in the middle until its line comes, so neither can be done before both have asked for the lock.
    for process in processes:
        _go_on(process)
    assert [_end(process).split("\n") for process in processes] == [["writing", "added 2"]] * 2
    index = yusa.open(tmp_path / "index", encoder=StubEncoder(DIMENSION))
    assert index.stats().documents == 4
    assert index.verify(deep=True).ok
    index.close()


def test_the_lock_of_a_killed_writer_is_taken_over_at_once(tmp_path: Path) -> None:
    path = tmp_path / "index"
    create(path).close()
    index = yusa.open(path, encoder=StubEncoder(DIMENSION))
    with _start("-c", _ADD, str(path), "10", "0") as process:
        assert _line(process) == "open"
        _go_on(process)
        assert _line(process) == "writing"
        with pytest.raises(IndexLockedError, match=f"process {process.pid} on "):
            index.add([make_document(1, 1)])
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert str(process.pid) in (path / "writer.lock").read_text(encoding="utf-8")
    assert index.add([make_document(1, 1)]).added == 1
    index.close()
