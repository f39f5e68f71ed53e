"""The encoder: one checkpoint, ready to turn texts into vectors."""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.base import EncodeProgress, Fingerprint, Pooling, Quantization
from yusa.encoder.checkpoint import Checkpoint, load_checkpoint
from yusa.encoder.device import provenance_of
from yusa.encoder.forward import Forward
from yusa.encoder.loss import QuantizationLoss, quantization_loss
from yusa.encoder.names import locate
from yusa.encoder.ragged import TokenIds
from yusa.encoder.recipe import Recipe, read_recipe
from yusa.encoder.tokenizing import Tokenizer, load_tokenizer
from yusa.errors import EncoderError

if TYPE_CHECKING:
    from yusa.encoder.token_pool import TokenPool

_POOLINGS = ("mean", "cls", "pooler")

_POOLED, _WINDOW = 8192, 32_768
"""Texts from which on a GPU's are tokenized by other processes, and how many of them at a time."""


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """One text at word level, special tokens included.

    Attributes:
        tokens: as the tokenizer's vocabulary spells them.
        offsets: int64 (t, 2), code points [start, end) of the text given; (0, 0) for special tokens.
        vectors: float32 (t, dimension), the last hidden state, neither pooled nor normalised.
    """

    tokens: list[str]
    offsets: NDArray[np.int64]
    vectors: NDArray[np.float32]


class Features(NamedTuple):
    """A BERT model's inputs, each int64 (texts, max_length)."""

    input_ids: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]


