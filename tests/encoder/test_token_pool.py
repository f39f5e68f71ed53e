"""The pool of tokenizing processes: the tokenizer's ids in order, bounded work, clear ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import pytest
import unigrams

from yusa.encoder import token_pool
from yusa.encoder.ragged import TokenIds, joined
from yusa.encoder.token_pool import TokenPool
from yusa.encoder.tokenizing import load_tokenizer
from yusa.errors import EncoderError

LINES = [line for line in unigrams.CERTAIN + unigrams.UNCERTAIN if len(line) < 4000] * 3


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unigrams.write_unigram_tokenizer(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def pool(small: Path) -> Iterator[TokenPool]:
    with TokenPool(small, False, 16, workers=2) as made:
        yield made


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_pool, "_TASK", 5)


def same(found: TokenIds, expected: TokenIds) -> bool:
    return np.array_equal(found.flat, expected.flat) and np.array_equal(found.lengths, expected.lengths)


@pytest.mark.usefixtures("small_tasks")
@pytest.mark.parametrize("size", [1, 7, 10, 1000])
def test_windows_are_the_tokenizers_ids_in_order(pool: TokenPool, small: Path, size: int) -> None:
    found = list(pool.windows(LINES, "ab ", size))
    assert [len(window) for window in found[:-1]] == [size] * (len(found) - 1)
    assert sum(len(window) for window in found) == len(LINES)
    assert {(window.flat.dtype, window.lengths.dtype) for window in found} == {(np.dtype("i4"), np.dtype("i8"))}
    assert same(joined(found), load_tokenizer(small).ids(["ab " + line for line in LINES], 16))


def test_no_texts_are_no_windows(pool: TokenPool) -> None:
    assert list(pool.windows([], "", 10)) == []


def test_lowercase_and_the_default_number_of_workers(tiny_bert: Path) -> None:
    with TokenPool(tiny_bert, True, 24) as pool:
        assert 1 <= len(pool._workers) <= 14
        (found,) = pool.windows(["The FOX", "안녕"], "", 10)
    assert same(found, load_tokenizer(tiny_bert, lowercase=True).ids(["The FOX", "안녕"], 24))


class Watched(Sequence[str]):
    """Texts that know how far they were read."""

    def __init__(self, count: int) -> None:
        self.texts = count
        self.read = 0

    def __len__(self) -> int:
        return self.texts

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, int):
            return "a"
        self.read = max(self.read, index.stop)
        return ["a"] * (index.stop - index.start)


@pytest.mark.usefixtures("small_tasks")
def test_no_more_is_read_than_two_windows_ahead(pool: TokenPool) -> None:
    texts = Watched(1000)
    windows = pool.windows(texts, "", 50)
    for number in range(1, 5):
        next(windows)
        assert texts.read == 50 * (number + 2)
    windows.close()  # type: ignore[attr-defined]
    assert texts.read == 300


@pytest.mark.usefixtures("small_tasks")
def test_a_walk_that_stops_early_leaves_the_pool_usable(pool: TokenPool, small: Path) -> None:
    for _ in range(3):
        windows = pool.windows(["abab"] * 500, "", 20)
        next(windows)
        windows.close()  # type: ignore[attr-defined]
        assert same(joined(list(pool.windows(LINES, "", 30))), load_tokenizer(small).ids(LINES, 16))


@pytest.mark.usefixtures("small_tasks")
def test_a_text_of_another_type_is_named_and_the_pool_stays_usable(pool: TokenPool) -> None:
    with pytest.raises(TypeError, match="texts must be str; number 13 is int"):
        list(pool.windows(["a"] * 13 + [5], "", 7))  # type: ignore[list-item]
    assert len(next(pool.windows(["a"] * 3, "", 7))) == 3


def test_a_tokenizer_that_cannot_be_loaded_is_an_error_with_its_reason(tmp_path: Path) -> None:
    with (
        TokenPool(tmp_path, False, 16, workers=1) as pool,
        pytest.raises(EncoderError, match="has no tokenizer yusa can read"),
    ):
        list(pool.windows(["a"], "", 10))


def test_a_text_that_cannot_be_tokenized_is_an_error_with_its_reason(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.Unigram([("a", -1.0)], unk_id=None, byte_fallback=False)).save(str(tmp_path / "tokenizer.json"))
    with TokenPool(tmp_path, False, 16, workers=1) as pool:
        with pytest.raises(EncoderError, match=r"cannot tokenize with the tokenizer of .*unk_id"):
            list(pool.windows(["b"], "", 10))
        assert next(pool.windows(["a"], "", 10)).flat.tolist() == [0]


@pytest.mark.usefixtures("small_tasks")
def test_a_worker_that_is_killed_is_an_error_and_no_hang(small: Path) -> None:
    with TokenPool(small, False, 16, workers=2) as pool:
        windows = pool.windows(["ab"] * 2000, "", 100)
        next(windows)
        os.kill(pool._workers[0].pid, signal.SIGKILL)
        with pytest.raises(EncoderError, match="was ended by signal 9 before it had answered"):
            list(windows)


def test_a_process_that_does_not_start_is_an_error(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(small / "no-python"))
    with pytest.raises(EncoderError, match="cannot start a process that tokenizes"):
        TokenPool(small, False, 16, workers=2)


def test_a_process_that_ends_at_once_is_an_error(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_pool, "_START", "raise SystemExit(3)")
    with (
        TokenPool(small, False, 16, workers=1) as pool,
        pytest.raises(EncoderError, match="ended with status 3 before it had answered"),
    ):
        list(pool.windows(["a"], "", 10))


def test_close_ends_every_process_and_may_be_called_again(small: Path) -> None:
    pool = TokenPool(small, False, 16, workers=2)
    windows = pool.windows(["ab" * 1000] * 5000, "", 2000)
    pool.close()
    pool.close()
    assert all(worker._process.returncode is not None for worker in pool._workers)
    with pytest.raises(RuntimeError, match="after shutdown"):
        next(windows)


SCRIPT = """
import os, signal, sys
from pathlib import Path
from yusa.encoder.token_pool import TokenPool
print("main", flush=True)
pool = TokenPool(Path(sys.argv[1]), False, 16, workers=2)
windows = pool.windows(["abab"] * 50_000, "", 1000)
print(len(next(windows)), flush=True)
{end}
"""


@pytest.mark.parametrize(
    ("way", "end", "status"),
    [
        ("file", "pool.close()", 0),
        ("code", "pool.close()", 0),
        ("file", "pass", 0),
        ("code", "pass", 0),
        ("file", "os._exit(6)", 6),
        ("file", "os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("file", "os.kill(os.getpid(), signal.SIGINT)\nlist(windows)", -signal.SIGINT),
    ],
)
def test_a_script_needs_no_guard_and_leaves_no_process(
    small: Path, tmp_path: Path, way: str, end: str, status: int
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(end=end), "utf-8")
    arguments = [str(script)] if way == "file" else ["-c", script.read_text("utf-8")]
    # It returns when the last process that has these pipes has ended.
    done = subprocess.run(
        [sys.executable, *arguments, str(small)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["main", "1000"], done.stderr
    assert done.returncode == status, done.stderr
