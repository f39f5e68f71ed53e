"""A Hit: one answer to a query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yusa.storage.records import Json


@dataclass(frozen=True, slots=True)
class PassageRef:
    """Which passage of the document a hit shows: `document.text[start:end]`, in code points."""

    ordinal: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Hit:
    """One passage that answers a query, with what is shown of its document.

    Attributes:
        rank: from 1; the second page goes on where the first ended.
        score: what the hits are sorted by; in mode "dense" the cosine.
        text: the passage.
        highlights: (start, end) offsets into `text` of what is nearest to the query.
        scores: every part of the score by name.
    """

    rank: int
    id: str
    score: float
    title: str | None
    text: str
    highlights: tuple[tuple[int, int], ...]
    metadata: Mapping[str, Json]
    passage: PassageRef
    scores: Mapping[str, float]
    source: str

    def to_dict(self) -> dict[str, Any]:
        """What `search --format json` prints of it."""
        return {
            "rank": self.rank,
            "score": self.score,
            "id": self.id,
            "title": self.title,
            "text": self.text,
            "highlights": [list(span) for span in self.highlights],
            "passage": {"ordinal": self.passage.ordinal, "start": self.passage.start, "end": self.passage.end},
            "metadata": dict(self.metadata),
            "scores": dict(self.scores),
        }
