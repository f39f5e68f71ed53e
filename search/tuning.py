"""Choosing how to search by judged questions, without fooling oneself.

Every candidate setting answers every question once. The choice is the setting with the highest mean; what that way of
choosing is worth on questions it has not seen is estimated by k-fold cross-validation (Stone, 1974): for each fold the
setting is chosen on the other folds' questions and its values on the fold are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from yusa.errors import InputError
from yusa.search.datasets import Dataset
from yusa.search.evaluation import SearchFunction, ask
from yusa.search.metrics import default_metrics, measure
from yusa.search.ranking import DEFAULT_WEIGHT
from yusa.search.searcher import Mode
from yusa.search.setting import DEFAULT_TOP_K, Setting, grid
from yusa.search.significance import Difference, Interval, difference, interval

WEIGHTS: Final = tuple(number / 10 for number in range(11))
DEPTHS: Final = (10, 20, 50)


@dataclass(frozen=True, slots=True)
class Tuning:
    """What came out.

    Attributes:
        settings: the candidates, the untuned default first.
        values: float64 (candidates, questions), in `metric`.
        choice: the number of the setting with the highest mean over all questions.
        held_out: float64 (questions,), each value from the setting chosen without its question's fold.
        by_fold: the number of the setting chosen without each fold that has questions.
    """

    metric: str
    settings: tuple[Setting, ...]
    values: NDArray[np.float64]
    choice: int
    held_out: NDArray[np.float64]
    by_fold: tuple[int, ...]

    @property
    def better(self) -> bool:
        """Whether choosing so beats the default on questions that it has not seen."""
        return self.choice != 0 and float(self.held_out.mean()) > float(self.values[0].mean())

    @property
    def gain(self) -> Difference:
        """The cross-validated values against the default's."""
        return difference(self.held_out, self.values[0])

    def to_dict(self) -> dict[str, Any]:
        """What `tune --json` prints of it."""
        gain = self.gain
        return {
            "metric": self.metric,
            "questions": self.values.shape[1],
            "folds": len(self.by_fold),
            "default": {"settings": self.settings[0].choice(), **_mean(self.values[0])},
            "cross_validated": _mean(self.held_out),
            "gain": {"mean": gain.mean, "interval": list(gain.interval), "p": gain.p_value},
            "choice": self.settings[self.choice].choice(),
            "by_fold": [self.settings[number].choice() for number in self.by_fold],
            "candidates": [
                {"settings": setting.choice(), "mean": float(values.mean())}
                for setting, values in zip(self.settings, self.values, strict=True)
            ],
        }


def candidates(modes: Iterable[Mode], rerank: str | None = None, *, top_k: int = DEFAULT_TOP_K) -> list[Setting]:
    """The untuned default, then every mode, "hybrid" with every weight; with a reranker each mode at every depth, too.

    Reranked settings have the default weight only: which candidates a reranker sees depends little on it, and each of
    them costs as much as all that are not reranked together.
    """
    modes = list(modes)
    settings = [Setting(weight=DEFAULT_WEIGHT, top_k=top_k), *grid(modes=modes, weights=WEIGHTS, top_k=top_k)]
    if rerank is not None:
        settings += grid(modes=modes, reranks=[rerank], depths=DEPTHS, top_k=top_k)
    return list(dict.fromkeys(settings))


def tune(
    search: SearchFunction,
    dataset: Dataset,
    settings: Sequence[Setting],
    *,
    folds: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> Tuning:
    """Ask all questions in all settings and choose.

    Args:
        settings: the first is the default that the choice must beat.
        progress: called with the settings done and their number.

    Raises:
        InputError: so few questions that one fold would have them all.
        MissingDependencyError: the extra `eval` is not installed.
    """
    parts = np.array([fold(id, folds) for id in dataset.questions])
    if len(set(parts.tolist())) < 2:
        raise InputError(f"{len(dataset.questions)} questions are too few to tune on; cross-validation divides them")
    metric = default_metrics(settings[0].top_k)[0]
    measure(dataset.qrels, {}, [metric])
    values = np.empty((len(settings), len(dataset.questions)))
    for number, setting in enumerate(settings):
        if progress is not None:
            progress(number, len(settings))
        answers = ask(search, list(dataset.questions.values()), setting)
        ranked = {id: [hit.id for hit in hits] for id, hits in zip(dataset.questions, answers, strict=True)}
        values[number] = measure(dataset.qrels, ranked, [metric])[metric]
    return choose(metric, settings, values, parts)


def choose(metric: str, settings: Sequence[Setting], values: NDArray[np.float64], parts: NDArray[np.int64]) -> Tuning:
    """The choice from all values, and what choosing so is worth.

    Args:
        values: float64 (settings, questions).
        parts: int64 (questions,), the fold of each; at least two differ.
    """
    held_out = np.empty(values.shape[1])
    by_fold = []
    for part in np.unique(parts):
        inside = parts == part
        chosen = _highest(values[:, ~inside])
        held_out[inside] = values[chosen, inside]
        by_fold.append(chosen)
    return Tuning(metric, tuple(settings), values, _highest(values), held_out, tuple(by_fold))


def fold(question_id: str, folds: int) -> int:
    """The fold of a question, from 0; it depends on nothing but its id."""
    return int.from_bytes(hashlib.sha256(question_id.encode()).digest()[:8], "big") % folds


def _highest(values: NDArray[np.float64]) -> int:
    # Of equal means, within rounding, the first: the default before all others, the simple before the reranked.
    means = values.mean(axis=1)
    return int(np.flatnonzero(means >= means.max() - 1e-12)[0])


def _mean(values: NDArray[np.float64]) -> dict[str, Any]:
    bounds: Interval = interval(values)
    return {"mean": float(values.mean()), "interval": list(bounds)}
