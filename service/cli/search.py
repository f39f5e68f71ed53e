"""`yusa search`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yusa.errors import UsageError
from yusa.service.cli import options
from yusa.service.cli.console import console, print_json, print_json_line, say, stdin_lines, valid_text

if TYPE_CHECKING:
    from yusa.encoder.base import Pooling
    from yusa.index import Index
    from yusa.search.hit import Hit

QUERIES_AT_ONCE = 64


@options.command("search", example="yusa search 비 오는 날 볼 영화 -k 5 --where \"year >= 2020 and lang = 'ko'\"")
@click.argument("query", nargs=-1, required=True)
@options.index_path
@options.top_k
@options.offset
@click.option("--mode", type=click.Choice(["dense"]), default="dense", show_default=True, help="How to search.")
@options.where
@options.passages
@click.option("--min-score", type=float, metavar="X", help="Leave out hits with a lower score.")
@options.same_encoder
@options.pooling
@options.device
@options.explain
@options.output_format
def search(
    query: tuple[str, ...],
    index_path: Path,
    output_format: str,
    where: str | None,
    explain: bool,
    encoder: str | None,
    pooling: Pooling | None,
    device: str | None,
    **wanted: Any,
) -> None:
    """Find the documents nearest in meaning to QUERY.

    The words of a query need no quotes. With - for QUERY, every line of standard input is one, and with --format jsonl
    each hit then says which it answers.
    """
    import yusa
    from yusa.search.where import parse
    from yusa.service.cli.opening import load_encoder

    many = query == ("-",)
    if many and output_format == "json":
        raise UsageError("--format json is one array of hits; for queries from standard input use --format jsonl")
    wanted["where"] = None if where is None else parse(valid_text(where, "--where"))
    queries = stdin_lines() if many else iter([valid_text(" ".join(query), "the query")])

    with ExitStack() as stack:
        answers: Iterable[tuple[str, list[Hit]]]
        if explain:
            answers = _timed(stack, index_path, queries, wanted, encoder=encoder, pooling=pooling, device=device)
        else:
            index = stack.enter_context(yusa.open(index_path, encoder=encoder, pooling=pooling, device=device))
            load_encoder(index, encoder)
            answers = _answers(index, queries, wanted)
        for text, hits in answers:
            if many and output_format == "table":
                click.echo(f"{text}\n")
            print_answer(hits, output_format, explain=explain, extra={"query": text} if many else {})
            if not hits:
                say(f"no hits{f' for {text!r}' if many else ''}{_why(wanted)}")


def print_answer(
    hits: list[Hit], output_format: str, *, explain: bool = False, extra: dict[str, str] | None = None
) -> None:
    """Prints one answer to stdout in one of the three formats."""
    if output_format == "json":
        print_json([hit.to_dict() for hit in hits])
    elif output_format == "jsonl":
        for hit in hits:
            print_json_line({**(extra or {}), **hit.to_dict()})
    elif hits:
        from yusa.service.cli.render import print_hits

        print_hits(console(), hits, explain=explain)


def _answers(index: Index, queries: Iterator[str], wanted: dict[str, Any]) -> Iterator[tuple[str, list[Hit]]]:
    while batch := list(islice(queries, QUERIES_AT_ONCE)):
        yield from zip(batch, index.search_many(batch, **wanted), strict=True)


def _timed(
    stack: ExitStack, path: Path, queries: Iterator[str], wanted: dict[str, Any], **encoder: Any
) -> Iterator[tuple[str, list[Hit]]]:
    from yusa.service.cli.opening import open_timed, timed_search

    index, timed = stack.enter_context(open_timed(path, **encoder))
    for query in queries:
        hits, took = timed_search(index, timed, query, **wanted)
        yield query, hits
        say(f"{wanted['mode']} · {took} · {timed.name} on {timed.provenance.get('device', 'an unknown device')}")


def _why(wanted: dict[str, Any]) -> str:
    limits = {
        "--where": wanted["where"] is not None,
        "--min-score": wanted["min_score"] is not None,
        "--offset": wanted["offset"] > 0,
    }
    named = " and ".join(name for name, given in limits.items() if given)
    return f" (with this {named})" if named else "; the index is empty"
