"""`yusa index`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from yusa.errors import IndexNotFoundError, RejectedInputError, StorageError, UsageError
from yusa.service.cli import options
from yusa.service.cli.console import clean, print_json, say, working
from yusa.service.cli.progress import duration, reporter
from yusa.service.errors import DONE, FAILED, INTERRUPTED

if TYPE_CHECKING:
    from yusa.index import Index
    from yusa.indexer import Report
    from yusa.service.cli.progress import Reporter

REJECTIONS_SHOWN = 5


@options.command("index", example="yusa index notes/ table.csv -i my-index --id-field isbn --text-field summary")
@click.argument("sources", metavar="SOURCE...|-", nargs=-1, required=True)
@options.index_path
@options.new_encoder
@options.pooling
@options.max_length
@options.int8
@click.option(
    "--passage-tokens", type=click.IntRange(min=1), metavar="N", help="Most tokens of a passage, at creation."
)
@click.option("--overlap", type=click.IntRange(min=0), metavar="N", help="Tokens that passages share, at creation.")
@click.option(
    "--analyzer",
    type=click.Choice(["standard", "kiwi"]),
    help="What keyword search compares, at creation: kiwi adds Korean morphemes and is slower.",
)
@click.option("--id-field", metavar="F", help="The field of a row that holds its id; `id` or `_id` otherwise.")
@click.option("--text-field", metavar="F", help="The field of a row that holds its text; `text` otherwise.")
@click.option("--title-field", metavar="F", help="The field of a row that holds its title; `title` otherwise.")
@click.option("--glob", metavar="G", multiple=True, help="In folders only files that match; may be given again.")
@click.option("--format", metavar="NAME", help="What the files are, where their names don't tell: jsonl, csv, text, …")
@click.option("--encoding", metavar="NAME", help="The encoding of text files, where it is known; told apart otherwise.")
@click.option(
    "--source", metavar="NAME", help="The name to keep these documents under, instead of where they came from."
)
@click.option("--prune", is_flag=True, help="Afterwards delete what the sources held before and no longer have.")
@click.option("--yes", is_flag=True, help="Prune without asking, however much it is.")
@click.option("--strict", is_flag=True, help="Read and check everything first; put in nothing if a row is bad.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@options.device
@options.wait
@click.option(
    "--rejects", type=options.PATH, metavar="FILE", help="Where rejected rows go; INDEX/rejects.jsonl otherwise."
)
@options.as_json
def index(
    sources: tuple[str, ...],
    index_path: Path,
    id_field: str | None,
    text_field: str | None,
    title_field: str | None,
    glob: tuple[str, ...],
    format: str | None,
    encoding: str | None,
    source: str | None,
    prune: bool,
    yes: bool,
    strict: bool,
    dry_run: bool,
    wait: float,
    rejects: Path | None,
    as_json: bool,
    **creation: Any,
) -> int:
    """Put the documents of files, folders or, with -, of standard input into the index; make it if there is none.

    JSONL, CSV, TSV and Parquet files hold one document a row; a file of text or Markdown is one document. What has not
    changed since is not encoded again. Ctrl-C finishes the batch in flight; what is in stays in.
    """
    import yusa
    from yusa.indexer import Report
    from yusa.service.cli.interrupt import stop_on_interrupt

    if "" in sources:
        raise UsageError("a source is empty, as of a variable that is not set; for this folder give .")
    if "-" in sources and len(sources) > 1:
        raise UsageError(
            "- stands for standard input and cannot be mixed with other sources; index them one after the other"
        )
    # YUSA_ENCODER is a default for new indexes; it says nothing about one that exists.
    insists = click.get_current_context().get_parameter_source("encoder") is ParameterSource.COMMANDLINE
    read = yusa.read(
        "-" if sources == ("-",) else [Path(name) for name in sources],
        glob=glob or None,
        id_field=id_field,
        text_field=text_field,
        title_field=title_field,
        encoding=encoding,
        format=format,
        source=source,
    )
    with ExitStack() as stack:
        opened = stack.enter_context(_open_or_create(index_path, creation, insists=insists, dry_run=dry_run))
        report_progress = stack.enter_context(reporter())
        stop = stack.enter_context(stop_on_interrupt(report_progress.stopping))
        try:
            report = opened.add(
                read,
                prune=prune,
                confirm=(lambda *_: True) if yes else _question(report_progress),
                strict=strict,
                dry_run=dry_run,
                stop=stop,
                progress=report_progress,
                rejects=rejects or (None if dry_run else opened.path / "rejects.jsonl"),
                wait=wait,
            )
        except RejectedInputError as error:
            if isinstance(error.report, Report):
                _explain(error.report)
                if as_json:
                    _print_json(error.report)
            raise
    _explain(report)
    if as_json:
        _print_json(report)
    else:
        click.echo(_summary(report, dry_run=dry_run))
    if report.interrupted:
        return INTERRUPTED
    return FAILED if report.rejected or report.prune_refused else DONE


@contextmanager
def _open_or_create(path: Path, asked: dict[str, Any], *, insists: bool, dry_run: bool) -> Iterator[Index]:
    import yusa
    from yusa.opening import DEFAULT_ENCODER, DEFAULT_OVERLAP, DEFAULT_PASSAGE_TOKENS
    from yusa.service.cli.opening import lasting_name, say_loss

    encoder = {name: asked[name] for name in ("encoder", "pooling", "max_length", "device", "quantization")}
    with ExitStack() as stack:
        try:
            existing = encoder if insists else encoder | {"encoder": None}
            index = stack.enter_context(yusa.open(path, **existing))
            _require_same(index, asked | existing)
        except IndexNotFoundError:
            encoder["encoder"] = lasting_name(encoder["encoder"] or DEFAULT_ENCODER)
            passage_tokens = asked["passage_tokens"] or DEFAULT_PASSAGE_TOKENS
            # An eighth, as the defaults have it, where only the length was chosen.
            overlap = min(DEFAULT_OVERLAP, passage_tokens // 8) if asked["overlap"] is None else asked["overlap"]
            home = Path(stack.enter_context(TemporaryDirectory()), "index") if dry_run else path
            with working(f"loading {encoder['encoder']} …", always=True):
                made = yusa.create(
                    home,
                    passage_tokens=passage_tokens,
                    overlap=overlap,
                    analyzer=asked["analyzer"] or "standard",
                    **encoder,
                )
            index = stack.enter_context(made)
            say_loss(index)
        yield index


def _require_same(index: Index, asked: dict[str, Any]) -> None:
    """Refuses settings that an existing index cannot take on any more."""
    settings = index.settings
    differing = [
        f"{option} {has}, not {asked[name]}"
        for name, option, has in (
            ("passage_tokens", "--passage-tokens", settings.passage_tokens),
            ("overlap", "--overlap", settings.overlap),
            ("analyzer", "--analyzer", settings.analyzer),
        )
        if asked[name] not in (None, has)
    ]
    if differing:
        raise StorageError(
            f"{index.path} was made with {' and '.join(differing)}; leave the option out, or make another index with "
            "-i. `yusa reindex` cuts passages anew."
        )
    from yusa.service.cli.opening import load_encoder

    has = {"encoder": settings.encoder, **settings.encoder_options}
    if any(asked[name] not in (None, has.get(name)) for name in ("encoder", "pooling", "max_length", "quantization")):
        load_encoder(index, asked["encoder"], always_say=True)


def _question(progress: Reporter) -> Callable[[str, int, int], bool] | None:
    """Asks before much is pruned; None where nobody can answer."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(source: str, missing: int, held: int) -> bool:
        with progress.paused():
            text = f"{clean(source)} no longer has {missing:,} of its {held:,} documents. Delete them?"
            return click.confirm(text, err=True)

    return ask


