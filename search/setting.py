"""The ways to search that an evaluation compares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Final

from yusa.search.ranking import DEFAULT_WEIGHT
from yusa.search.rerank import DEFAULT_DEPTH
from yusa.search.searcher import CHOICES, Mode

DEFAULT_TOP_K: Final = 100
_NAMED: Final = ("encoder", "pooling", "rerank", "rerank_depth", "where", "top_k")


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to search, complete: nothing in it is left to what an index was tuned to.

    Attributes:
        weight: of the dense score; None where the mode is not "hybrid".
        rerank: a cross-encoder's name, None for none; `rerank_depth` is None then, too.
    """

    mode: Mode = "hybrid"
    weight: float | None = None
    rerank: str | None = None
    rerank_depth: int | None = None
    encoder: str | None = None
    pooling: str | None = None
    where: str | None = None
    top_k: int = DEFAULT_TOP_K

    def to_dict(self) -> dict[str, Any]:
        """What it says, without what has no meaning in it."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def choice(self) -> dict[str, Any]:
        """What `Index.tune` keeps of it."""
        return {name: value for name, value in self.to_dict().items() if name in CHOICES}


def grid(
    *,
    modes: Sequence[Mode] = ("hybrid",),
    weights: Sequence[float] = (DEFAULT_WEIGHT,),
    reranks: Sequence[str | None] = (None,),
    depths: Sequence[int] = (DEFAULT_DEPTH,),
    encoders: Sequence[str | None] = (None,),
    poolings: Sequence[str | None] = (None,),
    where: str | None = None,
    top_k: int = DEFAULT_TOP_K,
) -> list[Setting]:
    """Every combination, the first values first; weights count in mode "hybrid" only, depths with a reranker only."""
    combined = product(encoders, poolings, reranks, depths, modes, weights)
    settings = (
        Setting(
            mode,
            weight if mode == "hybrid" else None,
            rerank,
            depth if rerank else None,
            encoder,
            pooling,
            where,
            top_k,
        )
        for encoder, pooling, rerank, depth, mode, weight in combined
    )
    return list(dict.fromkeys(settings))


def labels(settings: Iterable[Setting]) -> list[str]:
    """A short name for each: its mode, and of the rest what is not the same in all."""
    rows = [setting.to_dict() for setting in settings]
    varying = [name for name in _NAMED if len({str(row.get(name)) for row in rows}) > 1]
    weighted = len({row.get("weight") for row in rows if row["mode"] == "hybrid"}) > 1
    return [_label(row, varying, weighted=weighted) for row in rows]


def _label(row: dict[str, Any], varying: Sequence[str], *, weighted: bool) -> str:
    parts = [row["mode"]]
    if weighted and "weight" in row:
        parts.append(f"{row['weight']:g}")
    for name in varying:
        if name == "rerank_depth":
            parts.append(f"first {row[name]}" if name in row else "")
        elif name == "rerank":
            parts.append(f"+ {row[name]}" if name in row else "")
        else:
            parts.append(str(row.get(name, "")))
    return " ".join(filter(None, parts))
