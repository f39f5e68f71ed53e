"""Text to token ids: a checkpoint's own tokenizer, without hidden truncation or padding."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.cache import remembered
from yusa.encoder.checkpoint import read_json
from yusa.encoder.pairs import PairFrame, read_pair_frame
from yusa.errors import EncoderError

if TYPE_CHECKING:
    from tokenizers import Encoding
    from tokenizers import Tokenizer as Backend

_WINDOW = 2048
"""Texts tokenized in one call: enough to keep every core busy, few enough to bound memory."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_SPECIAL = ("unk", "sep", "pad", "cls", "mask")


class Tokenizer:
    """A checkpoint's tokenizer.

    Special tokens are put around the ids here and truncation happens here, so that the object underneath never
    changes and threads may share it. A lone surrogate, which no tokenizer accepts, counts as U+FFFD.

    Attributes:
        digest: SHA-256 over what decides the ids of a text.
        prefix, suffix: ids of the special tokens around one text.
        limit: the longest input its configuration allows, in tokens; None where it says nothing.
    """

    def __init__(self, backend: Backend, *, digest: str, pad_id: int, limit: int | None) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self.digest = digest
        self.pad_id = pad_id
        self.limit = limit
        probe = backend.encode("a")
        content = [index for index, special in enumerate(probe.special_tokens_mask) if not special]
        first, last = (content[0], content[-1] + 1) if content else (len(probe.ids), len(probe.ids))
        self.prefix, self.suffix = probe.ids[:first], probe.ids[last:]
        self._prefix_tokens, self._suffix_tokens = probe.tokens[:first], probe.tokens[last:]

    @property
    def specials(self) -> int:
        """Number of special tokens around one text."""
        return len(self.prefix) + len(self.suffix)

    @property
    def vocabulary(self) -> int:
        """Number of ids."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    def count(self, text: str) -> int:
        """Tokens of `text` without special tokens."""
        return len(self._encodings([text])[0].ids)

    def ids(self, texts: Sequence[str], max_length: int) -> list[NDArray[np.int32]]:
        """Ids of each text, special tokens included, truncated to `max_length`."""
        room = max_length - self.specials
        return [
            np.array(self.prefix + encoding.ids[:room] + self.suffix, dtype=np.int32)
            for window in self._windows(texts, offsets=False)
            for encoding in window
        ]

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
    """Read tokenizer.json, else build BERT's WordPiece from vocab.txt and tokenizer_config.json.

    Args:
        lowercase: lower-case the text first (sentence-transformers' `do_lower_case`).

    Raises:
        EncoderError: neither file is there, or one is damaged.
    """
    from tokenizers import Tokenizer as Backend
    from tokenizers import normalizers

    config = read_json(directory / "tokenizer_config.json")
    serialized, vocabulary = directory / "tokenizer.json", directory / "vocab.txt"
    try:
        if serialized.is_file():
            files = [serialized]
            backend = Backend.from_file(str(serialized))
            digest = remembered("tokenizer", files, lambda: {"digest": _digest(read_json(serialized))})["digest"]
        elif vocabulary.is_file():
            wordpiece = _wordpiece(vocabulary, config)
            backend = Backend.from_str(json.dumps(wordpiece))
            digest = _digest(wordpiece)
        else:
            raise EncoderError(
                f"{directory} has no tokenizer yusa can read: looked for tokenizer.json and vocab.txt. "
                "Save it with a fast tokenizer (tokenizer.save_pretrained writes tokenizer.json)."
            )
    except EncoderError:
        raise
    except Exception as error:  # tokenizers raises bare Exception for a damaged file
        raise EncoderError(f"the tokenizer of {directory} is damaged: {error}. Fetch or save it again.") from error
    if lowercase:
        own = backend.normalizer
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *([own] if own is not None else [])])
        digest = hashlib.sha256(f"lowercase {digest}".encode()).hexdigest()
    pad = backend.token_to_id(_special_tokens(directory, config)["pad"])
    if pad is None:
        pad = backend.token_to_id("<pad>")
    limit = config.get("model_max_length")
    return Tokenizer(
        backend,
        digest=digest,
        pad_id=0 if pad is None else pad,
        # Where nothing was said, transformers writes int(1e30) here.
        limit=int(limit) if isinstance(limit, int | float) and 0 < limit < 1e9 else None,
    )


def _digest(tokenizer: dict[str, Any]) -> str:
    """Only what decides ids: not the version, nor truncation and padding, nor the decoder."""
    parts = {
        key: tokenizer.get(key) for key in ("added_tokens", "normalizer", "pre_tokenizer", "post_processor", "model")
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _special_tokens(directory: Path, config: dict[str, Any]) -> dict[str, str]:
    names = read_json(directory / "special_tokens_map.json") | config
    found = {}
    for kind in _SPECIAL:
        value = names.get(f"{kind}_token") or f"[{kind.upper()}]"
        found[kind] = str(value["content"] if isinstance(value, dict) else value)
    return found


def _wordpiece(vocabulary: Path, config: dict[str, Any]) -> dict[str, Any]:
    """BERT's tokenizer as tokenizer.json would describe it."""
    with vocabulary.open(encoding="utf-8") as lines:
        vocab = {line.rstrip("\n"): index for index, line in enumerate(lines)}
    special = _special_tokens(vocabulary.parent, config)
    absent = [special[kind] for kind in ("unk", "sep", "cls") if special[kind] not in vocab]
    if absent:
        raise EncoderError(f"{vocabulary} lacks {', '.join(absent)}. Fetch or save the tokenizer again.")

    def piece(kind: str) -> dict[str, Any]:
        return {"id": special[kind], "ids": [vocab[special[kind]]], "tokens": [special[kind]]}

    def around(name: str, type_id: int, *kinds: str) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = [{"SpecialToken": {"id": special[kind], "type_id": type_id}} for kind in kinds]
        parts.insert(len(parts) - 1, {"Sequence": {"id": name, "type_id": type_id}})
        return parts

    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": vocab[token],
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for token in sorted({token for token in special.values() if token in vocab}, key=vocab.__getitem__)
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": bool(config.get("tokenize_chinese_chars", True)),
            "strip_accents": config.get("strip_accents"),
            "lowercase": bool(config.get("do_lower_case", True)),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": around("A", 0, "cls", "sep"),
            "pair": around("A", 0, "cls", "sep") + around("B", 1, "sep"),
            "special_tokens": {special[kind]: piece(kind) for kind in ("cls", "sep")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": special["unk"],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }
