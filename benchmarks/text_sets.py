"""What encoders are timed on: seeded texts of asked lengths, cut from the labelled sets or, where those are absent,
made of made-up words.
"""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TokenStarts = Callable[[Sequence[str]], Sequence[NDArray[np.int64]]]
"""For each text the starts of its tokens in code points, as `Encoder.token_starts` gives them."""

_KOREAN = ("ko-klue-mrc-lead", "ko-tydiqa-goldp")
_CHARACTERS_PER_TOKEN = 8
"""More than a token has in any text used here, so that what is joined is never too short."""


@dataclass(frozen=True, slots=True)
class Source:
    """Different texts in a seeded order, and where they are from."""

    texts: list[str]
    origin: str


def english(data: Path, *, seed: int) -> Source:
    """Lines of en-short."""
    file = data / "en-short" / "texts.txt"
    if not file.is_file():
        return Source(generated("en", 20_000, seed=seed), "generated words")
    return Source(_shuffled(file.read_text("utf-8").splitlines(), seed), "en-short")


def korean(data: Path, *, seed: int) -> Source:
    """Passages of KLUE-MRC and TyDi QA and reviews of NSMC."""
    passages = [data / name / "corpus.jsonl.gz" for name in _KOREAN]
    reviews = data / "ko-nsmc" / "train.tsv.gz"
    if not all(file.is_file() for file in (*passages, reviews)):
        return Source(generated("ko", 20_000, seed=seed), "generated words")
    texts = [str(json.loads(line)["text"]) for file in passages for line in _unpacked(file)]
    texts += [line.split("\t")[1] for line in _unpacked(reviews)[1:]]
    return Source(_shuffled(texts, seed), ", ".join((*_KOREAN, "ko-nsmc")))


def generated(language: str, count: int, *, seed: int) -> list[str]:
    """Lines of 4 to 40 words out of 4,000, the n-th of them n times rarer than the first."""
    random = np.random.default_rng(seed)
    if language == "ko":
        syllables = [chr(code) for code in random.choice(np.arange(0xAC00, 0xD7A4), 300, replace=False)]
    else:
        syllables = [a + b for a in "bcdfghjklmnprstvwz" for b in "aeiou"]
    words = ["".join(random.choice(syllables, size)) for size in random.integers(1, 5, 4000)]
    shares = 1 / np.arange(1, len(words) + 1)
    sizes = random.integers(4, 41, count)
    drawn = random.choice(len(words), sizes.sum(), p=shares / shares.sum())
    return [" ".join(words[i] for i in row) for row in np.split(drawn, np.cumsum(sizes)[:-1])]


def spread(low: int, high: int, count: int, *, seed: int) -> list[int]:
    """`count` lengths evenly over low to high, both included, in a seeded order."""
    lengths = np.linspace(low, high, count).round().astype(int)
    return [int(length) for length in np.random.default_rng(seed).permutation(lengths)]


def cut(source: Sequence[str], lengths: Sequence[int], token_starts: TokenStarts, specials: int) -> list[str]:
    """Different texts of these lengths in tokens, special ones included: lines joined in turn, cut between tokens.

    A tokenizer may see a cut text otherwise than its beginning in the longer one, by a token or two. Where the source
    is so small that texts would come twice, there are fewer.
    """
    lines = itertools.cycle(source)
    joined = []
    for length in lengths:
        parts: list[str] = []
        while sum(map(len, parts)) < _CHARACTERS_PER_TOKEN * length:
            parts.append(next(lines))
        joined.append(" ".join(parts))
    texts = [
        text[: starts[length - specials]].rstrip() if length - specials < len(starts) else text
        for text, length, starts in zip(joined, lengths, token_starts(joined), strict=True)
    ]
    return list(dict.fromkeys(texts))


def _shuffled(texts: Sequence[str], seed: int) -> list[str]:
    different = list(dict.fromkeys(text for text in (text.strip() for text in texts) if text))
    return [different[i] for i in np.random.default_rng(seed).permutation(len(different))]


def _unpacked(file: Path) -> list[str]:
    with gzip.open(file, "rt", encoding="utf-8") as opened:
        return opened.read().splitlines()
