"""Text to token ids: a checkpoint's own tokenizer, without hidden truncation or padding."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.cache import build_once, cache_dir, remembered
from yusa.encoder.pairs import PairFrame, read_pair_frame
from yusa.encoder.ragged import TokenIds, joined
from yusa.encoder.reference import Facts, Reference
from yusa.encoder.unigram import Unigram, open_unigram
from yusa.errors import EncoderError

if TYPE_CHECKING:
    from tokenizers import Encoding
    from tokenizers import Tokenizer as Backend

    from yusa.encoder.token_pool import TokenPool

_WINDOW = 2048
"""Texts tokenized in one call: enough to keep every core busy, few enough to bound memory."""

_FEW_TEXTS, _FEW_CHARACTERS = 16, 4000
"""What is tokenized from arrays, where there are any, rather than wait until `tokenizers` has loaded."""

_LAYOUT = 1
"""Counts changes in what is remembered of a tokenizer and in what `write_unigram` writes."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class Tokenizer:
    """A checkpoint's tokenizer.

    Special tokens are put around the ids here and truncation happens here, so that the object underneath never
    changes and threads may share it. That object is loaded when it is first needed. A lone surrogate, which no
    tokenizer accepts, counts as U+FFFD.

    Attributes:
        digest: SHA-256 over what decides the ids of a text.
        prefix, suffix: ids of the special tokens around one text.
        pad_id: 0 where there is no padding token.
        vocabulary: number of ids.
        limit: the longest input its configuration allows, in tokens; None where it says nothing.
    """

    def __init__(self, reference: Reference, facts: Facts, loaded: Backend | None) -> None:
        self.digest = facts.digest
        self.prefix, self.suffix = facts.prefix, facts.suffix
        self.pad_id = facts.pad_id
        self.vocabulary = facts.vocabulary
        self.limit = facts.limit
        self._prefix_tokens, self._suffix_tokens = facts.prefix_tokens, facts.suffix_tokens
        self._has_arrays = facts.arrays
        self._reference = reference
        self._loaded = loaded
        self._loading = threading.Lock()

    @property
    def _backend(self) -> Backend:
        with self._loading:
            if self._loaded is None:
                self._loaded = self._reference.load()
        return self._loaded

    @cached_property
    def _arrays(self) -> Unigram | None:
        return open_unigram(_arrays_directory(self._reference)) if self._has_arrays else None

    def load(self) -> None:
        """Load what is loaded at the first text otherwise.

        Raises:
            EncoderError: a file of the tokenizer is damaged or was changed since.
        """
        _ = self._backend

    @property
    def specials(self) -> int:
        """Number of special tokens around one text."""
        return len(self.prefix) + len(self.suffix)

    def count(self, text: str) -> int:
        """Tokens of `text` without special tokens."""
        few = self._few([text])
        return len(self._encodings([text])[0].ids if few is None else few[0])

    def ids(self, texts: Sequence[str], max_length: int) -> TokenIds:
        """Ids of each text, special tokens included, truncated to `max_length`."""
        few = self._few(texts)
        if few is not None:
            return self._framed(few, max_length)
        windows = [
            self._framed((encoding.ids for encoding in window), max_length)
            for window in self._windows(texts, offsets=False)
        ]
        return windows[0] if len(windows) == 1 else joined(windows)

    def pool(self, max_length: int) -> TokenPool:
        """Processes that do the same as `ids` beside the caller's work. To be closed."""
        from yusa.encoder.token_pool import TokenPool

        return TokenPool(self._reference.directory, self._reference.lowercase, max_length)

    def _few(self, texts: Sequence[str]) -> list[list[int]] | None:
        """Ids of a few short texts from the arrays, where that is quicker than what else there is."""
        if (
            self._loaded is not None
            or not self._has_arrays
            or len(texts) > _FEW_TEXTS
            or not all(isinstance(text, str) for text in texts)
            or sum(map(len, texts)) > _FEW_CHARACTERS
            or self._arrays is None
        ):
            return None
        return self._arrays.ids(texts)

    def _framed(self, texts: Iterable[list[int]], max_length: int) -> TokenIds:
        """Special tokens around each text's ids, of which as many are kept as there is room for."""
        room = max_length - self.specials
        flat: list[int] = []
        lengths = []
        for ids in texts:
            before = len(flat)
            flat += self.prefix
            flat += ids[:room]
            flat += self.suffix
            lengths.append(len(flat) - before)
        return TokenIds(np.array(flat, dtype=np.int32), np.array(lengths, dtype=np.int64))

    @cached_property
    def pair_frame(self) -> PairFrame:
        """How two texts stand together."""
        return read_pair_frame(self._backend)

    def pairs(
        self, first: str, seconds: Sequence[str], max_length: int
    ) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """Ids and token types of `first` with each of `seconds`, special tokens included.

        `first` is clipped to half of what `max_length` leaves beside the special tokens, and the second text to the
        rest, so that `first` is the same whatever it stands with.
        """
        room = max_length - self.pair_frame.specials
        head = self._encodings([first])[0].ids[: room // 2]
        for window in self._windows(seconds, offsets=False):
            for encoding in window:
                yield self.pair_frame.joined(head, encoding.ids[: room - len(head)])

    def starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """The start of each token in code points, without special tokens or truncation."""
        return [
            np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)[:, 0]
            for window in self._windows(texts, offsets=True)
            for encoding in window
        ]

    def tokens(
        self, texts: Sequence[str], max_length: int
    ) -> Iterator[tuple[NDArray[np.int32], list[str], NDArray[np.int64]]]:
        """For each text its ids, tokens and offsets, special tokens included (with offsets (0, 0)) and truncated."""
        room = max_length - self.specials
        for window in self._windows(texts, offsets=True):
            for encoding in window:
                offsets = np.zeros((min(len(encoding.ids), room) + self.specials, 2), dtype=np.int64)
                offsets[len(self.prefix) : len(offsets) - len(self.suffix)] = np.array(
                    encoding.offsets[:room], dtype=np.int64
                ).reshape(-1, 2)
                yield (
                    np.array(self.prefix + encoding.ids[:room] + self.suffix, dtype=np.int32),
                    self._prefix_tokens + encoding.tokens[:room] + self._suffix_tokens,
                    offsets,
                )

    def _windows(self, texts: Sequence[str], *, offsets: bool) -> Iterator[list[Encoding]]:
        for start in range(0, len(texts), _WINDOW):
            yield self._encodings(list(texts[start : start + _WINDOW]), offsets=offsets)

    def _encodings(self, texts: list[str], *, offsets: bool = False) -> list[Encoding]:
        # encode_batch_fast leaves the offsets out.
        encode = self._backend.encode_batch if offsets else self._backend.encode_batch_fast
        try:
            return encode(texts, add_special_tokens=False)
        except TypeError:
            for index, text in enumerate(texts):
                if not isinstance(text, str):
                    raise TypeError(f"texts must be str; number {index} is {type(text).__name__}") from None
            return encode([_SURROGATE.sub("\ufffd", text) for text in texts], add_special_tokens=False)


