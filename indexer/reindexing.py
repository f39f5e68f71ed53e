"""Every document of an index encoded again, beside what searches are answered from; then the switch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.base import SentenceEncoder
from yusa.indexer.pipeline import WINDOW_CHARACTERS, default_window_tokens
from yusa.indexer.prepare import Work, cut_documents, encode
from yusa.indexer.results import Progress
from yusa.storage.records import Document, Reencoded

if TYPE_CHECKING:
    from yusa.storage.encodings import NewEncoding
    from yusa.storage.records import Unencoded


@dataclass(frozen=True, slots=True)
class ReindexReport:
    """What a reindex, or a rollback, did.

    Attributes:
        documents: encoded in this run; a run that goes on after a kill has less to do.
        passages, tokens: of these documents.
        interrupted: it was stopped; the index answers as before, and the same call goes on.
    """

    encoder: str
    documents: int
    passages: int
    tokens: int
    seconds: float
    interrupted: bool


def reindex(
    encoding: NewEncoding,
    encoder: Callable[[], SentenceEncoder],
    *,
    stop: threading.Event | None = None,
    progress: Callable[[Progress], None] | None = None,
    window_tokens: int | None = None,
) -> ReindexReport:
    """Encodes what an encoding lacks, a window to a commit, and switches to it.

    Args:
        encoder: gives the encoder, and is asked only if a document is left to encode.
        stop: set it to finish and commit the window in flight, and return without switching.
        progress: called in this thread after every window.

    Raises:
        StorageError: the index cannot be written. What was committed stays, and the next call goes on from there.
    """
    begun = time.monotonic()
    stop = stop or threading.Event()
    total, done, passages, tokens = encoding.left(), 0, 0, 0
    if total:
        for window in _windows(encoding, encoder(), window_tokens):
            # Equal texts are encoded once.
            works = {document.encoding_hash: work for document, work in window}
            encode(list(works.values()), encoder())
            made = [
                Reencoded(one, works[one.encoding_hash].passages, _vectors(works[one.encoding_hash]))
                for one, _ in window
            ]
            encoding.put(made)
            done += len(window)
            passages += sum(len(one.passages) for one in made)
            tokens += sum(work.tokens for work in works.values())
            if progress is not None:
                # All there is to read has been read, so what is done of it is how far the run is.
                seconds = time.monotonic() - begun
                progress(Progress(total, passages, tokens, passages, total, total, seconds, done=done))
            if stop.is_set():
                break
    interrupted = done < total
    if not interrupted:
        encoding.switch()
    name = encoding.settings.encoder
    return ReindexReport(name, done, passages, tokens, time.monotonic() - begun, interrupted)


def _windows(
    encoding: NewEncoding, encoder: SentenceEncoder, window_tokens: int | None
) -> Iterator[list[tuple[Unencoded, Work]]]:
    """Documents with what is to be encoded for them, about as many tokens at a time as `run` commits at a time."""
    most = window_tokens or default_window_tokens(encoder)
    settings = encoding.settings
    window: list[tuple[Unencoded, Work]] = []
    tokens = characters = 0
    for page in encoding.documents():
        documents = [Document(one.id, one.text, one.title) for one in page]
        works = cut_documents(documents, encoder, passage_tokens=settings.passage_tokens, overlap=settings.overlap)
        for document, work in zip(page, works, strict=True):
            window.append((document, work))
            tokens += work.tokens
            characters += len(document.text)
            if tokens >= most or characters >= WINDOW_CHARACTERS:
                yield window
                window, tokens, characters = [], 0, 0
    if window:
        yield window


def _vectors(work: Work) -> NDArray[np.float32]:
    assert work.vectors is not None
    return work.vectors
