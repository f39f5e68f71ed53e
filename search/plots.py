"""Plots of an evaluation as SVG that takes on the colours of the page it stands in."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from yusa.search.significance import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SERIES: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7f7f7f")
"""Okabe and Ito's colours, which stay apart for colour-blind eyes and on light and dark ground."""
RANK_BINS: Final = ((1, 1), (2, 2), (3, 3), (4, 10), (11, 100), (101, 10_000))

_INK: Final = "#010203"
"""Stands for the page's own colour of text."""


def colour(number: int) -> str:
    """The colour of a run in every plot."""
    return SERIES[number % len(SERIES)]


def bars(metrics: Sequence[str], means: Sequence[Sequence[float]], bounds: Sequence[Sequence[Interval]]) -> str:
    """Groups of bars with their intervals: one group a metric, one bar a run.

    Args:
        means, bounds: by run, then by metric.
    """
    figure, axes = _figure(7.2, 3.2)
    width = 0.8 / len(means)
    for number, (values, intervals) in enumerate(zip(means, bounds, strict=True)):
        at = np.arange(len(metrics)) + (number - (len(means) - 1) / 2) * width
        low, high = np.array(intervals).T
        errors = np.clip([values - low, high - values], 0.0, None)
        axes.bar(at, values, width * 0.9, color=colour(number), yerr=errors, ecolor=_INK, capsize=2.5)
    axes.set_xticks(range(len(metrics)), metrics)
    axes.set_ylim(0, 1)
    axes.grid(axis="y", alpha=0.15, color=_INK)
    return _svg(figure, "bars")


def differences(gains: NDArray[np.float64], number: int, metric: str) -> str:
    """One bar a question, from the largest loss to the largest gain of run `number`.

    Args:
        gains: float64 (questions,).
    """
    figure, axes = _figure(7.2, 2.4)
    ordered = np.sort(gains)
    axes.fill_between(np.arange(len(ordered) + 1), np.append(ordered, ordered[-1:]), step="post", color=colour(number))
    axes.axhline(0.0, color=_INK, linewidth=0.8)
    axes.set_xlim(0, max(1, len(ordered)))
    axes.set_ylim(-1.05, 1.05)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("questions, sorted")
    axes.set_ylabel(f"difference in {metric}")
    return _svg(figure, f"differences-{number}")


def ranks(found: Sequence[Sequence[int | None]], top_k: int) -> str:
    """How many questions have their first right document at which rank; one bar a run.

    Args:
        found: by run, the rank of each question, None where none was found.
    """
    figure, axes = _figure(7.2, 2.8)
    bins = [(low, min(high, top_k)) for low, high in RANK_BINS if low <= top_k]
    names = [str(low) if low == high else f"{low}–{high}" for low, high in bins]
    width = 0.8 / len(found)
    for number, one in enumerate(found):
        counts = [sum(rank is not None and low <= rank <= high for rank in one) for low, high in bins]
        counts.append(sum(rank is None for rank in one))
        at = np.arange(len(counts)) + (number - (len(found) - 1) / 2) * width
        axes.bar(at, counts, width * 0.9, color=colour(number))
    axes.set_xticks(range(len(names) + 1), [*names, "none"])
    axes.set_xlabel("rank of the first right document")
    axes.set_ylabel("questions")
    axes.grid(axis="y", alpha=0.15, color=_INK)
    return _svg(figure, "ranks")


def curves(recalls: Sequence[NDArray[np.float64]]) -> str:
    """Mean recall@k over k, one line a run, each float64 (top_k,)."""
    figure, axes = _figure(7.2, 2.8)
    for number, recall in enumerate(recalls):
        axes.plot(np.arange(1, len(recall) + 1), recall, color=colour(number), linewidth=2)
    longest = max(map(len, recalls))
    if longest > 1:
        axes.set_xscale("log")
        axes.set_xlim(1, longest)
    marks = [k for k in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1_000, 10_000) if k <= longest]
    axes.set_xticks(marks, [str(k) for k in marks])
    axes.minorticks_off()
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("k")
    axes.set_ylabel("recall@k")
    axes.grid(alpha=0.15, color=_INK)
    return _svg(figure, "curves")


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    # Not pyplot, which keeps every figure in a table of its own and picks a backend for the whole process.
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0.0)
    axes.tick_params(colors=_INK)
    axes.set_axisbelow(True)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_INK)
    return figure, axes


def _svg(figure: Figure, name: str) -> str:
    from matplotlib import rc_context

    text = io.StringIO()
    # Text stays text, set in the page's font; the salt keeps the ids of several plots on one page apart.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :].replace(_INK, "currentColor")
