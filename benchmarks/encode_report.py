"""What a run of `benchmarks.encode` shows: a row for each case, and the bars."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.encode_cases import E5, KCBERT, MINILM
from benchmarks.turns import Bar, middle, ratios, table

COSINE = 0.99999
"""The gate: what any text's vector must have with the peer's in float32, or the figure beside it counts for nothing."""
INVARIANCE = 2e-6

OURS = "yusa"
DEFAULT, BEST, PLAIN = "sentence-transformers default", "sentence-transformers best", "transformers sorted"


def row(
    times: dict[str, list[float]], lengths: list[int], flops: float, limits: list[float], gate: dict[str, float] | None
) -> dict[str, Any]:
    """The figures of one case from seconds of each path, a round after another, and the limit measured beside each."""
    ours = times[OURS]
    tokens = sum(lengths)
    return {
        "texts": len(lengths),
        "tokens": tokens,
        "lengths": [min(lengths), round(tokens / len(lengths), 1), max(lengths)],
        "seconds": {name: middle(values) for name, values in times.items()},
        "rounds": {name: len(values) for name, values in times.items()},
        "tokens_per_second": {name: round(tokens / middle(values)["median"], 1) for name, values in times.items()},
        "texts_per_second": {name: round(len(lengths) / middle(values)["median"], 1) for name, values in times.items()},
        "times_as_fast_as": {
            name: ratios(ours[: len(values)], values) for name, values in times.items() if name != OURS
        },
        "limit_gflops": middle([limit / 1e9 for limit in limits], 1),
        "of_limit": middle([flops / s / limit for s, limit in zip(ours, limits, strict=True)], 3),
        "gate": gate,
    }


def compare(ours: NDArray[np.float32], reference: NDArray[np.float32]) -> dict[str, float]:
    """How far unit vectors are from those they should be."""
    a, b = ours.astype(np.float64), reference.astype(np.float64)
    cosines = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return {"smallest_cosine": round(float(cosines.min()), 9), "largest_difference": float(np.abs(a - b).max())}


def sound(case: dict[str, Any] | None) -> bool:
    return bool(case and case["gate"] and case["gate"]["smallest_cosine"] >= COSINE)


def bars(cases: dict[str, dict[str, Any]], invariance: dict[str, float], *, gpu: bool) -> list[Bar]:
    def times_as_fast(name: str, wanted: float, peer: str) -> Bar:
        found = cases.get(name, {}).get("times_as_fast_as", {}).get(peer, {}).get("median")
        return Bar(f"{name}: times as fast as {peer}", ">=", wanted, found, sound(cases.get(name)))

    def rate(name: str) -> float | None:
        found = cases.get(name, {}).get("tokens_per_second", {}).get(OURS)
        return None if found is None else float(found)

    if gpu:
        found = [times_as_fast(f"{KCBERT}, medium", 4, BEST)]
        for model in (MINILM, E5):
            found.append(times_as_fast(f"{model}, medium", 5, BEST))
            short, medium = rate(f"{model}, short"), rate(f"{model}, medium")
            share = short / medium if short and medium else None
            found.append(Bar(f"{model}: token rate of short texts to medium ones", ">=", 0.6, share))
    else:
        found = [times_as_fast(f"{model}, en-short", 2.6, DEFAULT) for model in (MINILM, E5)]
        found += [times_as_fast(f"{model}, mix", 2.0, DEFAULT) for model in (E5, KCBERT)]
        case = cases.get(f"{KCBERT}, medium")
        of_limit = case["of_limit"]["median"] if case else None
        found.append(Bar(f"{KCBERT}, medium: of the limit", ">=", 0.80, of_limit, sound(case)))
    found += [
        Bar(f"{name}: largest difference by batch mates", "<=", INVARIANCE, value) for name, value in invariance.items()
    ]
    return found


def printed(cases: dict[str, dict[str, Any]]) -> str:
    head = ["case", "texts", "tokens/s", "texts/s", "x default", "x best", "x plain", "of limit", "cosine", "largest d"]

    def line(name: str, case: dict[str, Any]) -> list[str]:
        gate = case["gate"] or {}
        peers = [case["times_as_fast_as"].get(peer) for peer in (DEFAULT, BEST, PLAIN)]
        return [
            name,
            str(case["texts"]),
            f"{case['tokens_per_second'][OURS]:,.0f}",
            f"{case['texts_per_second'][OURS]:,.1f}",
            *("-" if peer is None else f"{peer['median']:.2f} ({peer['min']:.2f}-{peer['max']:.2f})" for peer in peers),
            f"{case['of_limit']['median']:.2f}",
            f"{gate['smallest_cosine']:.7f}" if gate else "-",
            f"{gate['largest_difference']:.1e}" if gate else "-",
        ]

    return table(head, [line(name, case) for name, case in cases.items()])
