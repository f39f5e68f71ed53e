"""Evaluation of a search function on judged questions: one Run for each setting, and what sets runs apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, Final, TextIO

import numpy as np

from yusa.search.datasets import Dataset
from yusa.search.hit import Hit
from yusa.search.metrics import Scores, default_metrics, first_right, measure
from yusa.search.setting import Setting
from yusa.search.significance import Difference, Interval, difference, holm, interval

SearchFunction = Callable[[Sequence[str], Setting], list[list[Hit]]]
"""Questions to one list of at most `top_k` hits each, best first, of different documents."""

TIMED_QUESTIONS: Final = 200
TIMED_SECONDS: Final = 20.0
PAGE: Final = 10
"""Hits of a query that is timed: what a person asks for, not the depth that metrics need."""
TOP_SHOWN: Final = 3
_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds that a query takes which comes alone and wants a page of `top_k` hits, over so many questions."""

    p50: float
    p95: float
    questions: int
    top_k: int


@dataclass(frozen=True, slots=True)
class Run:
    """What one setting answered and what it is worth.

    Attributes:
        ranking: by question, (id, score) of every hit, best first.
        top: by question, the first few hits whole.
        scores: by metric, the value of each question, float64 (questions,), in the order of the data set.
        intervals: by metric, the 95 % interval of the mean.
    """

    setting: Setting
    ranking: dict[str, list[tuple[str, float]]]
    top: dict[str, list[Hit]]
    scores: Scores
    intervals: dict[str, Interval]
    latency: Latency

    @property
    def metrics(self) -> dict[str, float]:
        """The means."""
        return {name: float(values.mean()) for name, values in self.scores.items()}

    def ranked_ids(self) -> dict[str, list[str]]:
        return {question: [id for id, _ in ranked] for question, ranked in self.ranking.items()}

    def to_dict(self) -> dict[str, Any]:
        """Its part of what `eval --json` prints."""
        return {
            "settings": self.setting.to_dict(),
            "metrics": self.metrics,
            "intervals": {name: list(bounds) for name, bounds in self.intervals.items()},
            "latency_ms": asdict(self.latency),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run against the first one in one metric; `adjusted` is the p-value adjusted for the number of runs."""

    run: int
    metric: str
    difference: Difference
    adjusted: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "against": 0,
            "metric": self.metric,
            "difference": self.difference.mean,
            "interval": list(self.difference.interval),
            "p": self.difference.p_value,
            "p_adjusted": self.adjusted,
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """A question that was not answered as well as can be.

    Attributes:
        score: its value in the metric that runs are compared by.
        rank: of the first right document, None where none was found.
        right: ids, the most relevant first.
        top: what came first.
    """

    question_id: str
    question: str
    score: float
    rank: int | None
    right: list[str]
    top: list[Hit]

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.question_id,
            "question": self.question,
            "score": self.score,
            "rank": self.rank,
            "right": self.right,
            "top": [{"id": hit.id, "score": hit.score, "title": hit.title, "text": hit.text} for hit in self.top],
        }


def evaluate(
    search: SearchFunction,
    dataset: Dataset,
    setting: Setting,
    *,
    page: SearchFunction | None = None,
    timed: int = TIMED_QUESTIONS,
) -> Run:
    """Ask every question of a data set in one setting.

    Args:
        page: what is timed, where a person's search does more than `search`.
        timed: how many of the questions, evenly chosen, are asked again one by one to be timed; fewer where that takes
            over `TIMED_SECONDS`.

    Raises:
        MissingDependencyError: the extra `eval` is not installed.
    """
    metrics = default_metrics(setting.top_k)
    # Before the searches, so that a missing package is said at once.
    measure(dataset.qrels, {}, metrics)
    ids = list(dataset.questions)
    answers = ask(search, list(dataset.questions.values()), setting)
    ranking = {id: [(hit.id, hit.score) for hit in hits] for id, hits in zip(ids, answers, strict=True)}
    top = {id: hits[:TOP_SHOWN] for id, hits in zip(ids, answers, strict=True)}
    scores = measure(
        dataset.qrels, {id: [hit.id for hit in hits] for id, hits in zip(ids, answers, strict=True)}, metrics
    )
    return Run(
        setting,
        ranking,
        top,
        scores,
        {name: interval(values) for name, values in scores.items()},
        _latency(page or search, list(dataset.questions.values()), setting, timed),
    )


def ask(search: SearchFunction, questions: Sequence[str], setting: Setting) -> list[list[Hit]]:
    """The hits of every question, some questions at a time."""
    rest = iter(questions)
    answers: list[list[Hit]] = []
    while some := list(islice(rest, _AT_ONCE)):
        answers += search(some, setting)
    return answers


def compare(runs: Sequence[Run]) -> list[Comparison]:
    """Every further run against the first, metric by metric, in those that both were measured in."""
    found: list[Comparison] = []
    for metric in runs[0].scores if runs else ():
        others = [number for number, run in enumerate(runs) if number and metric in run.scores]
        differences = [difference(runs[number].scores[metric], runs[0].scores[metric]) for number in others]
        adjusted = holm([one.p_value for one in differences])
        found += map(Comparison, others, [metric] * len(others), differences, adjusted)
    return found


def failures(run: Run, dataset: Dataset, count: int) -> list[Failure]:
    """The `count` questions that `run` answered worst, the worst first; none that it answered perfectly."""
    values = next(iter(run.scores.values()))
    found = []
    for (id, question), value in zip(dataset.questions.items(), values.tolist(), strict=True):
        if value < 1.0:
            rank = first_right(dataset.qrels[id], [document for document, _ in run.ranking[id]])
            found.append(Failure(id, question, value, rank, dataset.right(id), run.top[id]))
    found.sort(key=lambda one: (one.score, -(one.rank or run.setting.top_k + 1)))
    return found[:count]


def best(runs: Sequence[Run]) -> int:
    """The number of the run that is highest in the first metric; of equal ones the first."""
    means = [next(iter(run.metrics.values())) for run in runs]
    return means.index(max(means))


def write_run(file: TextIO, run: Run, tag: str) -> None:
    """Writes rankings as TREC's programs read them: `question Q0 document rank score tag`.

    The score falls by 1 with each rank: trec_eval goes by scores and not by ranks, and would break ties by id.
    White space in an id, which the format cannot hold, is written as `%20` and the like.
    """
    for question, ranked in run.ranking.items():
        for rank, (id, _) in enumerate(ranked, start=1):
            file.write(f"{_word(question)} Q0 {_word(id)} {rank} {len(ranked) - rank + 1} {_word(tag)}\n")


def _word(text: str) -> str:
    return "".join(f"%{ord(c):02X}" if c.isspace() or c == "%" else c for c in text)


def first_ranks(run: Run, dataset: Dataset) -> list[int | None]:
    """The rank of the first right document of each question, in the order of the data set."""
    ranked = run.ranked_ids()
    return [first_right(dataset.qrels[id], ranked[id]) for id in dataset.questions]


def _latency(search: SearchFunction, questions: Sequence[str], setting: Setting, timed: int) -> Latency:
    page = replace(setting, top_k=min(PAGE, setting.top_k))
    chosen = [questions[at] for at in np.linspace(0, len(questions) - 1, min(timed, len(questions))).astype(int)]
    search([chosen[0]], page)
    # At random, so that those asked before the time is over stand for all.
    taken: list[float] = []
    for at in np.random.default_rng(0).permutation(len(chosen)).tolist():
        taken.append(_timed(search, chosen[at], page))
        if sum(taken) > TIMED_SECONDS * 1000:
            break
    p50, p95 = np.percentile(taken, (50, 95)).tolist()
    return Latency(p50, p95, len(taken), page.top_k)


def _timed(search: SearchFunction, question: str, setting: Setting) -> float:
    began = time.perf_counter()
    search([question], setting)
    return (time.perf_counter() - began) * 1000
