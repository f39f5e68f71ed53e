"""The tokenizer of a checkpoint as its files describe it, in the `tokenizers` package, and what is remembered of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yusa.encoder.cache import file_key
from yusa.encoder.checkpoint import read_json
from yusa.errors import EncoderError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

_SPECIAL = ("unk", "sep", "pad", "cls", "mask")
_SERIALIZED, _VOCABULARY, _CONFIG, _MAP = (
    "tokenizer.json",
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a tokenizer without loading it.

    Attributes:
        digest: SHA-256 over what decides the ids of a text.
        vocabulary: number of ids.
        pad_id: 0 where there is no padding token.
        limit: the longest input its configuration allows, in tokens; None where it says nothing.
        prefix, suffix: ids of the special tokens around one text.
        prefix_tokens, suffix_tokens: the same as the vocabulary spells them.
        arrays: whether the cache holds it as arrays, too (`unigram.py`).
    """

    digest: str
    vocabulary: int
    pad_id: int
    limit: int | None
    prefix: list[int]
    suffix: list[int]
    prefix_tokens: list[str]
    suffix_tokens: list[str]
    arrays: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """Raises ValueError or TypeError where it is not what `to_json` wrote."""
        facts = cls(**json.loads(text))
        listed = [facts.prefix, facts.suffix, facts.prefix_tokens, facts.suffix_tokens]
        numbers: list[object] = [facts.vocabulary, facts.pad_id, *facts.prefix, *facts.suffix]
        names: list[object] = [facts.digest, *facts.prefix_tokens, *facts.suffix_tokens]
        if facts.limit is not None:
            numbers.append(facts.limit)
        expected: list[tuple[list[Any], type]] = [(listed, list), (numbers, int), (names, str), ([facts.arrays], bool)]
        if any(type(value) is not kind for values, kind in expected for value in values):
            raise ValueError("a fact has another type")
        return facts


class Reference:
    """The files of one tokenizer and how they are read.

    Args:
        lowercase: lower-case the text first (sentence-transformers' `do_lower_case`).

    Attributes:
        files: all that decides ids and facts, the `tokenizers` package among them.
        key: changes whenever one of them does.

    Raises:
        EncoderError: there is neither tokenizer.json nor vocab.txt.
    """

    def __init__(self, directory: Path, *, lowercase: bool) -> None:
        self.directory = directory
        self.lowercase = lowercase
        main = next((directory / name for name in (_SERIALIZED, _VOCABULARY) if (directory / name).is_file()), None)
        if main is None:
            raise EncoderError(
                f"{directory} has no tokenizer yusa can read: looked for tokenizer.json and vocab.txt. "
                "Save it with a fast tokenizer (tokenizer.save_pretrained writes tokenizer.json)."
            )
        package = find_spec("tokenizers")
        library = [Path(package.origin)] if package is not None and package.origin is not None else []
        self._main = main
        self.files = [main, *(directory / name for name in (_CONFIG, _MAP) if (directory / name).is_file()), *library]
        self.key = file_key(self.files)

    def load(self) -> Backend:
        """The tokenizer, which neither truncates nor pads.

        Raises:
            EncoderError: a file is damaged, or is another than when this object was made.
        """
        from tokenizers import Tokenizer as Backend
        from tokenizers import normalizers

        try:
            if self._main.name == _SERIALIZED:
                backend = Backend.from_file(str(self._main))
            else:
                backend = Backend.from_str(json.dumps(self._wordpiece()))
            unchanged = file_key(self.files) == self.key
        except EncoderError:
            raise
        except Exception as error:  # tokenizers raises bare Exception for a damaged file
            raise EncoderError(
                f"the tokenizer of {self.directory} is damaged: {error}. Fetch or save it again."
            ) from error
        if not unchanged:
            raise EncoderError(
                f"the tokenizer of {self.directory} was changed while it was in use. Load the encoder again."
            )
        if self.lowercase:
            own = backend.normalizer
            backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *([own] if own is not None else [])])
        backend.no_truncation()
        backend.no_padding()
        return backend

    def facts(self, backend: Backend) -> Facts:
        """What is worth remembering of `backend`, which `load` gave.

        Raises:
            EncoderError: a file is damaged.
        """
        config = read_json(self.directory / _CONFIG)
        digest = _digest(read_json(self._main) if self._main.name == _SERIALIZED else self._wordpiece())
        if self.lowercase:
            digest = hashlib.sha256(f"lowercase {digest}".encode()).hexdigest()
        pad = backend.token_to_id(_special_tokens(self.directory, config)["pad"])
        if pad is None:
            pad = backend.token_to_id("<pad>")
        limit = config.get("model_max_length")
        probe = backend.encode("a")
        content = [index for index, special in enumerate(probe.special_tokens_mask) if not special]
        first, last = (content[0], content[-1] + 1) if content else (len(probe.ids), len(probe.ids))
        return Facts(
            digest=digest,
            vocabulary=backend.get_vocab_size(with_added_tokens=True),
            pad_id=0 if pad is None else pad,
            # Where nothing was said, transformers writes int(1e30) here.
            limit=int(limit) if isinstance(limit, int | float) and 0 < limit < 1e9 else None,
            prefix=probe.ids[:first],
            suffix=probe.ids[last:],
            prefix_tokens=probe.tokens[:first],
            suffix_tokens=probe.tokens[last:],
        )

    def _wordpiece(self) -> dict[str, Any]:
        return _wordpiece(self._main, read_json(self.directory / _CONFIG))


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
