"""Metrics against trec_eval's own code and against their definitions."""

from __future__ import annotations

import builtins
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import pytrec_eval

from yusa.errors import MissingDependencyError, UsageError
from yusa.search.metrics import default_metrics, first_right, measure, recall_curve
from yusa.search.significance import difference, holm, interval

Judged = Mapping[str, int]


def slow_ndcg(judged: Judged, ranked: Sequence[str], k: int) -> float:
    ideal = sorted((max(0, score) for score in judged.values()), reverse=True)[:k]
    best = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(ideal, 1))
    return sum(max(0, judged.get(id, 0)) / math.log2(rank + 1) for rank, id in enumerate(ranked[:k], 1)) / best


def slow_recall(judged: Judged, ranked: Sequence[str], k: int) -> float:
    right = {id for id, score in judged.items() if score > 0}
    return len(right & set(ranked[:k])) / len(right)


def slow_mrr(judged: Judged, ranked: Sequence[str], k: int) -> float:
    return next((1 / rank for rank, id in enumerate(ranked[:k], 1) if judged.get(id, 0) > 0), 0.0)


def slow_map(judged: Judged, ranked: Sequence[str]) -> float:
    found, total = 0, 0.0
    for rank, id in enumerate(ranked, 1):
        if judged.get(id, 0) > 0:
            found += 1
            total += found / rank
    return total / sum(score > 0 for score in judged.values())


def random_set(seed: int, questions: int = 40) -> tuple[dict[str, dict[str, int]], dict[str, list[str]]]:
    """Graded judgements, negative ones too, and rankings of 0 to 150 of 200 documents that favour right ones."""
    dice = random.Random(seed)
    documents = [f"d{number}" for number in range(200)]
    qrels, rankings = {}, {}
    for number in range(questions):
        judged = {id: dice.choice([-1, 0, 1, 1, 2, 3]) for id in dice.sample(documents, dice.randint(1, 30))}
        judged[dice.choice(documents)] = 1
        ranked = sorted(documents, key=lambda id: dice.random() - 0.3 * max(0, judged.get(id, 0)))
        qrels[f"q{number}"], rankings[f"q{number}"] = judged, ranked[: dice.choice([0, 1, 3, 10, 80, 150])]
    return qrels, rankings


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("top_k", [1, 7, 100])
def test_agrees_with_the_definitions(seed: int, top_k: int) -> None:
    qrels, rankings = random_set(seed)
    rankings = {id: ranked[:top_k] for id, ranked in rankings.items()}
    short = min(10, top_k)
    found = measure(qrels, rankings, default_metrics(top_k))
    assert list(found) == [f"ndcg@{short}", f"recall@{top_k}", f"mrr@{short}", "map"]
    for at, (id, ranked) in enumerate(rankings.items()):
        judged = qrels[id]
        expected = (
            slow_ndcg(judged, ranked, short),
            slow_recall(judged, ranked, top_k),
            slow_mrr(judged, ranked, short),
            slow_map(judged, ranked),
        )
        assert [values[at] for values in found.values()] == pytest.approx(expected, abs=1e-9)


def test_agrees_with_trec_eval() -> None:
    """The means of every metric that is printed, as trec_eval itself gives them for a run with falling scores."""
    qrels, rankings = random_set(77)
    rankings = {id: ranked[:100] for id, ranked in rankings.items() if ranked}
    judged = {id: {document: max(0, score) for document, score in qrels[id].items()} for id in rankings}
    run = {id: {document: 1.0 / rank for rank, document in enumerate(ranked, 1)} for id, ranked in rankings.items()}
    first_ten = {id: dict(list(scores.items())[:10]) for id, scores in run.items()}
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10", "recall.100", "map", "recip_rank"})
    whole, cut = evaluator.evaluate(run), evaluator.evaluate(first_ten)
    expected = {
        "ndcg@10": np.mean([row["ndcg_cut_10"] for row in whole.values()]),
        "recall@100": np.mean([row["recall_100"] for row in whole.values()]),
        "mrr@10": np.mean([row["recip_rank"] for row in cut.values()]),
        "map": np.mean([row["map"] for row in whole.values()]),
    }
    means = {name: values.mean() for name, values in measure(qrels, rankings, default_metrics()).items()}
    assert means == pytest.approx(expected, abs=1e-4)


