"""Opens an index for a command."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import yusa
from yusa.errors import EncoderMismatchError
from yusa.service.cli.console import say, working

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from yusa.encoder.base import EncodeProgress, Fingerprint, Pooling, SentenceEncoder
    from yusa.index import Index
    from yusa.search.hit import Hit


class TimedEncoder:
    """An encoder that counts the time its queries take, so that encoding and searching can be told apart."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self._encoder = encoder
        self.seconds = 0.0

    @property
    def name(self) -> str:
        return self._encoder.name

    @property
    def dimension(self) -> int:
        return self._encoder.dimension

    @property
    def fingerprint(self) -> Fingerprint:
        return self._encoder.fingerprint

    @property
    def provenance(self) -> dict[str, str]:
        return self._encoder.provenance

    @property
    def document_budget(self) -> int:
        return self._encoder.document_budget

    def token_starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return self._encoder.token_starts(texts)

    def encode_documents(self, texts: Sequence[str], *, progress: EncodeProgress | None = None) -> NDArray[np.float32]:
        return self._encoder.encode_documents(texts, progress=progress)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        began = time.perf_counter()
        try:
            return self._encoder.encode_queries(texts)
        finally:
            self.seconds += time.perf_counter() - began


def load_encoder(index: Index, name: str | None = None, *, always_say: bool = False) -> SentenceEncoder:
    """The index's encoder, with a word while it is loaded."""
    with working(f"loading {name or index.settings.encoder} …", always=always_say):
        return index.encoder


def say_loss(index: Index) -> None:
    """What the encoder of an index loses by int8, if it is in int8."""
    loss = index.settings.provenance.get("quantization")
    if loss is not None:
        say(loss)


class TimedIndex:
    """An open index whose encoder is loaded and counts its time; after a reindex, by whomever, it is opened anew."""

    def __init__(
        self, path: Path, *, encoder: str | None = None, pooling: Pooling | None = None, device: str | None = None
    ) -> None:
        self._path = path
        self._asked = encoder
        self._loading: dict[str, Any] = {"encoder": encoder, "pooling": pooling, "device": device}
        self.index, self.encoder = self._opened()

    def search(self, query: str, **wanted: Any) -> tuple[list[Hit], str]:
        """The hits, and what encoding and searching took, for people."""
        try:
            return self._search(query, wanted)
        except EncoderMismatchError:
            # An encoder that is loaded stays what it is. One that was asked for by name is refused again, rightly.
            before = self.index
            self.index, self.encoder = self._opened()
            before.close()
            return self._search(query, wanted)

    def _search(self, query: str, wanted: dict[str, Any]) -> tuple[list[Hit], str]:
        self.encoder.seconds, began = 0.0, time.perf_counter()
        hits = self.index.search(query, **wanted)
        rest = time.perf_counter() - began - self.encoder.seconds
        return hits, f"encode {self.encoder.seconds * 1000:.1f} ms · search {rest * 1000:.1f} ms"

    def _opened(self) -> tuple[Index, TimedEncoder]:
        with yusa.open(self._path, **self._loading) as index:
            timed = TimedEncoder(load_encoder(index, self._asked))
        return yusa.open(self._path, encoder=timed), timed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.index.close()


def lasting_name(encoder: str) -> str:
    """An encoder's name as an index should remember it: a directory by its absolute path."""
    from yusa.encoder.packaged import PACKAGED

    path = Path(encoder).expanduser()
    return str(path.absolute()) if encoder not in PACKAGED and path.is_dir() else encoder
