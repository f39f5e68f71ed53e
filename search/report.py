"""An evaluation as one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final

from yusa.errors import MissingDependencyError
from yusa.search import plots
from yusa.search.datasets import Dataset
from yusa.search.evaluation import Comparison, Run, best, failures, first_ranks
from yusa.search.metrics import recall_curve
from yusa.search.setting import labels
from yusa.search.significance import RESAMPLES

WORST_SHOWN: Final = 20
TEXT_SHOWN: Final = 300


def require_libraries() -> None:
    """Asks for what a report needs, before there is one to make.

    Raises:
        MissingDependencyError: jinja2 or matplotlib is not installed.
    """
    try:
        import jinja2  # noqa: F401
        import matplotlib as _  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"a report needs {error.name}, which is not installed; install it with: pip install 'yusa[eval]'"
        ) from error


def render(
    dataset: Dataset,
    runs: Sequence[Run],
    comparisons: Sequence[Comparison],
    notes: Sequence[str] = (),
    *,
    made: datetime | None = None,
) -> str:
    """The page.

    Args:
        runs: at least one, of the same questions; the first is the one that `comparisons` compare with.
        made: the time it says; now otherwise.

    Raises:
        MissingDependencyError: jinja2 or matplotlib is not installed.
    """
    require_libraries()
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    metrics = list(runs[0].scores)
    main = metrics[0]
    top_k = max(run.setting.top_k for run in runs)
    chosen = best(runs)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(files("yusa.search").joinpath("report.html").read_text("utf-8"))
    gains = [
        (number, plots.differences(run.scores[main] - runs[0].scores[main], number, main))
        for number, run in enumerate(runs)
        if number
    ]
    return page.render(
        dataset=dataset,
        runs=runs,
        labels=labels(run.setting for run in runs),
        colours=[plots.colour(number) for number in range(len(runs))],
        metrics=metrics,
        main=main,
        top_k=top_k,
        comparisons=[one for one in comparisons if one.metric == main],
        best=chosen,
        worst=failures(runs[chosen], dataset, WORST_SHOWN),
        text_shown=TEXT_SHOWN,
        notes=notes,
        resamples=RESAMPLES,
        made=(made or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC"),
        bars=Markup(
            plots.bars(
                metrics,
                [list(run.metrics.values()) for run in runs],
                [[run.intervals[metric] for metric in metrics] for run in runs],
            )
        ),
        gains=[(number, Markup(svg)) for number, svg in gains],
        ranks=Markup(plots.ranks([first_ranks(run, dataset) for run in runs], top_k)),
        curves=Markup(plots.curves([recall_curve(dataset.qrels, run.ranked_ids(), run.setting.top_k) for run in runs])),
    )
