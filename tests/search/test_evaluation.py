"""Evaluation of a search function that is a table of rankings."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from searching import DIMENSION, make_searcher, put
from stubs import StubEncoder

from yusa.errors import UsageError
from yusa.search.datasets import Dataset
from yusa.search.evaluation import Run, best, compare, evaluate, failures, first_ranks, write_run
from yusa.search.hit import Hit, PassageRef
from yusa.search.setting import Setting, grid, labels
from yusa.storage import Store

QUESTIONS = {"q1": "하나", "q2": "둘", "q3": "셋"}
QRELS = {"q1": {"a": 1}, "q2": {"b": 2, "c": 1, "a": 0}, "q3": {"d": 1}}
DATASET = Dataset("set", "dev", QUESTIONS, QRELS, None)
DENSE, LEXICAL = Setting("dense"), Setting("lexical")
RANKINGS = {
    "dense": {"하나": ["a", "b"], "둘": ["a", "c", "b"], "셋": ["a", "b"]},
    "lexical": {"하나": ["a"], "둘": ["b", "c"], "셋": []},
}


def hit(rank: int, id: str) -> Hit:
    return Hit(rank, id, 1.0 / rank, None, f"text of {id}", (), {}, PassageRef(0, 0, 9), {}, "test")


class Recorder:
    """Answers from RANKINGS and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], Setting]] = []

    def __call__(self, questions: Sequence[str], setting: Setting) -> list[list[Hit]]:
        self.asked.append((list(questions), setting))
        table = RANKINGS[setting.mode]
        return [[hit(rank, id) for rank, id in enumerate(table[one][: setting.top_k], start=1)] for one in questions]


def run_of(setting: Setting) -> Run:
    return evaluate(Recorder(), DATASET, setting)


def test_a_run() -> None:
    search = Recorder()
    run = evaluate(search, DATASET, DENSE, timed=2)
    ndcg = (1 / math.log2(3) + 2 / math.log2(4)) / (2 / math.log2(2) + 1 / math.log2(3))
    assert run.scores["ndcg@10"].tolist() == pytest.approx([1.0, ndcg, 0.0])
    assert run.metrics == pytest.approx(
        {"ndcg@10": (1 + ndcg) / 3, "recall@100": 2 / 3, "mrr@10": 0.5, "map": (1 + (1 / 2 + 2 / 3) / 2) / 3}
    )
    assert run.ranking["q2"] == [("a", 1.0), ("c", 0.5), ("b", 1 / 3)]
    assert [one.id for one in run.top["q2"]] == ["a", "c", "b"]
    assert first_ranks(run, DATASET) == [1, 2, None]
    for metric, (low, high) in run.intervals.items():
        assert 0.0 <= low <= run.metrics[metric] <= high <= 1.0
    # All at once for the ranking; then one to warm up and two, evenly chosen, for the time of a page.
    page = Setting("dense", top_k=10)
    assert search.asked[:2] == [(["하나", "둘", "셋"], DENSE), (["하나"], page)]
    assert sorted(search.asked[2:], key=lambda asked: asked[0]) == [(["셋"], page), (["하나"], page)]
    assert (run.latency.questions, run.latency.top_k) == (2, 10)
    assert 0 < run.latency.p50 <= run.latency.p95


def test_questions_come_in_pieces() -> None:
    many = Dataset("set", None, {f"q{n}": "하나" for n in range(150)}, {f"q{n}": {"a": 1} for n in range(150)}, None)
    search = Recorder()
    run = evaluate(search, many, DENSE, timed=1)
    assert [len(questions) for questions, _ in search.asked] == [64, 64, 22, 1, 1]
    assert run.metrics["ndcg@10"] == 1.0


def test_what_is_timed_may_be_another_function() -> None:
    search, page = Recorder(), Recorder()
    evaluate(search, DATASET, DENSE, page=page, timed=3)
    assert len(search.asked) == 1
    assert len(page.asked) == 4


def test_the_depth_names_the_metrics() -> None:
    run = run_of(Setting("dense", top_k=2))
    assert list(run.scores) == ["ndcg@2", "recall@2", "mrr@2", "map"]
    assert run.scores["recall@2"].tolist() == [1.0, 0.5, 0.0]


