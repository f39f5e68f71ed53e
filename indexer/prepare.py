"""From documents to passages and the texts that are encoded for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.base import EncodeProgress, SentenceEncoder
from yusa.errors import InputError
from yusa.indexer.intake import Candidate
from yusa.storage.records import Document, Encoded, Entry, Passage
from yusa.storage.settings import Settings
from yusa.text.normal import normalize
from yusa.text.passages import cut

TITLE_TOKENS = 64
"""Tokens of a title that stand in front of each passage, and never more than a quarter of what the encoder takes."""


@dataclass(slots=True)
class Work:
    """What is encoded once for every document of one encoding hash.

    `texts`, about `tokens` tokens, have to be encoded as long as `vectors` is None.
    """

    passages: tuple[Passage, ...]
    texts: tuple[str, ...] = ()
    tokens: int = 0
    vectors: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document and the work it shares with its duplicates."""

    candidate: Candidate
    work: Work

    def entry(self) -> Entry:
        """What is stored, once the work is done."""
        c = self.candidate
        assert self.work.vectors is not None
        return Entry(c.document, c.source, c.content, c.encoding, self.work.passages, self.work.vectors)


def done(encoded: Encoded) -> Work:
    """Work whose vectors the index has already."""
    return Work(encoded.passages, vectors=encoded.vectors)


def prepare(
    candidates: Sequence[Candidate],
    works: Mapping[bytes, Work],
    encoder: SentenceEncoder,
    *,
    passage_tokens: int,
    overlap: int,
) -> list[Prepared]:
    """Cuts the documents that `works` has nothing for."""
    fresh = {c.encoding: c.document for c in candidates if c.encoding not in works}
    cut_works = cut_documents(list(fresh.values()), encoder, passage_tokens=passage_tokens, overlap=overlap)
    made = {**works, **dict(zip(fresh, cut_works, strict=True))}
    return [Prepared(candidate, made[candidate.encoding]) for candidate in candidates]


def encode(works: Sequence[Work], encoder: SentenceEncoder, *, progress: EncodeProgress | None = None) -> None:
    """Gives works their vectors, with one call of the encoder for all of them."""
    if works:
        texts = list(chain.from_iterable(work.texts for work in works))
        vectors = encoder.encode_documents(texts, progress=progress)
        ends = np.cumsum([len(work.texts) for work in works])[:-1]
        for work, part in zip(works, np.split(vectors, ends), strict=True):
            work.vectors = part


def cut_documents(
    documents: Sequence[Document], encoder: SentenceEncoder, *, passage_tokens: int, overlap: int
) -> list[Work]:
    """What is encoded for each document, with one call of the tokenizer for all of them."""
    if not documents:
        return []
    count = len(documents)
    starts = encoder.token_starts([*(d.title or "" for d in documents), *(d.text for d in documents)])
    room = encoder.document_budget
    works = []
    for document, title_starts, text_starts in zip(documents, starts[:count], starts[count:], strict=True):
        head, head_tokens = _clipped(document.title or "", title_starts, max(1, min(TITLE_TOKENS, room // 4)))
        budget = max(1, min(passage_tokens, room - head_tokens))
        spans = cut(document.text, text_starts, budget=budget, overlap=min(overlap, budget - 1))
        pieces = [document.text[span.start : span.end] for span in spans]
        works.append(
            Work(
                tuple(Passage(ordinal, span.start, span.end) for ordinal, span in enumerate(spans)),
                tuple(f"{head} {piece}" if head else piece for piece in pieces),
                len(text_starts) + head_tokens * len(spans),
            )
        )
    return works


def encoded_document(
    encoder: SentenceEncoder, text: str, title: str | None, settings: Settings
) -> tuple[str, NDArray[np.float32]]:
    """A text that is not stored, cut and encoded as it would be if it were: in normal form, and its vectors.

    Raises:
        InputError: the text holds nothing, or what is not text.
    """
    text = normalize(text)
    if not text.strip():
        raise InputError("the text is empty; there is nothing to compare")
    document = Document("", text, normalize(title) if title else None)
    made = cut_documents([document], encoder, passage_tokens=settings.passage_tokens, overlap=settings.overlap)
    return text, encoder.encode_documents(made[0].texts)


def _clipped(title: str, starts: NDArray[np.int64], most: int) -> tuple[str, int]:
    """The title without the tokens beyond `most`, and how many it has."""
    if len(starts) <= most:
        return title, len(starts)
    return title[: starts[most]].rstrip(), most
