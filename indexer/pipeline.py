"""The threads between a source and a commit, joined by bounded channels, so that their work overlaps in bounded memory.

The reader reads, checks and hashes; the preparer looks up, drops what is unchanged, tokenizes and cuts; the calling
thread encodes; the writer commits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

from yusa.encoder.base import SentenceEncoder
from yusa.indexer.channel import CalledOffError, Channel
from yusa.indexer.intake import Chunk, Intake, chunks
from yusa.indexer.prepare import Prepared, Work, done, encode, prepare
from yusa.indexer.source import Source

if TYPE_CHECKING:
    from yusa.storage import Settings, Writer

WINDOW_TOKENS = 32_768
WINDOW_CHARACTERS = 8_000_000
"""Of the documents of a window: those whose vectors are there already cost memory, but no tokens."""
CHUNKS_WAITING = 4
WINDOWS_WAITING = 1


def default_window_tokens(encoder: SentenceEncoder) -> int:
    """About ten seconds of work."""
    return WINDOW_TOKENS * (1 if encoder.provenance.get("device", "cpu") == "cpu" else 16)


class Pipeline:
    """One run of documents into an index. Counts are of what was committed."""

    def __init__(
        self,
        sources: Sequence[Source],
        intake: Intake,
        writer: Writer,
        settings: Settings,
        encoder: SentenceEncoder,
        *,
        window_tokens: int | None,
        window_documents: int,
        stop: threading.Event,
        tick: Callable[[], None],
    ) -> None:
        self._sources = sources
        self._intake = intake
        self._writer = writer
        self._settings = settings
        self._encoder = encoder
        self._given_window_tokens = window_tokens
        self._window_documents = window_documents
        self._stop = stop
        self._tick = tick
        self._writing = threading.Lock()  # the writer serves one thread at a time
        self._chunks = Channel[Chunk](CHUNKS_WAITING)
        self._windows = Channel[list[Prepared]](WINDOWS_WAITING)
        self._batches = Channel[list[Prepared]](WINDOWS_WAITING)
        # By encoding hash, what is prepared and not committed: with what is committed, all that is encoded or will be.
        self._under_way: dict[bytes, Work] = {}
        self._failure: BaseException | None = None
        self.added = self.updated = self.passages = self.tokens = self.encoded = 0
        self.interrupted = False

    def run(self) -> None:
        """Runs to the end, or until `stop` is set: then the window in flight is finished and committed.

        Raises:
            whatever a stage raised; what was committed before stays.
        """
        reader, preparer, writer = (
            _Stage(name, partial(self._guarded, stage))
            for name, stage in (("reader", self._read), ("preparer", self._prepare), ("writer", self._write))
        )
        for stage in (reader, preparer, writer):
            stage.thread.start()
        try:
            self._encode()
            self._batches.finish()
            writer.ended.wait()
        except CalledOffError:
            pass
        finally:
            self._call_off()
            _await(preparer, writer)
            reader.thread.join(1.0)  # it may wait for a stream that stands still
        if self._failure is not None:
            raise self._failure

    def _guarded(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except CalledOffError:
            pass
        except BaseException as error:  # noqa: BLE001  (it is raised again by the calling thread)
            self._failure = self._failure or error
            self._call_off()

    def _call_off(self) -> None:
        for channel in (self._chunks, self._windows, self._batches):
            channel.call_off()

    def _read(self) -> None:
        if self._stop.is_set():
            return
        for chunk in chunks(self._sources):
            if self._stop.is_set():
                return
            self._chunks.put(chunk)
        self._chunks.finish()

    @cached_property
    def _window_tokens(self) -> int:
        # Asked only when there is something to encode: the encoder may not be loaded before.
        return self._given_window_tokens or default_window_tokens(self._encoder)

    def _prepare(self) -> None:
        window: list[Prepared] = []
        tokens = characters = 0
        for chunk in self._chunks.items():
            with self._writing:
                candidates = self._intake.sort(chunk, self._writer)
                hashes = {candidate.encoding for candidate in candidates}
                works = {hash: self._under_way[hash] for hash in hashes if hash in self._under_way}
                works |= {hash: done(made) for hash, made in self._writer.encoded(list(hashes - works.keys())).items()}
            made = prepare(
                candidates,
                works,
                self._encoder,
                passage_tokens=self._settings.passage_tokens,
                overlap=self._settings.overlap,
            )
            self._under_way |= {one.candidate.encoding: one.work for one in made if one.work.vectors is None}
            for prepared in made:
                window.append(prepared)
                tokens += prepared.work.tokens
                characters += prepared.candidate.characters
                if (
                    (tokens and tokens >= self._window_tokens)
                    or characters >= WINDOW_CHARACTERS
                    or len(window) == self._window_documents
                ):
                    self._windows.put(window)
                    window, tokens, characters = [], 0, 0
            if not made:
                self._windows.put([])  # so that progress is shown where nothing changed
        self._windows.put(window)
        self._windows.finish()

    def _encode(self) -> None:
        for window in self._windows.items(self._stop):
            if window:
                self._vectors(window)
                self._batches.put(window)
            self._tick()
        self.interrupted = self._stop.is_set()

    def _vectors(self, window: list[Prepared]) -> None:
        works = {id(one.work): one.work for one in window if one.work.vectors is None}
        encode(list(works.values()), self._encoder, progress=self._encoded)

    def _encoded(self, texts: int, tokens: int) -> None:
        self.encoded += texts
        self.tokens += tokens
        self._tick()

    def _write(self) -> None:
        for window in self._batches.items():
            entries = [one.entry() for one in window]
            with self._writing:
                self._writer.put(entries)
                for entry in entries:
                    self._under_way.pop(entry.encoding_hash, None)
            replaced = sum(one.candidate.replaces for one in window)
            self.updated += replaced
            self.added += len(entries) - replaced
            self.passages += sum(len(entry.passages) for entry in entries)


class _Stage:
    """A thread, and whether it has ended: CPython before 3.13 takes one whose `join` was interrupted for ended."""

    def __init__(self, name: str, target: Callable[[], None]) -> None:
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name=f"yusa-{name}", daemon=True)
        self._target = target

    def _run(self) -> None:
        try:
            self._target()
        finally:
            self.ended.set()


def _await(*stages: _Stage) -> None:
    """Waits for the stages that use the index, which is closed afterwards; a Ctrl-C meanwhile is raised at the end."""
    interrupt: KeyboardInterrupt | None = None
    for stage in stages:
        while not stage.ended.is_set():
            try:
                stage.ended.wait()
            except KeyboardInterrupt as error:
                interrupt = error
        stage.thread.join()
    if interrupt is not None:
        raise interrupt
