"""A Hit: one answer to a query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from yusa.storage.records import Json


@dataclass(frozen=True, slots=True)
class PassageRef:
    """Which passage of the document a hit shows: `document.text[start:end]`, in code points."""

    ordinal: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A passage before or after the one that a hit shows."""

    ordinal: int
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """One passage that answers a query, with what is shown of its document.

    Attributes:
        rank: from 1; the second page goes on where the first ended.
        score: what the hits are sorted by: in mode "dense" the cosine, in "lexical" BM25, in "hybrid" the weighted sum
            of both, each set to 0 at the 100th and 1 at the best of its list; the reranker's where there is one.
        text: the passage.
        highlights: (start, end) offsets into `text` of the words that match the query.
        scores: every part of the score by name: "dense" is the cosine, "lexical" BM25, "rerank" the reranker's.
        snippet: (start, end) offsets into `text` of the one or two sentences that answer best.
        ranks: the passage's place in each part's own list, from 1, where it was looked at.
        context: neighbouring passages, where they were asked for, in their order.
        collapsed: ids of documents left out because what they say is near-identical to this hit.
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
    snippet: tuple[int, int] = (0, 0)
    ranks: Mapping[str, int] = field(default_factory=dict)
    context: tuple[Neighbour, ...] = ()
    collapsed: tuple[str, ...] = ()

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
            "snippet": list(self.snippet),
            "ranks": dict(self.ranks),
            **({"context": [asdict(one) for one in self.context]} if self.context else {}),
            **({"collapsed": list(self.collapsed)} if self.collapsed else {}),
        }
