"""Tokenizing in processes of its own, for a caller that must not wait for it."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

import numpy as np

from yusa.encoder.ragged import TokenIds, joined
from yusa.encoder.tokenizing import load_tokenizer
from yusa.errors import EncoderError

_TASK = 1024
"""Texts a worker is given at once: enough that asking costs nothing, few enough that all workers end together."""

_AHEAD = 2
_MOST_WORKERS = 14
_START = """
import json, sys
sys.path[:] = json.loads(sys.stdin.buffer.readline().decode("utf-8", "surrogatepass"))
from yusa.encoder.token_pool import serve
serve()
"""
_ANSWER = struct.Struct("<?qq")
"""Whether there are ids; then how many int64 lengths and int32 ids follow, else how many bytes of what went wrong."""


class TokenPool:
    """Worker processes, each with the tokenizer of `directory`. Close it, or use it in a `with` statement.

    The workers are new interpreters that import yusa and nothing of the caller: a script needs no
    `if __name__ == "__main__"`, and what it imports is not imported again. (multiprocessing's spawned processes import
    the caller's main module.) They end when the pool is closed and when the process that made them ends, however it
    does, as each reads from a pipe that ends then. An interrupt from the keyboard reaches only the caller.

    Args:
        max_length: in tokens, special tokens included.
        workers: default one less than there are cores, 1 to 14.

    Raises:
        EncoderError: no process can be started.
    """

    def __init__(self, directory: Path, lowercase: bool, max_length: int, workers: int | None = None) -> None:
        count = max(1, min(_cores() - 1, _MOST_WORKERS)) if workers is None else workers
        self._workers: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        # One thread for each worker, which waits for it.
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="yusa-tokens")
        try:
            for _ in range(count):
                self._workers.append(_Worker(directory, lowercase, max_length))
                self._idle.put(self._workers[-1])
        except BaseException:
            self.close()
            raise

    def windows(self, texts: Sequence[str], prompt: str, size: int) -> Iterator[TokenIds]:
        """Ids of `prompt` and each text, in the order of `texts`, `size` texts at a time.

        While a window is in the caller's hands the next ones are made: two, or more where they are too small to keep
        every worker busy.

        Raises:
            EncoderError: a worker could not tokenize, or ended. A pool whose worker ended is of no more use.
            TypeError: a text is not a str.
        """
        ahead = max(_AHEAD, _AHEAD * len(self._workers) * _TASK // size)
        waiting: deque[list[Future[TokenIds]]] = deque()
        try:
            for start in range(0, len(texts), size):
                end = min(start + size, len(texts))
                waiting.append(
                    [
                        self._threads.submit(self._task, prompt, texts[first : min(first + _TASK, end)], first)
                        for first in range(start, end, _TASK)
                    ]
                )
                if len(waiting) > ahead:
                    yield joined([task.result() for task in waiting[0]])
                    waiting.popleft()
            while waiting:
                yield joined([task.result() for task in waiting[0]])
                waiting.popleft()
        finally:
            for tasks in waiting:
                for task in tasks:
                    task.cancel()

    def close(self) -> None:
        """End the workers, whatever they do."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(wait=True)
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _task(self, prompt: str, texts: Sequence[str], first: int) -> TokenIds:
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"texts must be str; number {first + index} is {type(text).__name__}")
        worker = self._idle.get()
        try:
            return worker.ids(prompt, list(texts))
        finally:
            self._idle.put(worker)


class _Worker:
    """One process: a line of JSON to its standard input, an answer (`_ANSWER`) from its standard output."""

    def __init__(self, directory: Path, lowercase: bool, max_length: int) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"TOKENIZERS_PARALLELISM": "false"},
                start_new_session=True,
            )
        except OSError as error:
            raise EncoderError(f"cannot start a process that tokenizes: {error}. Free memory or processes.") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        with suppress(OSError):  # of a process that ended at once, the first text will tell
            self._send(sys.path)
            self._send([str(directory), lowercase, max_length])

    @property
    def pid(self) -> int:
        return self._process.pid

    def ids(self, prompt: str, texts: list[str]) -> TokenIds:
        try:
            self._send([prompt, texts])
            done, texts_or_bytes, tokens = _ANSWER.unpack(self._read(_ANSWER.size))
            if done:
                lengths = np.frombuffer(self._read(8 * texts_or_bytes), dtype="<i8")
                return TokenIds(np.frombuffer(self._read(4 * tokens), dtype="<i4"), lengths)
            why = self._read(texts_or_bytes).decode()
        except (OSError, EOFError):
            self._process.kill()
            status = self._process.wait()
            how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            raise EncoderError(
                f"a process that tokenizes {how} before it had answered. If memory was short, use fewer workers; "
                "what it wrote to standard error says more."
            ) from None
        raise EncoderError(why)

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with suppress(OSError):  # the rest of a request that was never read
                pipe.close()

    def _send(self, request: Any) -> None:
        self._requests.write(json.dumps(request, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        self._requests.flush()

    def _read(self, count: int) -> bytes:
        data = self._answers.read(count)
        if len(data) < count:
            raise EOFError
        return data


def serve() -> None:
    """What a worker does: answers requests until there are no more."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    directory, lowercase, max_length = _request(requests.readline())
    tokenizer, failure = None, ""
    try:
        tokenizer = load_tokenizer(Path(directory), lowercase=lowercase)
        tokenizer.load()
    except EncoderError as error:
        failure = str(error)
    with suppress(BrokenPipeError):
        for line in requests:
            prompt, texts = _request(line)
            why = failure
            if tokenizer is not None and not failure:
                try:
                    ids = tokenizer.ids([prompt + text for text in texts], max_length)
                except Exception as error:  # noqa: BLE001  (tokenizers raises bare Exception)
                    why = f"cannot tokenize with the tokenizer of {directory}: {error}"
                else:
                    answers.write(_ANSWER.pack(True, len(ids.lengths), len(ids.flat)))
                    answers.write(ids.lengths.astype("<i8").tobytes() + ids.flat.astype("<i4").tobytes())
            if why:
                message = why.encode("utf-8", "replace")
                answers.write(_ANSWER.pack(False, len(message), 0) + message)
            answers.flush()


def _request(line: bytes) -> Any:
    # A lone surrogate arrives as it is.
    return json.loads(line.decode("utf-8", "surrogatepass"))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
