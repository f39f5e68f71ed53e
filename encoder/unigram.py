"""A Unigram tokenizer as memory-mapped arrays: a few short texts to ids without reading the tokenizer's own file.

Every id is the one that `tokenizers` gives. Where that is not certain there is no answer, and the caller asks
`tokenizers` itself. `unigram_arrays.py` writes the arrays and says which texts they are certain about.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

METASPACE = "▁"
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_SPACES = re.compile(" {2,}")


class Arrays(NamedTuple):
    """What is stored, each as NAME.npy. Pieces stand in the order of their hashes.

    Attributes:
        characters: uint16 (code points,), 0 for a character without an answer, 1 for one that stays as it is, n + 2
            for one that becomes form n.
        forms, form_offsets: uint32 code points of all forms; uint32 (forms + 1,) where each begins.
        hashes: uint64 (pieces,), sorted, all different.
        ids: int32 (pieces,)
        scores: float64 (pieces,)
        pieces, piece_offsets: as for the forms.
    """

    characters: NDArray[np.uint16]
    forms: NDArray[np.uint32]
    form_offsets: NDArray[np.uint32]
    hashes: NDArray[np.uint64]
    ids: NDArray[np.int32]
    scores: NDArray[np.float64]
    pieces: NDArray[np.uint32]
    piece_offsets: NDArray[np.uint32]


class Plan(NamedTuple):
    """What is stored beside the arrays, as JSON.

    Attributes:
        steps: after the characters' forms: "strip", which drops spaces at the end, or what runs of spaces become.
        splits: whether spaces divide words and disappear, or each becomes the first character of a word.
        stops: no answer for a text that holds one of these, before or after its normalisation.
        longest: characters of the longest piece.
        unknown, unknown_score: id of the unknown token, and the score of one unknown character.
    """

    steps: list[str]
    splits: bool
    stops: list[str]
    longest: int
    unknown: int
    unknown_score: float


class Unigram:
    """Texts to ids. Threads may share it."""

    def __init__(self, arrays: Arrays, plan: Plan) -> None:
        self._arrays = arrays
        self._plan = plan
        self._lengths = np.arange(1, plan.longest + 1)

    def ids(self, texts: Sequence[str]) -> list[list[int]] | None:
        """Ids of each text without special tokens; None where they are not certain."""
        words = []
        for text in texts:
            normal = self._normalized(text)
            if normal is None:
                return None
            words.append(self._words(normal))
        segmented = self._segmented("".join(words))
        if segmented is None:
            return None
        ids, begins = segmented
        ends = [bisect_left(begins, end) for end in accumulate(map(len, words))]
        return [ids[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def _normalized(self, text: str) -> str | None:
        try:
            codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
        except UnicodeEncodeError:  # half of a surrogate pair
            return None
        if not len(codes):
            return ""
        characters = self._arrays.characters
        if codes.max() >= len(characters):
            return None
        kinds = characters[codes]
        if not kinds.all():
            return None
        normal = text
        if kinds.max() > 1:
            changed = kinds > 1
            forms = zip(codes[changed].tolist(), kinds[changed].tolist(), strict=True)
            normal = text.translate({code: self._form(kind - 2) for code, kind in set(forms)})
        for step in self._plan.steps:
            normal = normal.rstrip(" ") if step == "strip" else _SPACES.sub(step, normal)
        if any(stop in text or stop in normal for stop in self._plan.stops):
            return None
        return normal

    def _form(self, number: int) -> str:
        start, end = self._arrays.form_offsets[number : number + 2]
        return self._arrays.forms[start:end].astype("<u4").tobytes().decode("utf-32-le")

    def _words(self, normal: str) -> str:
        """The words of a text one after another, each with METASPACE as its first character and nowhere else."""
        if self._plan.splits:
            parts = [part for part in normal.split(" ") if part]
        else:
            parts = [normal.replace(" ", METASPACE)] if normal else []
        return "".join(part if part.startswith(METASPACE) else METASPACE + part for part in parts)

    def _segmented(self, text: str) -> tuple[list[int], list[int]] | None:
        """Ids and first positions of the tokens of words.

        As `tokenizers` does in Unigram::encode_optimized: of the pieces that end at a character the one with the
        highest sum of scores from the start of its word, the first found of equals; a character that is no piece has
        a score below all pieces; neighbouring unknown tokens of a word are one.
        """
        codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
        size = len(codes)
        if not size:
            return [], []
        opens = codes == ord(METASPACE)
        word_ends = np.append(np.flatnonzero(opens)[1:], size)
        room = word_ends[np.cumsum(opens) - 1] - np.arange(size)
        # In the order in which they are tried: by first character, then by length.
        starts, columns = np.nonzero(self._lengths <= room[:, None])
        lengths = columns + 1
        rows, hits = self._found(codes, starts, lengths)
        if not self._same(codes, starts[hits], lengths[hits], rows[hits]):
            return None
        edges = hits | (lengths == 1)
        starts, rows, hits = starts[edges], rows[edges], hits[edges]
        ends = starts + lengths[edges]
        scores = np.where(hits, self._arrays.scores[rows], self._plan.unknown_score)
        ids = np.where(hits, self._arrays.ids[rows], self._plan.unknown)

        first = opens.tolist()
        best, origin, chosen = [0.0] * (size + 1), [-1] * (size + 1), [0] * (size + 1)
        for start, end, score, token in zip(starts.tolist(), ends.tolist(), scores.tolist(), ids.tolist(), strict=True):
            total = score if first[start] else score + best[start]
            if origin[end] < 0 or total > best[end]:
                best[end], origin[end], chosen[end] = total, start, token

        tokens: list[int] = []
        begins: list[int] = []
        joins = False
        end = size
        while end > 0:
            token, end = chosen[end], origin[end]
            unknown = token == self._plan.unknown
            if joins and unknown:
                begins[-1] = end
            else:
                tokens.append(token)
                begins.append(end)
            joins = unknown and not first[end]
        return tokens[::-1], begins[::-1]

    def _found(
        self, codes: NDArray[np.uint32], starts: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """For each substring the row of the piece that has its hash, and whether there is one."""
        hashes = substring_hashes(codes, starts, lengths)
        rows = np.minimum(np.searchsorted(self._arrays.hashes, hashes), len(self._arrays.hashes) - 1)
        return rows, self._arrays.hashes[rows] == hashes

    def _same(
        self, codes: NDArray[np.uint32], starts: NDArray[np.int64], lengths: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> bool:
        """Whether each substring is the piece in its row, as another string can have the same hash."""
        offsets = self._arrays.piece_offsets[rows].astype(np.int64)
        if not np.array_equal(self._arrays.piece_offsets[rows + 1] - offsets, lengths):
            return False
        within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return np.array_equal(
            codes[np.repeat(starts, lengths) + within], self._arrays.pieces[np.repeat(offsets, lengths) + within]
        )


def substring_hashes(
    codes: NDArray[np.uint32], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """uint64, one per substring: the sum of code i times the base to the power i, modulo 2^64 (Karp and Rabin 1987)."""
    powers = np.cumprod(np.full(len(codes), _BASE, dtype=np.uint64))
    inverses = np.cumprod(np.full(len(codes), _INVERSE, dtype=np.uint64))
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum(codes * powers, out=sums[1:])
    hashes: NDArray[np.uint64] = (sums[starts + lengths] - sums[starts]) * inverses[starts]
    return hashes


def open_unigram(directory: Path) -> Unigram | None:
    """What `write_unigram` wrote; None where it cannot be read."""
    try:
        stored: Any = json.loads((directory / "plan.json").read_text("utf-8"))
        # asarray, because a view is quicker than the memmap it looks at.
        arrays = [np.asarray(open_memmap(directory / f"{name}.npy", mode="r")) for name in Arrays._fields]
        return Unigram(Arrays(*arrays), Plan(**stored))
    except (OSError, EOFError, ValueError, TypeError):
        return None
