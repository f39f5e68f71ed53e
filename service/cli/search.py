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
    from yusa.service.cli.opening import TimedIndex
    from yusa.storage.facets import FacetValue
    from yusa.storage.filters import Filter

    Facets = dict[str, list[tuple[FacetValue, int]]]

QUERIES_AT_ONCE = 64


@options.command("search", example="yusa search 비 오는 날 볼 영화 -k 5 --where \"year >= 2020 and lang = 'ko'\"")
@click.argument("query", nargs=-1, required=True)
@options.index_path
@options.top_k
@options.offset
@options.mode
@options.where
@options.passages
@click.option("--min-score", type=float, metavar="X", help="Leave out hits whose cosine is lower.")
@click.option("--collapse", is_flag=True, help="Leave out hits that say nearly the same as a better one.")
@click.option("--context", type=click.IntRange(min=0), default=0, metavar="N", help="Show N passages around each hit.")
@click.option("--facet", "facets", multiple=True, metavar="FIELD", help="Count the values of FIELD over what matches.")
@options.literal
@options.rerank
@options.rerank_depth
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
    facets: tuple[str, ...],
    explain: bool,
    encoder: str | None,
    pooling: Pooling | None,
    device: str | None,
    **wanted: Any,
) -> None:
    """Find the documents that answer QUERY.

    The words of a query need no quotes for the shell. Within it, "a phrase" must stand in a hit, -word (after --) must
    not stand in its document, and RFC-21* stands for every word that begins so. With - for QUERY, every line of
    standard input is one, and with --format jsonl each hit then says which it answers.
    """
    import yusa
    from yusa.service.cli.opening import TimedIndex, load_encoder

    many = query == ("-",)
    if many and (output_format == "json" or facets):
        raise UsageError(
            "--format json and --facet are for one query; for queries from standard input use --format jsonl"
        )
    wanted["where"] = None if where is None else _parsed(where)
    queries = stdin_lines() if many else iter([valid_text(" ".join(query), "the query")])

    with ExitStack() as stack:
        loading: dict[str, Any] = {"encoder": encoder, "pooling": pooling, "device": device}
        index = stack.enter_context(yusa.open(index_path, **loading))
        mode = wanted["mode"] or index.tuned().get("mode", "hybrid")
        answers: Iterable[tuple[str, list[Hit]]]
        if mode == "lexical" and encoder is None:
            answers = _answers(index, queries, wanted)
        elif explain:
            timed = stack.enter_context(TimedIndex(index_path, **loading))
            answers = _timed(timed, queries, wanted, mode)
        else:
            load_encoder(index, encoder)
            answers = _answers(index, queries, wanted)
        for text, hits in answers:
            if many and output_format == "table":
                click.echo(f"{text}\n")
            chosen = {name: wanted[name] for name in ("mode", "where", "literal")}
            counts = {field: index.facets(valid_text(field, "--facet"), text, **chosen) for field in facets}
            print_answer(hits, output_format, explain=explain, extra={"query": text} if many else {}, facets=counts)
            if not hits:
                say(f"no hits{f' for {text!r}' if many else ''}{_why(index, wanted, mode)}")


def print_answer(
    hits: list[Hit],
    output_format: str,
    *,
    explain: bool = False,
    extra: dict[str, str] | None = None,
    facets: Facets | None = None,
) -> None:
    """Prints one answer to stdout in one of the three formats; with facets, JSON is an object of both."""
    counted = {
        field: [{"value": value, "count": count} for value, count in found] for field, found in (facets or {}).items()
    }
    if output_format == "json":
        found = [hit.to_dict() for hit in hits]
        print_json({"hits": found, "facets": counted} if facets else found)
    elif output_format == "jsonl":
        for hit in hits:
            print_json_line({**(extra or {}), **hit.to_dict()})
        if facets:
            print_json_line({"facets": counted})
    else:
        from yusa.service.cli.render import print_facets, print_hits

        print_hits(console(), hits, explain=explain)
        print_facets(console(), facets or {})


def _parsed(where: str) -> Filter:
    from yusa.search.where import parse

    return parse(valid_text(where, "--where"))


def _answers(index: Index, queries: Iterator[str], wanted: dict[str, Any]) -> Iterator[tuple[str, list[Hit]]]:
    while batch := list(islice(queries, QUERIES_AT_ONCE)):
        yield from zip(batch, index.search_many(batch, **wanted), strict=True)


def _timed(
    timed: TimedIndex, queries: Iterator[str], wanted: dict[str, Any], mode: str
) -> Iterator[tuple[str, list[Hit]]]:
    for query in queries:
        hits, took = timed.search(query, **wanted)
        yield query, hits
        encoder = timed.encoder
        say(f"{mode} · {took} · {encoder.name} on {encoder.provenance.get('device', 'an unknown device')}")


def _why(index: Index, wanted: dict[str, Any], mode: str) -> str:
    limits = {
        "--where": wanted["where"] is not None,
        "--min-score": wanted["min_score"] is not None,
        "--offset": wanted["offset"] > 0,
    }
    named = " and ".join(name for name, given in limits.items() if given)
    if named:
        return f" (with this {named})"
    if index.stats().documents == 0:
        return "; the index is empty"
    return "; no document holds a word of it" if mode == "lexical" else "; nothing holds what it asks for"
