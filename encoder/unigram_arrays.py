"""Which Unigram tokenizers can be stored as arrays, for which characters, and the writing of them.

What decides an id is asked of `tokenizers` while the arrays are made: the scores as it parsed them (its JSON reader
rounds some of them another way than Python's) and the normalised form of each character.
"""

from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.unigram import METASPACE, Arrays, Plan, Unigram, substring_hashes

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

_SINGLE = (
    (0x0009, 0x000A),
    (0x0020, 0x007E),
    (0x00A0, 0x02FF),
    (0x0370, 0x052F),
    (0x05D0, 0x05EA),
    (0x0621, 0x064A),
    (0x0660, 0x066D),
    (0x1E00, 0x1FFF),
    (0x2010, 0x2027),
    (0x202F, 0x205F),
    (0x2070, 0x20CF),
    (0x2100, 0x2BFF),
    (0x3000, 0x30FF),
    (0x3105, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xF900, 0xFB06),
    (0xFF01, 0xFF9D),
    (0xFFE0, 0xFFE6),
    (0x1F300, 0x1F3FA),
    (0x1F400, 0x1F64F),
    (0x1F680, 0x1F6FF),
    (0x1F900, 0x1F9FF),
)
"""Ranges in which each character is a grapheme cluster of its own, whatever stands beside it, as long as only these are
there: no combining marks, jamo, joiners, selectors, skin tones, flags or carriage returns. `tokenizers` looks up whole
clusters, not characters, where a SentencePiece model has a map of its own."""

_LONGEST = 64
_SAMPLED = 4000


class UnsuitableError(Exception):
    """This tokenizer cannot be stored as arrays."""


def write_unigram(backend: Backend, directory: Path) -> None:
    """Store `backend` in `directory` for `open_unigram`.

    Raises:
        UnsuitableError: it is no Unigram tokenizer as XLM-RoBERTa's, or the arrays did not give its ids in a trial.
    """
    described = json.loads(backend.to_str())
    model = described["model"]
    if model["type"] != "Unigram" or model["unk_id"] is None or model["byte_fallback"]:
        raise UnsuitableError("the model is another")
    charsmap, steps = _normalizer(described["normalizer"])
    pieces = {piece: number for number, (piece, _) in enumerate(model["vocab"])}
    lowest = min(score for _, score in model["vocab"])
    longest = max(map(len, pieces))
    # With a lowest score above 0, two unknown characters could be better than the one piece that they are.
    if "" in pieces or longest > _LONGEST or lowest > 0:
        raise UnsuitableError("the vocabulary is of another kind")
    stops = [token["content"] for token in described["added_tokens"]]
    stops.append(model["vocab"][model["unk_id"]][0])
    if backend.normalizer is not None:
        stops += [backend.normalizer.normalize_str(stop) for stop in stops]
    if "" in stops:
        raise UnsuitableError("an added token is empty")
    plan = Plan(
        steps=steps,
        splits=_splits(described["pre_tokenizer"]),
        stops=sorted(set(stops)),
        longest=longest,
        unknown=model["unk_id"],
        unknown_score=lowest - 10,
    )
    forms = _forms(charsmap)
    arrays = _arrays(forms, pieces, [score for _, score in model["vocab"]])
    _try(Unigram(arrays, plan), backend, list(pieces), list(forms))
    (directory / "plan.json").write_text(json.dumps(plan._asdict(), ensure_ascii=False), "utf-8")
    for name, array in arrays._asdict().items():
        np.save(directory / f"{name}.npy", array)