class Encoder:
    """Texts to vectors with a BERT, RoBERTa, XLM-RoBERTa, DistilBERT or ELECTRA checkpoint. Safe to share by threads.

    Attributes:
        name: what it was loaded by.
        max_length: in tokens, special tokens included; longer texts are truncated.
        query_prompt, document_prompt: put in front of each query or document.
    """

    def __init__(
        self, name: str, forward: Forward, tokenizer: Tokenizer, *, fingerprint: Fingerprint, revision: str
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.max_length = fingerprint.max_length
        self.query_prompt = fingerprint.query_prompt
        self.document_prompt = fingerprint.document_prompt
        self.normalize = fingerprint.normalize
        self.pooling = cast(Pooling, fingerprint.pooling)
        self.dimension = forward.architecture.hidden
        self.document_budget = self.max_length - tokenizer.specials - tokenizer.count(self.document_prompt)
        self._revision = revision
        self._forward = forward
        self._tokenizer = tokenizer
        self._pool: TokenPool | None = None
        self._pool_lock = threading.Lock()

    @property
    def device(self) -> str:
        """Where documents are encoded; a few short texts may be on the CPU all the same."""
        return self._forward.device

    @property
    def dtype(self) -> str:
        """What documents are encoded in."""
        return self._forward.dtype

    @property
    def provenance(self) -> dict[str, str]:
        """Shown, never compared."""
        shown = provenance_of(self.name, self._revision, self.device, self.dtype)
        loss = self.quantization_loss
        return shown if loss is None else shown | {"quantization": str(loss)}

    @property
    def quantization_loss(self) -> QuantizationLoss | None:
        """How far int8 is from float32, measured on a few fixed texts once per user; None without quantization."""
        if self.fingerprint.quantization == "none":
            return None

        def float32(texts: Sequence[str]) -> NDArray[np.float32]:
            ids = self._ids(texts, self.document_prompt)
            return self._forward.in_float32().vectors(ids, self.pooling, normalize=self.normalize)

        return quantization_loss(self.fingerprint, self.encode_documents, float32)

    @property
    def runtime(self) -> dict[str, str]:
        """What encodes a few texts at this moment, for remembering that it was checked."""
        return {"forward": self._forward.runtime, "tokenizers": importlib.metadata.version("tokenizers")}

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        pooling: Pooling | None = None,
        max_length: int | None = None,
        device: str | None = None,
        dtype: str | None = None,
        prompts: Mapping[str, str] | None = None,
        normalize: bool | None = None,
        quantization: Quantization | None = None,
    ) -> Encoder:
        """Load a packaged model, a checkpoint directory or a hub model; what is not given, the checkpoint decides.

        Args:
            device: default YUSA_DEVICE, else cuda where there is one, else cpu.
            dtype: "float32", "float16" or "bfloat16"; default float32 on a CPU and float16 on a GPU.
            prompts: "query" and "document".
            quantization: "int8" is another identity, for x86 CPUs, whose `quantization_loss` to see before it is
                chosen; default "none".

        Raises:
            EncoderNotFoundError: nothing has this name.
            EncoderError: it cannot be used, or not as asked; the message says which part.
        """
        location = locate(name)
        recipe = read_recipe(location.directory)
        checkpoint = load_checkpoint(recipe.body)
        tokenizer = load_tokenizer(recipe.body, lowercase=recipe.lowercase)
        architecture = checkpoint.architecture
        if tokenizer.vocabulary > architecture.vocabulary:
            raise EncoderError(
                f"the tokenizer of {name} has {tokenizer.vocabulary} tokens but the model {architecture.vocabulary}. "
                "The files do not belong together."
            )
        chosen = _pooling(pooling or recipe.pooling, checkpoint, str(name))
        query_prompt, document_prompt = _prompts(prompts, recipe)
        fingerprint = Fingerprint(
            weights=checkpoint.body_digest + (f"+{checkpoint.pooler_digest}" if chosen == "pooler" else ""),
            tokenizer=tokenizer.digest,
            pooling=chosen,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            max_length=_max_length(max_length, recipe, tokenizer, architecture.positions, str(name)),
            normalize=recipe.normalize if normalize is None else normalize,
            quantization=_quantization(quantization),
        )
        forward = Forward(
            checkpoint,
            chosen,
            normalize=fingerprint.normalize,
            device=device,
            dtype=dtype,
            quantization=_quantization(quantization),
        )
        encoder = cls(str(name), forward, tokenizer, fingerprint=fingerprint, revision=location.revision)
        longest = max(tokenizer.count(query_prompt), tokenizer.count(document_prompt))
        if encoder.max_length - tokenizer.specials - longest < 1:
            raise EncoderError(
                f"max_length {encoder.max_length} leaves no room for text beside {tokenizer.specials} special tokens "
                f"and a prompt of {longest}. Give a larger one."
            )
        return encoder

    def encode_documents(self, texts: Sequence[str], *, progress: EncodeProgress | None = None) -> NDArray[np.float32]:
        """float32 (len(texts), dimension), rows in the order of `texts`; equal texts are encoded once.

        Args:
            progress: called after each batch with (texts, tokens) finished since the last call.
        """
        return self._encode(texts, self.document_prompt, progress)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (len(texts), dimension), rows in the order of `texts`."""
        return self._encode(texts, self.query_prompt, None)

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """Word-level vectors of each text, without prompt, truncated to max_length."""
        described = list(self._tokenizer.tokens(_sequence(texts), self.max_length))
        states = self._forward.hidden(TokenIds.of([ids for ids, _, _ in described]))
        return [
            TokenVectors(tokens, offsets, vectors)
            for (_, tokens, offsets), vectors in zip(described, states, strict=True)
        ]

    def features(self, texts: Sequence[str], *, max_length: int | None = None) -> Features:
        """Ids of each text with special tokens, truncated and padded to `max_length` (default: the encoder's).

        Raises:
            EncoderError: `max_length` has no room for the special tokens or is more than the model has positions.
        """
        length = self.max_length if max_length is None else max_length
        positions = self._forward.architecture.positions
        if not self._tokenizer.specials <= length <= positions:
            raise EncoderError(
                f"max_length {length} is out of range for {self.name}: give {self._tokenizer.specials} to {positions}."
            )
        input_ids = np.full((len(texts), length), self._tokenizer.pad_id, dtype=np.int64)
        mask = np.zeros_like(input_ids)
        ids = self._tokenizer.ids(_sequence(texts), length)
        for row, size in enumerate(ids.lengths.tolist()):
            input_ids[row, :size] = ids[row]
            mask[row, :size] = 1
        return Features(input_ids, np.zeros_like(input_ids), mask)

    def token_starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """For each text the starts of its tokens in code points, without special tokens, prompt or truncation."""
        return self._tokenizer.starts(_sequence(texts))

    def _encode(self, texts: Sequence[str], prompt: str, progress: EncodeProgress | None) -> NDArray[np.float32]:
        first: dict[str, int] = {}
        rows_of = np.array([first.setdefault(text, len(first)) for text in _sequence(texts)], dtype=np.int64)
        copies = np.bincount(rows_of, minlength=len(first))
        vectors = np.empty((len(first), self.dimension), dtype=np.float32)
        start = 0
        for ids in self._windows(list(first), prompt):

            def done(rows: NDArray[np.int64], tokens: int, start: int = start) -> None:
                if progress is not None:
                    progress(int(copies[start + rows].sum()), tokens)

            vectors[start : start + len(ids)] = self._forward.vectors(ids, done)
            start += len(ids)
        return vectors[rows_of]

    def _windows(self, texts: Sequence[str], prompt: str) -> Iterator[TokenIds]:
        """Ids of `prompt` and each text, all at once, or made by other processes while a GPU is at work."""
        if len(texts) < _POOLED or not self.device.startswith("cuda"):
            yield self._ids(texts, prompt)
            return
        with self._pool_lock:
            if self._pool is None:
                self._pool = self._tokenizer.pool(self.max_length)
            pool = self._pool
        try:
            yield from pool.windows(texts, prompt, _WINDOW)
        except EncoderError:  # a worker ended, and the pool with it
            with self._pool_lock:
                self._pool = None
            pool.close()
            raise

    def _ids(self, texts: Sequence[str], prompt: str) -> TokenIds:
        return self._tokenizer.ids([prompt + text for text in texts], self.max_length)


def _sequence(texts: Sequence[str]) -> Sequence[str]:
    if isinstance(texts, str):
        raise TypeError("texts must be a sequence of str, not one str: write [text]")
    return texts


def _pooling(asked: str, checkpoint: Checkpoint, name: str) -> Pooling:
    if asked not in _POOLINGS:
        raise EncoderError(
            f"{name} asks for the pooling {asked!r}; yusa has {', '.join(_POOLINGS)}. Choose one of them."
        )
    if asked == "pooler" and not checkpoint.has_pooler:
        why = (
            "its weights hold no pooler.dense"
            if checkpoint.architecture.may_have_pooler
            else f"a {checkpoint.architecture.family} has none"
        )
        raise EncoderError(f"{name} has no trained pooler: {why}. Choose the pooling mean or cls.")
    return cast(Pooling, asked)


def _quantization(asked: str | None) -> Quantization:
    if asked not in (None, "none", "int8"):
        raise EncoderError(f"there is no quantization {asked!r} for encoders. Choose 'int8' or 'none'.")
    return "int8" if asked == "int8" else "none"


def _prompts(asked: Mapping[str, str] | None, recipe: Recipe) -> tuple[str, str]:
    given = dict(asked or {})
    query, document = given.pop("query", recipe.query_prompt), given.pop("document", recipe.document_prompt)
    if given:
        raise EncoderError(f"there is no prompt {', '.join(map(repr, given))}. Prompts are 'query' and 'document'.")
    return query, document


def _max_length(asked: int | None, recipe: Recipe, tokenizer: Tokenizer, positions: int, name: str) -> int:
    if asked is None:
        stated = recipe.max_length if recipe.max_length is not None else tokenizer.limit
        return positions if stated is None else min(stated, positions)
    if asked > positions:
        raise EncoderError(f"{name} has {positions} positions; max_length {asked} is more than it can take.")
    return asked
