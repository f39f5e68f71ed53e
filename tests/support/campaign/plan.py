"""The seeded plan: which operation a step is. Nothing but a function of the seed, the step and the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from campaign.model import ENCODERS, Encoding, Kept, World
from campaign.operations import (
    Add,
    Backup,
    Compact,
    Delete,
    Discard,
    Operation,
    Reindex,
    Restore,
    Rollback,
    Tune,
    can_reindex,
    can_restore,
)
from yusa.storage import Document

SOURCES = ("a", "b")
IDS = 35
"""Ids of each source; a batch meets new ones and held ones."""
_BATCH = 14
_WORDS = [
    "바다",
    "겨울",
    "도서관",
    "지도",
    "버스",
    "아침",
    "연못",
    "돌담",
    "편지",
    "시장",
    "winter",
    "harbour",
    "library",
    "letters",
    "market",
    "running",
    "runner",
    "stones",
    "bridge",
    "rivers",
    "2024",
    "RFC-2119",
    "제12조",
    "KTX열차",
]
_CUTS = ((8, 2), (12, 0), (6, 3))
_CHOICES: tuple[dict[str, object], ...] = (
    {},
    {"mode": "dense"},
    {"mode": "hybrid", "weight": 0.25},
    {"mode": "lexical"},
    {"weight": 0.75},
)
_WEIGHTS = {
    "add": 26,
    "replace": 20,
    "delete": 10,
    "prune": 9,
    "compact": 9,
    "tune": 5,
    "backup": 8,
    "restore": 9,
    "restore beside": 3,
    "reindex": 14,
    "rollback": 10,
    "discard": 2,
}


def operation(seed: int, step: int, world: World) -> Operation:
    """What step `step` of the plan does to a world."""
    random = np.random.default_rng([seed, step])
    possible = [kind for kind in _WEIGHTS if _possible(kind, world)]
    weights = np.array([_WEIGHTS[kind] for kind in possible], dtype=float)
    kind = str(random.choice(possible, p=weights / weights.sum()))
    source = str(random.choice(SOURCES))
    if kind in {"add", "replace", "prune"}:
        return _add(kind, source, random, step, world)
    return _other(kind, random, step, world)


def probe(step: int) -> Operation:
    """One more document, which shows that an index takes documents after a kill."""
    return Add("add", "probe", (Kept(Document("probe", f"probe of step {step}", None, {"s": step}), "probe"),))


@cache
def _able() -> tuple[bool, bool]:
    return can_restore(), can_reindex()


def _possible(kind: str, world: World) -> bool:
    restores, reindexes = _able()
    match kind:
        case "replace" | "delete":
            return bool(world.index.documents)
        case "restore" | "restore beside":
            return restores and bool(world.copies)
        case "reindex" | "discard":
            return reindexes
        case "rollback":
            return reindexes and world.index.previous is not None
    return True


def _add(kind: str, source: str, random: np.random.Generator, step: int, world: World) -> Operation:
    held = {id: kept for id, kept in world.index.documents.items() if kept.source == source}
    everyone = [f"{source}{number}" for number in range(IDS)]
    pool = sorted(held) if kind == "replace" and held else everyone
    count = int(random.integers(1, _BATCH + 1))
    ids = [str(id) for id in random.permutation(pool)[:count]]
    documents = [_document(id, source, random, step, world) for id in ids]
    if kind != "prune":
        return Add(kind, source, tuple(documents))
    # Most of what is held stays as it is, else every pruning would leave the index empty.
    stay = [kept for id, kept in held.items() if id not in ids and random.random() < 0.7]
    return Add(kind, source, (*stay, *documents), prune=True)


def _document(id: str, source: str, random: np.random.Generator, step: int, world: World) -> Kept:
    metadata = {"s": step, "even": step % 2 == 0, "tags": [source, f"t{step % 5}"]}
    held = world.index.documents.get(id)
    draw = random.random()
    if held is not None and draw < 0.15:
        return Kept(replace(held.document, metadata=metadata), source)
    if world.index.documents and draw < 0.3:
        # Another document's text: its vectors are taken over, not encoded again.
        other = world.index.documents[str(random.choice(sorted(world.index.documents)))].document
        return Kept(Document(id, other.text, other.title, metadata), source)
    count = int(random.integers(1, 28))
    words = [str(word) for word in random.choice(_WORDS, size=count)]
    sentences = [" ".join(words[start : start + 5]) for start in range(0, count, 5)]
    text = f"{id} at step{step}. " + ". ".join(sentences) + "."
    title = f"Title {id}" if random.random() < 0.4 else None
    return Kept(Document(id, text, title, metadata), source)


def _other(kind: str, random: np.random.Generator, step: int, world: World) -> Operation:
    makers: dict[str, Callable[[], Operation]] = {
        "delete": lambda: Delete(_some(random, world.index.documents, 10)),
        "compact": Compact,
        "tune": lambda: Tune(_CHOICES[int(random.integers(len(_CHOICES)))]),
        "backup": lambda: Backup(f"backup-{step}"),
        "restore": lambda: _restore(random, None, world),
        "restore beside": lambda: _restore(random, f"restored-{step}", world),
        "reindex": lambda: Reindex(_target(random, world)),
        "rollback": Rollback,
        "discard": Discard,
    }
    return makers[kind]()


def _some(random: np.random.Generator, documents: Mapping[str, Kept], most: int) -> tuple[str, ...]:
    count = int(random.integers(1, most))
    return tuple(str(id) for id in random.permutation(sorted(documents))[:count])


def _restore(random: np.random.Generator, target: str | None, world: World) -> Operation:
    name = str(random.choice(sorted(world.copies)))
    return Restore(name, bool(random.random() < 0.5), target)


def _target(random: np.random.Generator, world: World) -> Encoding:
    index = world.index
    if index.pending is not None and random.random() < 0.7:
        return index.pending
    others = [name for name in ENCODERS if name != index.encoding.name]
    tokens, overlap = _CUTS[int(random.integers(len(_CUTS)))]
    return Encoding(str(random.choice(others)), tokens, overlap)