def _normalizer(described: dict[str, Any] | None) -> tuple[bytes, list[str]]:
    """SentencePiece's map, empty where there is none, and what follows it as in `Plan`."""
    parts = [] if described is None else described.get("normalizers", [described])
    charsmap = b""
    if parts and parts[0]["type"] == "Precompiled":
        charsmap = base64.b64decode(parts[0]["precompiled_charsmap"])
        parts = parts[1:]
    steps = []
    for part in parts:
        if part == {"type": "Strip", "strip_left": False, "strip_right": True}:
            steps.append("strip")
        elif part in [
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": content} for content in (" ", METASPACE)
        ]:
            steps.append(part["content"])
        else:
            raise UnsuitableError(f"the normalizer {part['type']}")
    return charsmap, steps


def _splits(described: dict[str, Any] | None) -> bool:
    metaspace = {"type": "Metaspace", "replacement": METASPACE, "prepend_scheme": "always", "split": True}
    if described == metaspace:
        return False
    if described == {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]}:
        return True
    raise UnsuitableError("the pre-tokenizer is another")


def _forms(charsmap: bytes) -> dict[str, str]:
    """The normalised form of each character that has an answer."""
    from tokenizers import normalizers

    characters = [
        chr(code)
        for first, last in _SINGLE
        for code in range(first, last + 1)
        if chr(code) in "\t\n" or unicodedata.category(chr(code))[0] not in "CM"
    ]
    if not charsmap:
        forms = {character: character for character in characters}
    else:
        normalizer = normalizers.Precompiled(charsmap)
        forms = {character: normalizer.normalize_str(character) for character in characters}
        for ordered in (characters, characters[::-1]):
            if normalizer.normalize_str("".join(ordered)) != "".join(map(forms.__getitem__, ordered)):
                raise UnsuitableError("characters are normalised together")
    # The pre-tokenizer knows more kinds of space than the one.
    return {one: form for one, form in forms.items() if not any(c.isspace() and c != " " for c in form)}


def _arrays(forms: dict[str, str], pieces: dict[str, int], scores: Sequence[float]) -> Arrays:
    changed = sorted(character for character, form in forms.items() if form != character)
    kinds = np.zeros(max(map(ord, forms)) + 1, dtype=np.uint16)
    kinds[list(map(ord, forms))] = 1
    kinds[list(map(ord, changed))] = np.arange(2, len(changed) + 2)
    form_codes, form_offsets = _flat([forms[character] for character in changed])

    codes, offsets = _flat(list(pieces))
    hashes = substring_hashes(codes, offsets[:-1].astype(np.int64), np.diff(offsets).astype(np.int64))
    order = np.argsort(hashes)
    if len(np.unique(hashes)) < len(hashes):
        raise UnsuitableError("two pieces have one hash")
    names = list(pieces)
    codes, offsets = _flat([names[row] for row in order])
    ids = np.array(list(pieces.values()), dtype=np.int32)[order]
    return Arrays(
        characters=kinds,
        forms=form_codes,
        form_offsets=form_offsets,
        hashes=hashes[order],
        ids=ids,
        scores=np.array(scores, dtype=np.float64)[ids],
        pieces=codes,
        piece_offsets=offsets,
    )


def _flat(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The code points of all texts, and where each text begins and the last ends."""
    offsets = np.zeros(len(texts) + 1, dtype=np.uint32)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    return np.frombuffer("".join(texts).encode("utf-32-le"), "<u4"), offsets


def _try(unigram: Unigram, backend: Backend, pieces: Sequence[str], characters: Sequence[str]) -> None:
    """Compare the ids of some thousand pieces and characters, ten together, with those of `backend`."""
    sample = [part for parts in (pieces, characters) for part in parts[:: len(parts) // _SAMPLED + 1]]
    texts = ["".join(sample[start : start + 10]).replace(METASPACE, " ") for start in range(0, len(sample), 10)]
    texts += ["", " ", "  a  b  ", METASPACE]
    for text, encoding in zip(texts, backend.encode_batch_fast(texts, add_special_tokens=False), strict=True):
        ids = unigram.ids([text])
        if ids is not None and ids != [encoding.ids]:
            raise UnsuitableError(f"the ids of {text!r} are others")