def test_the_ranking_measured_is_the_one_shown() -> None:
    """trec_eval orders ties by id, descending; the order given here must count instead."""
    assert measure({"q": {"a": 1}}, {"q": ["a", "b"]}, ["mrr@10"])["mrr@10"] == [1.0]
    assert measure({"q": {"b": 1}}, {"q": ["a", "b"]}, ["mrr@10"])["mrr@10"] == [0.5]


def test_an_empty_ranking_counts_as_0() -> None:
    qrels = {"q1": {"a": 1}, "q2": {"a": 1}}
    for values in measure(qrels, {"q1": ["a"], "q2": []}, default_metrics()).values():
        assert values.tolist() == [1.0, 0.0]


def test_several_cuts_of_one_metric() -> None:
    qrels, rankings = random_set(3)
    names = ["recall@5", "recall@10", "ndcg@3", "ndcg@30", "map@10", "map", "mrr", "mrr@2", "ndcg"]
    found = measure(qrels, rankings, names)
    assert list(found) == names
    for at, (id, ranked) in enumerate(rankings.items()):
        assert found["recall@5"][at] == pytest.approx(slow_recall(qrels[id], ranked, 5))
        assert found["ndcg@30"][at] == pytest.approx(slow_ndcg(qrels[id], ranked, 30))
        assert found["mrr"][at] == pytest.approx(slow_mrr(qrels[id], ranked, 1000))
        assert found["mrr@2"][at] == pytest.approx(slow_mrr(qrels[id], ranked, 2))


@pytest.mark.parametrize("name", ["recall", "ndcg@0", "f1", "mrr@x", "NDCG@10", ""])
def test_an_unknown_metric(name: str) -> None:
    with pytest.raises(UsageError, match="there is no metric"):
        measure({}, {}, [name])


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name in ("pytrec_eval", "scipy"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r"pip install 'yusa\[eval\]'"):
        measure({}, {}, ["map"])
    with pytest.raises(MissingDependencyError, match=r"pip install 'yusa\[eval\]'"):
        interval(np.array([0.0, 1.0]))


def test_the_first_right_one() -> None:
    assert first_right({"a": 0, "b": 2}, ["a", "c", "b"]) == 3
    assert first_right({"a": 0}, ["a"]) is None


def test_the_recall_curve() -> None:
    qrels, rankings = random_set(5)
    curve = recall_curve(qrels, rankings, 20)
    for k in (1, 7, 20):
        expected = np.mean([slow_recall(qrels[id], ranked, k) for id, ranked in rankings.items()])
        assert curve[k - 1] == pytest.approx(expected)


def test_an_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    """200 samples of 60 values: a 95 % interval misses the truth in about 10, hardly ever in more than 25."""
    dice = np.random.default_rng(1)
    missed = 0
    for _ in range(200):
        low, high = interval(dice.binomial(1, 0.4, size=60).astype(np.float64))
        missed += not low <= 0.4 <= high
    assert 2 <= missed <= 25


def test_intervals_that_need_no_sampling() -> None:
    assert interval(np.array([0.25])) == (0.25, 0.25)
    assert interval(np.full(9, 0.5)) == (0.5, 0.5)


def test_differences() -> None:
    few = difference(np.array([1.0, 1.0, 1.0, 1.0]), np.zeros(4))
    # All 16 signs are tried: the sum is as far from 0 as here in 2 of them.
    assert few.mean == 1.0
    assert few.p_value == pytest.approx(2 / 16)
    same = difference(np.ones(5), np.ones(5))
    assert (same.mean, same.interval, same.p_value) == (0.0, (0.0, 0.0), 1.0)
    dice = np.random.default_rng(2)
    base = dice.random(300)
    gain = difference(base + 0.05 + dice.normal(0, 0.1, 300), base)
    assert gain.p_value < 0.001
    assert gain.interval[0] < gain.mean < gain.interval[1]
    assert gain.interval[0] > 0
    noise = difference(base + dice.normal(0, 0.1, 300), base)
    assert noise.p_value > 0.05
    assert noise.interval[0] < 0 < noise.interval[1]


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