def test_json_has_the_shape_that_was_promised() -> None:
    row = run_of(LEXICAL).to_dict()
    assert list(row) == ["settings", "metrics", "intervals", "latency_ms"]
    assert row["settings"] == {"mode": "lexical", "top_k": 100}
    assert list(row["metrics"]) == list(row["intervals"]) == ["ndcg@10", "recall@100", "mrr@10", "map"]
    assert list(row["latency_ms"]) == ["p50", "p95", "questions", "top_k"]


def test_runs_are_compared_with_the_first() -> None:
    runs = [run_of(DENSE), run_of(LEXICAL), run_of(DENSE)]
    compared = compare(runs)
    assert [(one.run, one.metric) for one in compared][:3] == [(1, "ndcg@10"), (2, "ndcg@10"), (1, "recall@100")]
    assert len(compared) == 8
    better, same = compared[:2]
    assert better.difference.mean == pytest.approx(runs[1].metrics["ndcg@10"] - runs[0].metrics["ndcg@10"])
    assert (same.difference.mean, same.adjusted) == (0.0, 1.0)
    assert best(runs) == 1
    assert compare(runs[:1]) == []
    assert better.to_dict()["against"] == 0


def test_the_worst_questions() -> None:
    found = failures(run_of(DENSE), DATASET, 10)
    assert [(one.question_id, one.rank, one.right) for one in found] == [("q3", None, ["d"]), ("q2", 2, ["b", "c"])]
    assert [one.id for one in found[0].top] == ["a", "b"]
    assert failures(run_of(DENSE), DATASET, 1) == found[:1]
    assert found[0].to_dict() == {
        "id": "q3",
        "question": "셋",
        "score": 0.0,
        "rank": None,
        "right": ["d"],
        "top": [
            {"id": "a", "score": 1.0, "title": None, "text": "text of a"},
            {"id": "b", "score": 0.5, "title": None, "text": "text of b"},
        ],
    }


def test_a_trec_run() -> None:
    file = io.StringIO()
    write_run(file, run_of(DENSE), "yusa 1")
    assert file.getvalue().splitlines()[2:5] == [
        "q2 Q0 a 1 3 yusa%201",
        "q2 Q0 c 2 2 yusa%201",
        "q2 Q0 b 3 1 yusa%201",
    ]


def test_the_grid() -> None:
    settings = grid(modes=["dense", "hybrid"], weights=[0.4, 0.6], reranks=[None, "m"], depths=[10], poolings=["mean"])
    assert [(one.mode, one.weight, one.rerank, one.rerank_depth) for one in settings] == [
        ("dense", None, None, None),
        ("hybrid", 0.4, None, None),
        ("hybrid", 0.6, None, None),
        ("dense", None, "m", 10),
        ("hybrid", 0.4, "m", 10),
        ("hybrid", 0.6, "m", 10),
    ]
    assert labels(settings) == [
        "dense",
        "hybrid 0.4",
        "hybrid 0.6",
        "dense + m first 10",
        "hybrid 0.4 + m first 10",
        "hybrid 0.6 + m first 10",
    ]
    assert labels(grid(modes=["dense", "hybrid"])) == ["dense", "hybrid"]
    assert labels(grid(modes=["dense"], poolings=["mean", "cls"])) == ["dense mean", "dense cls"]
    assert settings[4].choice() == {"mode": "hybrid", "weight": 0.4, "rerank": "m", "rerank_depth": 10}


def test_errors_of_the_search_function_pass() -> None:
    def refuses(questions: Sequence[str], setting: Setting) -> list[list[Hit]]:
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        evaluate(refuses, DATASET, DENSE)


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_a_ranking_without_snippets_is_the_same_and_encodes_no_sentence(store: Store, mode: str) -> None:
    put(store, {f"d{n}": [f"alpha word{n}. Another sentence.", f"beta. word{n % 7} again."] for n in range(40)})
    encoder = StubEncoder(DIMENSION)
    searcher = make_searcher(store, encoder)
    queries = ["alpha word3", "gamma delta", "word1 word2"]
    whole = searcher.search(queries, top_k=20, mode=mode)
    encoder.encoded_texts.clear()
    bare = searcher.search(queries, top_k=20, mode=mode, snippets=False)
    assert bare == [[replace(one, highlights=(), snippet=(0, 0)) for one in hits] for hits in whole]
    assert encoder.encoded_texts == []
