"""Which models are timed on which texts, and how many of these fit into a share of the time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import yusa
from benchmarks import text_sets
from benchmarks.checkpoints import Model, e5_small, minilm, random_bert, with_pooling
from benchmarks.limits import Shape

KCBERT, E5, MINILM, TINY = "kcbert-base shape", "multilingual-e5-small", "all-MiniLM-L6-v2", "tiny"
KCBERT_SHAPE, KCBERT_POSITIONS = Shape(layers=12, hidden=768, inner=3072), 300
TINY_SHAPE, TINY_POSITIONS = Shape(layers=2, hidden=64, inner=128), 64
SEED = 7
CHUNK = 512


@dataclass(frozen=True, slots=True)
class Case:
    """One model on one set.

    Attributes:
        weight: of its share of the time.
        least: texts at least; sets of many lengths need several of a peer's batches, or padding is all that is timed.
        sweep: batch sizes tried on a CPU beside the peer's default; without any only the default is timed.
    """

    model: str
    set: str
    weight: float
    least: int
    sweep: tuple[int, ...] = ()
    pooling: str = "mean"

    @property
    def name(self) -> str:
        return f"{self.model}, {self.set}" + ("" if self.pooling == "mean" else f", {self.pooling}")


CASES = [
    Case(KCBERT, "medium", 5, 16, (8,)),
    Case(KCBERT, "mix", 8, 48),
    Case(KCBERT, "short", 2, 32, (8, 16)),
    Case(KCBERT, "long", 2, 8),
    Case(KCBERT, "medium", 2, 16, pooling="cls"),
    Case(E5, "mix", 14, 160, (8, 16)),
    Case(E5, "short", 1, 64, (8, 16, 64)),
    Case(E5, "medium", 1, 16, (8,)),
    Case(E5, "long", 2, 8),
    Case(E5, "en-short", 8, 320, (8, 16, 64, 128)),
    Case(MINILM, "mix", 3, 128, (8, 16)),
    Case(MINILM, "short", 1, 128, (8, 16, 64)),
    Case(MINILM, "medium", 1, 32, (8, 16)),
    Case(MINILM, "long", 1, 16, (8,)),
    Case(MINILM, "en-short", 8, 512, (8, 16, 64, 128)),
]
"""Those whose least fills their share come first; en-short takes what is left."""
TINY_CASES = [Case(TINY, name, 1, 8, (8,)) for name in ("short", "mix")]


class Workshop:
    """Makes models and texts, in a folder of its own; the same seed makes the same."""

    def __init__(self, folder: Path, data: Path) -> None:
        self._folder = folder
        self._models: dict[tuple[str, str], Model] = {}
        self.english = text_sets.english(data, seed=SEED)
        self.korean = text_sets.korean(data, seed=SEED)

    def model(self, case: Case) -> Model:
        key = (case.model, case.pooling)
        if key not in self._models:
            self._models[key] = self._made(case)
        return self._models[key]

    def _made(self, case: Case) -> Model:
        if case.model == MINILM:
            return minilm()
        folder = self._folder / case.model.partition(" ")[0]
        if case.model == E5:
            return e5_small(folder)
        tiny = case.model == TINY
        shape, positions = (TINY_SHAPE, TINY_POSITIONS) if tiny else (KCBERT_SHAPE, KCBERT_POSITIONS)
        if not (folder / "body").exists():
            lines = (self.korean.texts + self.english.texts)[:: 40 if tiny else 1]
            random_bert(folder / "body", shape, lines, vocabulary=2000 if tiny else 30_000, positions=positions)
        directory = with_pooling(folder / case.pooling, folder / "body", shape, positions, case.pooling)
        return Model(case.model, str(directory), directory)

    def texts(self, case: Case, encoder: yusa.Encoder, tokens: float, most: int) -> list[str]:
        """Texts of about `tokens` together, `case.least` at least, `most` at most."""
        source = self.english if case.model == MINILM or case.set == "en-short" else self.korean
        if case.set == "en-short":
            known = token_lengths(encoder, source.texts[:200])
            return source.texts[: _bounded(tokens / float(np.mean(known)), case.least, most)]
        low, high = self.bounds(case, encoder)
        count = _bounded(tokens / ((low + high) / 2), case.least, most)
        lengths = text_sets.spread(low, high, count, seed=SEED)
        specials = token_lengths(encoder, [""])[0]
        # Every case begins elsewhere in the source, so that no text is in two sets.
        start = random.Random(case.set).randrange(len(source.texts))
        return text_sets.cut(source.texts[start:] + source.texts[:start], lengths, encoder.token_starts, specials)

    def bounds(self, case: Case, encoder: yusa.Encoder) -> tuple[int, int]:
        """The least and the greatest length in tokens."""
        limit = encoder.max_length
        long = (min(512, limit), min(512, limit))
        return {"short": (16, 32), "medium": (min(128, limit),) * 2, "long": long, "mix": (8, min(300, limit))}[
            case.set
        ]

    def origin(self, case: Case) -> str:
        return (self.english if case.model == MINILM or case.set == "en-short" else self.korean).origin


def token_lengths(encoder: yusa.Encoder, texts: Sequence[str]) -> list[int]:
    """Tokens of each text as the encoder takes it, special ones included and truncated, without prompt."""
    return [
        int(length)
        for start in range(0, len(texts), CHUNK)
        for length in encoder.features(texts[start : start + CHUNK]).attention_mask.sum(axis=1)
    ]


def padding(characters: Sequence[int], lengths: Sequence[int], batch: int) -> float:
    """The share of padding among the tokens that sentence-transformers computes: it sorts by characters."""
    order = sorted(range(len(lengths)), key=lambda row: -characters[row])
    batches = [[lengths[row] for row in order[start : start + batch]] for start in range(0, len(order), batch)]
    return 1 - sum(lengths) / sum(max(part) * len(part) for part in batches)


def _bounded(count: float, least: int, most: int) -> int:
    return max(least, min(most, int(count)))