def load_tokenizer(directory: Path, *, lowercase: bool = False) -> Tokenizer:
    """From tokenizer.json, else BERT's WordPiece from vocab.txt and tokenizer_config.json.

    Where the cache remembers the files as they are now, none of them is read before the first text.

    Args:
        lowercase: lower-case the text first (sentence-transformers' `do_lower_case`).

    Raises:
        EncoderError: neither file is there, or one is damaged.
    """
    reference = Reference(directory, lowercase=lowercase)
    arrays = _arrays_directory(reference)
    loaded: list[Backend] = []

    def compute() -> dict[str, str]:
        loaded.append(reference.load())
        facts = reference.facts(loaded[0])
        return {"facts": replace(facts, arrays=_store_arrays(loaded[0], arrays)).to_json()}

    def usable(values: dict[str, str]) -> bool:
        try:
            facts = Facts.from_json(values["facts"])
        except (KeyError, TypeError, ValueError):
            return False
        return not facts.arrays or arrays.is_dir()

    kind = f"tokenizer-{_LAYOUT}{'-lowercase' if lowercase else ''}"
    values = remembered(kind, reference.files, compute, usable=usable)
    return Tokenizer(reference, Facts.from_json(values["facts"]), loaded[0] if loaded else None)


def _arrays_directory(reference: Reference) -> Path:
    return cache_dir() / "tokenizers" / f"{reference.key[:40]}-{_LAYOUT}"


def _store_arrays(backend: Backend, directory: Path) -> bool:
    """Whether there are arrays for `backend` in `directory` now."""
    from yusa.encoder.unigram_arrays import UnsuitableError, write_unigram

    try:
        build_once(directory, lambda into: write_unigram(backend, into))
    except (UnsuitableError, EncoderError):  # the latter for a cache that cannot be written
        return False
    return True