def _explain(report: Report) -> None:
    for note in (*report.notes, *report.prune_refused):
        say(clean(note))
    for row in report.rejections[:REJECTIONS_SHOWN]:
        place = row.file if row.line is None else f"{row.file}:{row.line}"
        say(clean(f"rejected {place}: {row.reason}"))
    if report.rejected:
        more = report.rejected - min(len(report.rejections), REJECTIONS_SHOWN)
        all_of_them = f"all of them, with their rows: {report.rejects_file}" if report.rejects_file else ""
        say("; ".join(filter(None, (f"and {more:,} more" if more else "", all_of_them))))
    if report.interrupted:
        done = report.added + report.updated
        say(f"stopped: {done:,} new or changed documents are in; the same command does the rest")


def _print_json(report: Report) -> None:
    print_json(asdict(report) | {"rejects_file": report.rejects_file and str(report.rejects_file)})


def _summary(report: Report, *, dry_run: bool) -> str:
    names = ("added", "updated", "unchanged", "rejected", "skipped", "pruned")
    counts = ", ".join(f"{getattr(report, name):,} {name}" for name in names)
    if dry_run:
        return f"nothing is written; it would be: {counts}"
    speed = f", {report.tokens / report.seconds:,.0f} tokens/s" if report.encoded and report.seconds else ""
    return f"{counts}\n{report.encoded:,} of {report.passages:,} passages encoded in {duration(report.seconds)}{speed}"
