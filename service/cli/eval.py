"""`yusa eval`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yusa.errors import UsageError
from yusa.service.cli import evaluating, options
from yusa.service.cli.console import clean, console, print_json, say, valid_text, working

if TYPE_CHECKING:
    from yusa.index import Index
    from yusa.search.datasets import Dataset
    from yusa.search.evaluation import Comparison, Run
    from yusa.search.setting import Setting


@options.command("eval", example="yusa eval my-questions.csv -i news --mode dense,lexical,hybrid --report report.html")
@click.argument("dataset_path", metavar="DATASET", type=options.PATH)
@click.option("-i", "--index", "index_path", type=options.PATH, help="Ask this index, which stays as it is.")
@evaluating.split
@click.option("--mode", "modes", type=evaluating.MODES, metavar="MODE,…", help="dense, lexical, hybrid, or several.")
@click.option("--weight", "weights", type=evaluating.WEIGHTS, metavar="W,…", help="Of the dense score in mode hybrid.")
@click.option(
    "--rerank", "reranks", metavar="M", multiple=True,
    help="Sort the first hits anew by this cross-encoder; may be given again, `none` stands for without.",
)  # fmt: skip
@options.rerank_depth
@click.option(
    "--encoder", "encoders", metavar="M", multiple=True, help="Index the corpus with this one; may be given again."
)
@click.option("--pooling", "poolings", type=evaluating.POOLINGS, metavar="P,…", help="mean, cls, pooler, or several.")
@options.int8
@options.device
@options.where
@click.option(
    "-k", "--top-k", type=click.IntRange(1, 10_000), default=100, show_default=True, metavar="N",
    help="How deep each ranking is measured.",
)  # fmt: skip
@click.option("--failures", type=click.IntRange(min=0), default=0, metavar="N", help="Show the N worst questions.")
@click.option("--run", "run_file", type=options.PATH, metavar="FILE", help="Write the rankings as a TREC run.")
@click.option("--report", "report_file", type=options.PATH, metavar="FILE.html", help="Write a page with plots.")
@options.as_json
def eval(
    dataset_path: Path,
    index_path: Path | None,
    split: str | None,
    failures: int,
    run_file: Path | None,
    report_file: Path | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Measure search on judged questions.

    DATASET is a directory with queries.jsonl, qrels.tsv or qrels.SPLIT.tsv and corpus.jsonl (BEIR's layout, plain or
    .gz), or a CSV file with the columns question and id. Without -i the corpus is indexed in the user's cache. Several
    values of an option make several rows; every row is compared with the first.
    """
    from yusa.search.datasets import load_dataset
    from yusa.search.evaluation import compare

    _require_writable(run_file, report_file)
    dataset = load_dataset(dataset_path, split)
    notes = [*dataset.notes]
    runs: list[Run] = []
    for run, said in _runs(dataset, index_path, asked):
        runs.append(run)
        notes += [note for note in said if note not in notes]
    comparisons = compare(runs)
    for note in notes:
        say(clean(note))
    if run_file is not None:
        _write_runs(run_file, runs)
    if report_file is not None:
        from yusa.search.report import render

        _write(report_file, render(dataset, runs, comparisons, notes))
        say(f"report: {report_file}")
    if as_json:
        _print_json(dataset, runs, comparisons, notes, failures)
        return
    _print_table(dataset, runs, comparisons)
    if failures:
        _print_failures(dataset, runs, failures)


def _runs(dataset: Dataset, index_path: Path | None, asked: dict[str, Any]) -> Iterator[tuple[Run, list[str]]]:
    from yusa.evaluate import coverage, search_function
    from yusa.search.evaluation import evaluate
    from yusa.search.where import parse

    where = None if asked["where"] is None else parse(valid_text(asked["where"], "--where"))
    for encoder, pooling in _encodings(asked):
        loading = {"pooling": pooling, "quantization": asked["quantization"], "device": asked["device"]}
        with _index(dataset, index_path, encoder, loading) as (index, said):
            notes = [*said, *coverage(index, dataset)]
            for setting in _settings(index, encoder, pooling, asked):
                with working(f"asking {len(dataset.questions):,} questions, {setting.mode} …"):
                    yield (
                        evaluate(
                            search_function(index, where),
                            dataset,
                            setting,
                            page=search_function(index, where, snippets=True),
                        ),
                        notes,
                    )


