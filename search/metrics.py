"""What a ranking is worth, as trec_eval measures it (pytrec_eval is its C code).

| name | is |
|---|---|
| `ndcg@k` | trec_eval's `ndcg_cut.k`: linear gains, discount log2(rank + 1) (Järvelin and Kekäläinen, 2002) |
| `recall@k` | `recall.k`: the share of the right documents among the first k |
| `mrr@k` | 1 / rank of the first right document, 0 where none is among the first k: `recip_rank`, cut at k |
| `map@k`, `map` | `map_cut.k`, and `map` of the whole ranking: average precision |

Relevance below 0 counts as 0. The mean is over all questions, those with an empty ranking included (`trec_eval -c`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yusa.errors import MissingDependencyError, UsageError

Qrels = Mapping[str, Mapping[str, int]]
Scores = Mapping[str, NDArray[np.float64]]
"""By metric, the value of each question, float64 (questions,)."""

_NAME: Final = re.compile(r"(ndcg|recall|mrr|map)(?:@([1-9][0-9]{0,4}))?")
_TREC: Final = {"ndcg": "ndcg_cut", "recall": "recall", "map": "map_cut"}
_WHOLE: Final = {"ndcg": "ndcg", "mrr": "recip_rank", "map": "map"}


class _Metric(NamedTuple):
    """A metric in trec_eval's words, on a ranking that is cut before where `cut` is not None."""

    measure: str
    key: str
    cut: int | None


def default_metrics(top_k: int = 100) -> tuple[str, ...]:
    """The metrics of a ranking `top_k` deep; the first is the one that settings are compared by."""
    short = min(10, top_k)
    return (f"ndcg@{short}", f"recall@{top_k}", f"mrr@{short}", "map")


def measure(qrels: Qrels, rankings: Mapping[str, Sequence[str]], metrics: Sequence[str]) -> Scores:
    """The value of every metric for every question of `rankings`, in its order.

    Args:
        rankings: by question, ids of documents, best first.

    Raises:
        MissingDependencyError: pytrec_eval is not installed.
        UsageError: an unknown metric.
    """
    try:
        import pytrec_eval
    except ImportError as error:
        raise MissingDependencyError(
            "measuring needs pytrec_eval, which is not installed; install it with: pip install 'yusa[eval]'"
        ) from error
    wanted = {name: _metric(name) for name in metrics}
    judged = {id: {document: max(0, score) for document, score in qrels[id].items()} for id in rankings}
    found: dict[str, NDArray[np.float64]] = {}
    for cut in {metric.cut for metric in wanted.values()}:
        own = {name: metric for name, metric in wanted.items() if metric.cut == cut}
        evaluator = pytrec_eval.RelevanceEvaluator(judged, {metric.measure for metric in own.values()})
        values = evaluator.evaluate({id: _as_run(ranked[:cut]) for id, ranked in rankings.items()})
        for name, metric in own.items():
            found[name] = np.array([values.get(id, {}).get(metric.key, 0.0) for id in rankings], dtype=np.float64)
    return {name: found[name] for name in metrics}


def first_right(judged: Mapping[str, int], ranking: Sequence[str]) -> int | None:
    """The rank, from 1, of the first document that is right; None where none is."""
    return next((rank for rank, id in enumerate(ranking, start=1) if judged.get(id, 0) > 0), None)


def recall_curve(qrels: Qrels, rankings: Mapping[str, Sequence[str]], top_k: int) -> NDArray[np.float64]:
    """Mean recall@k for k from 1 to `top_k`, float64 (top_k,)."""
    curve = np.zeros(top_k)
    for id, ranked in rankings.items():
        right = [score > 0 for score in qrels[id].values()].count(True)
        hits = np.zeros(top_k)
        hits[: len(ranked)] = [qrels[id].get(document, 0) > 0 for document in ranked[:top_k]]
        curve += np.cumsum(hits) / right
    return curve / max(1, len(rankings))


def _metric(name: str) -> _Metric:
    match = _NAME.fullmatch(name)
    if match is None or (match[2] is None and match[1] not in _WHOLE):
        raise UsageError(f"there is no metric {name!r}; use ndcg@10, recall@100, mrr@10 or map, with any number")
    kind, at = match[1], match[2]
    if at is None:
        return _Metric(_WHOLE[kind], _WHOLE[kind], None)
    if kind == "mrr":
        return _Metric("recip_rank", "recip_rank", int(at))
    return _Metric(f"{_TREC[kind]}.{at}", f"{_TREC[kind]}_{at}", None)


def _as_run(ranked: Sequence[str]) -> dict[str, float]:
    # trec_eval sorts by score and breaks ties by id; scores that fall with the rank make it measure what was shown.
    return {id: float(len(ranked) - place) for place, id in enumerate(ranked)}
