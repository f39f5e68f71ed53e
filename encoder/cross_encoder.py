"""The cross-encoder: one sequence-classification checkpoint, ready to judge a query and texts together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from yusa.encoder.body import Body
from yusa.encoder.checkpoint import load_checkpoint, read_json
from yusa.encoder.device import device_of, dtype_of, provenance_of
from yusa.encoder.head import Head
from yusa.encoder.heads import Meaning, read_head
from yusa.encoder.names import locate
from yusa.encoder.network import Network
from yusa.encoder.packaged import PACKAGED
from yusa.encoder.ragged import TokenIds
from yusa.encoder.recipe import Recipe, read_recipe
from yusa.encoder.tokenizing import Tokenizer, load_tokenizer
from yusa.errors import EncoderError, EncoderNotFoundError

_TYPED = ("bert", "electra")
"""Families that tell the second text of a pair from the first by token types; RoBERTa's are all 0."""


class CrossEncoder:
    """Scores of a query with texts by a BERT, RoBERTa, XLM-RoBERTa, DistilBERT or ELECTRA checkpoint with a head.

    Safe to share by threads.

    Attributes:
        name: what it was loaded by.
        max_length: of query and text together in tokens, special tokens included. A query is clipped to half of
            what it leaves beside the special tokens, a text to the rest.
        provenance: shown, never compared.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        head: Head,
        tokenizer: Tokenizer,
        *,
        meaning: Meaning,
        max_length: int,
        device: str,
        dtype: str,
        revision: str,
    ) -> None:
        self.name = name
        self.max_length = max_length
        self.device = device
        self.dtype = dtype
        self.provenance = provenance_of(name, revision, device, dtype)
        architecture, highest = network.architecture, tokenizer.pair_frame.highest_type
        self._typed = architecture.family in _TYPED and 0 < highest < architecture.token_types
        self._meaning = meaning
        self._network = network
        self._head = head
        self._tokenizer = tokenizer

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        max_length: int | None = None,
    ) -> CrossEncoder:
        """Load a checkpoint directory or a hub model; what is not given, the checkpoint decides.

        Args:
            device: default YUSA_DEVICE, else cuda where there is one, else cpu.
            dtype: "float32", "float16" or "bfloat16"; default float32 on a CPU and float16 on a GPU.

        Raises:
            EncoderNotFoundError: nothing has this name.
            EncoderError: it has no head with one or two labels, or cannot be used, or not as asked.
        """
        if name in PACKAGED:
            raise EncoderError(
                f"the packaged model {name} turns single texts into vectors and has no head that judges pairs. "
                "Give the directory or the hub name of a cross-encoder."
            )
        try:
            location = locate(name)
        except EncoderNotFoundError as error:
            raise EncoderNotFoundError(f"{error} (A packaged model cannot rerank; name a cross-encoder.)") from error
        recipe = read_recipe(location.directory)
        if recipe.query_prompt or recipe.document_prompt:
            raise EncoderError(f"{name} puts a prompt in front of its pairs, which yusa does not do.")
        settings = read_json(location.directory / "config_sentence_transformers.json")
        described = read_head(read_json(recipe.body / "config.json"), settings, str(name))
        checkpoint = load_checkpoint(recipe.body, labels=described.labels)
        architecture = checkpoint.architecture
        tokenizer = load_tokenizer(recipe.body, lowercase=recipe.lowercase)
        if tokenizer.vocabulary > architecture.vocabulary:
            raise EncoderError(
                f"the tokenizer of {name} has {tokenizer.vocabulary} tokens but the model {architecture.vocabulary}. "
                "The files do not belong together."
            )
        length = _max_length(max_length, recipe, tokenizer, architecture.positions, str(name))
        placed = device_of(device)
        dtype = dtype_of(dtype, str(placed))
        return cls(
            str(name),
            Network(Body(architecture, checkpoint.tensors, device=placed, dtype=getattr(torch, dtype))),
            Head(architecture, checkpoint.tensors, device=placed),
            tokenizer,
            meaning=described.meaning,
            max_length=length,
            device=str(placed),
            dtype=dtype,
            revision=location.revision,
        )

    def scores(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (len(texts),), higher for better, in the order of `texts`.

        With one label it is the sigmoid of the logit, or the logit where the checkpoint says Identity; with two it is
        the probability of the second.
        """
        logits = torch.from_numpy(self._logits(query, texts))
        if self._meaning == "softmax":
            found = logits.softmax(dim=1)[:, 1]
        else:
            found = logits[:, 0].sigmoid() if self._meaning == "sigmoid" else logits[:, 0]
        scores: NDArray[np.float32] = found.numpy().copy()
        return scores

    def _logits(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (len(texts), labels)."""
        if isinstance(texts, str):
            raise TypeError("texts must be a sequence of str, not one str: write [text]")
        pairs = list(self._tokenizer.pairs(query, texts, self.max_length))
        types = np.concatenate([types for _, types in pairs]) if self._typed and pairs else None
        first = self._network.vectors(TokenIds.of([ids for ids, _ in pairs]), "cls", normalize=False, types=types)
        logits: NDArray[np.float32] = self._head.logits(torch.from_numpy(first).to(self.device)).cpu().numpy()
        return logits


def _max_length(asked: int | None, recipe: Recipe, tokenizer: Tokenizer, positions: int, name: str) -> int:
    stated = recipe.max_length if recipe.max_length is not None else tokenizer.limit
    length = min(positions if stated is None else stated, positions) if asked is None else asked
    shortest = tokenizer.pair_frame.specials + 2
    if not shortest <= length <= positions:
        raise EncoderError(f"max_length {length} is out of range for {name}: give {shortest} to {positions}.")
    return length