def _encodings(asked: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    return list(product(dict.fromkeys(asked["encoders"] or (None,)), asked["poolings"] or (None,)))


@contextmanager
def _index(
    dataset: Dataset, path: Path | None, encoder: str | None, loading: dict[str, Any]
) -> Iterator[tuple[Index, list[str]]]:
    """The user's index, or one of the data set's corpus in the cache; and what there is to say of it."""
    import yusa
    from yusa.opening import DEFAULT_ENCODER

    if path is not None:
        with yusa.open(path, encoder=encoder, **loading) as index:
            if encoder or loading["pooling"] or loading["quantization"]:
                with working(f"loading {encoder or index.settings.encoder} …"):
                    # One that is not the index's own is refused here.
                    assert index.encoder
            yield index, []
        return
    if dataset.corpus is None:
        raise UsageError(f"{dataset.name} has no corpus.jsonl to index; name the index to ask with -i")
    from yusa.encoder import Encoder
    from yusa.evaluate import cached_index
    from yusa.service.cli.interrupt import stop_on_interrupt
    from yusa.service.cli.progress import reporter

    name = encoder or DEFAULT_ENCODER
    with ExitStack() as filling:
        with working(f"loading {name} …"):
            loaded = Encoder.load(name, **loading)
        progress = filling.enter_context(reporter())
        stop = filling.enter_context(stop_on_interrupt(progress.stopping))
        with cached_index(dataset.corpus, loaded, progress=progress, stop=stop) as (index, notes):
            # The bar and Ctrl-C's two steps belong to indexing alone.
            filling.close()
            loss = loaded.quantization_loss
            yield index, notes if loss is None else [*notes, str(loss)]


def _settings(index: Index, encoder: str | None, pooling: str | None, asked: dict[str, Any]) -> list[Setting]:
    """What is asked for; what is not is what `yusa search` would take."""
    from yusa.search.ranking import DEFAULT_WEIGHT
    from yusa.search.rerank import DEFAULT_DEPTH
    from yusa.search.setting import grid

    tuned = index.tuned()
    reranks = [None if name == "none" else name for name in asked["reranks"]]
    if not reranks:
        reranks = [tuned.get("rerank") if asked["modes"] is None else None]
    return grid(
        modes=asked["modes"] or (tuned.get("mode", "hybrid"),),
        weights=asked["weights"] or (tuned.get("weight", DEFAULT_WEIGHT),),
        reranks=reranks,
        depths=(asked["rerank_depth"] or tuned.get("rerank_depth", DEFAULT_DEPTH),),
        encoders=(encoder or index.settings.encoder,),
        poolings=(pooling or str(index.settings.fingerprint["pooling"]),),
        where=asked["where"],
        top_k=asked["top_k"],
    )


def _print_json(
    dataset: Dataset, runs: Sequence[Run], comparisons: Sequence[Comparison], notes: Sequence[str], failed: int
) -> None:
    from yusa.search.evaluation import failures

    rows = [run.to_dict() for run in runs]
    if failed:
        for row, run in zip(rows, runs, strict=True):
            row["failures"] = [one.to_dict() for one in failures(run, dataset, failed)]
    print_json(
        {
            "dataset": dataset.name,
            "split": dataset.split,
            "questions": len(dataset.questions),
            "runs": rows,
            "comparisons": [one.to_dict() for one in comparisons],
            "notes": list(notes),
        }
    )


def _print_table(dataset: Dataset, runs: Sequence[Run], comparisons: Sequence[Comparison]) -> None:
    from yusa.search.setting import labels

    names = [clean(label) for label in labels(run.setting for run in runs)]
    where = f", {dataset.split}" if dataset.split else ""
    click.echo(f"{clean(dataset.name)}{where}: {len(dataset.questions):,} questions")
    rows = evaluating.table("", *runs[0].scores, "p50 ms\np95 ms")
    for name, run in zip(names, runs, strict=True):
        values = [evaluating.value(mean, run.intervals[metric]) for metric, mean in run.metrics.items()]
        rows.add_row(name, *values, f"{run.latency.p50:.1f}\n{run.latency.p95:.1f}")
    console().print(rows)
    main = next(iter(runs[0].scores))
    for one in comparisons:
        if one.metric == main:
            found = one.difference
            click.echo(
                f"{names[one.run]} against {names[0]}: {main} {evaluating.gain(found.mean, found.interval)}, "
                f"{evaluating.probability(one.adjusted)}"
            )


def _print_failures(dataset: Dataset, runs: Sequence[Run], count: int) -> None:
    from yusa.search.evaluation import best, failures
    from yusa.search.setting import labels

    number = best(runs)
    shown = failures(runs[number], dataset, count)
    click.echo(f"\n{len(shown):,} worst questions of {clean(labels(run.setting for run in runs)[number])}")
    for one in shown:
        rank = f"first right at rank {one.rank}" if one.rank else f"none among the first {runs[number].setting.top_k:,}"
        click.echo(f"\n{clean(one.question)}\n  right: {clean(', '.join(one.right))}; {rank}")
        for hit in one.top:
            line = " ".join(clean(f"{hit.title or ''} {hit.text}").split())
            click.echo(f"  {hit.rank}. {clean(hit.id)}  {line[:100]}{'…' if len(line) > 100 else ''}")


def _write_runs(path: Path, runs: Sequence[Run]) -> None:
    from io import StringIO

    from yusa.search.evaluation import write_run

    for number, run in enumerate(runs, start=1):
        text = StringIO()
        write_run(text, run, f"yusa-{number}")
        # trec_eval reads one run a file.
        file = path if len(runs) == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        _write(file, text.getvalue())
        say(f"run: {file}")


def _require_writable(run_file: Path | None, report_file: Path | None) -> None:
    """Says before minutes of work what would make them vain."""
    for file in (run_file, report_file):
        if file is not None and (file.is_dir() or not file.parent.is_dir()):
            raise UsageError(f"cannot write {file}: {'it is' if file.is_dir() else 'its parent is not'} a directory")
    if report_file is not None:
        from yusa.search.report import require_libraries

        require_libraries()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
