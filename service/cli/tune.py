"""`yusa tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from yusa.service.cli import evaluating, options
from yusa.service.cli.console import clean, console, print_json, say, working

if TYPE_CHECKING:
    from yusa.search.datasets import Dataset
    from yusa.search.searcher import Mode
    from yusa.search.setting import Setting
    from yusa.search.tuning import Tuning

FEW_QUESTIONS = 50
SHOWN = 5


@options.command("tune", example="yusa tune my-questions.csv -i news --folds 5")
@click.argument("dataset_path", metavar="DATASET", type=options.PATH)
@options.index_path
@evaluating.split
@click.option("--folds", type=click.IntRange(min=2), default=5, show_default=True, metavar="N", help="Folds.")
@click.option("--mode", "modes", type=evaluating.MODES, metavar="MODE,…", help="Choose among these; all otherwise.")
@click.option("--rerank", metavar="M", help="Try this cross-encoder, too, at several depths.")
@options.device
@click.option("--dry-run", is_flag=True, help="Choose, but store nothing.")
@options.wait
@options.as_json
def tune(
    dataset_path: Path,
    index_path: Path,
    split: str | None,
    folds: int,
    modes: tuple[Mode, ...] | None,
    rerank: str | None,
    device: str | None,
    dry_run: bool,
    wait: float,
    as_json: bool,
) -> None:
    """Choose mode, weight and rerank depth by judged questions, and keep the choice in the index.

    DATASET is as for `yusa eval`; its questions are asked in every setting. The choice is stored only if choosing so
    beats the default on questions that were not used to choose (cross-validation); `yusa search` and all others then go
    by it where they are not told otherwise.
    """
    import yusa
    from yusa.evaluate import coverage, search_function
    from yusa.search.datasets import load_dataset
    from yusa.search.searcher import MODES
    from yusa.search.tuning import candidates
    from yusa.search.tuning import tune as run
    from yusa.service.cli.opening import lasting_name, load_encoder

    dataset = load_dataset(dataset_path, split)
    settings = candidates(modes or MODES, None if rerank is None else lasting_name(rerank))
    with yusa.open(index_path, device=device) as index:
        for note in (*dataset.notes, *coverage(index, dataset)):
            say(clean(note))
        load_encoder(index)
        with working(f"asking {len(dataset.questions):,} questions in {len(settings)} settings …", always=True):
            found = run(search_function(index), dataset, settings, folds=folds)
        stored = found.better and not dry_run
        if stored:
            index.tune(found.settings[found.choice].choice(), wait=wait)
    if as_json:
        print_json({"dataset": dataset.name, "split": dataset.split, **found.to_dict(), "stored": stored})
    else:
        _print(dataset, found, stored=stored, dry_run=dry_run)


def _print(dataset: Dataset, found: Tuning, *, stored: bool, dry_run: bool) -> None:
    from yusa.search.significance import interval

    default, chosen = found.settings[0], found.settings[found.choice]
    means = found.values.mean(axis=1)
    where = f", {dataset.split}" if dataset.split else ""
    click.echo(f"{clean(dataset.name)}{where}: {len(dataset.questions):,} questions, {len(found.by_fold)} folds")
    rows = evaluating.table("", found.metric)
    rows.add_row(f"default: {_named(default)}", evaluating.value(means[0], interval(found.values[0])))
    rows.add_row("tuned, cross-validated", evaluating.value(found.held_out.mean(), interval(found.held_out)))
    console().print(rows)
    click.echo("on all questions, the ones chosen on:")
    for number in sorted(range(len(means)), key=lambda number: -means[number])[:SHOWN]:
        click.echo(f"  {means[number]:.4f}  {clean(_named(found.settings[number]))}")
    gain = found.gain
    said = f"{evaluating.gain(gain.mean, gain.interval)}, {evaluating.probability(gain.p_value)}"
    click.echo(f"gain by cross-validation: {said}")
    if len(dataset.questions) < FEW_QUESTIONS:
        say(f"{len(dataset.questions)} questions are few to choose by; {FEW_QUESTIONS} or more tell more")
    if not found.better:
        click.echo("not stored: what was chosen is not better than the default; the index stays as it was")
    elif stored:
        click.echo(f"stored: {clean(_named(chosen))}")
    else:
        click.echo(f"{'dry run, ' if dry_run else ''}not stored: {clean(_named(chosen))}")


def _named(setting: Setting) -> str:
    choice = setting.choice()
    parts = [choice["mode"]]
    if "weight" in choice:
        parts.append(f"weight {choice['weight']:g}")
    if "rerank" in choice:
        parts.append(f"reranked by {choice['rerank']}, the first {choice['rerank_depth']}")
    return ", ".join(parts)
