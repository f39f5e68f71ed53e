"""`yusa similar`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from yusa.service.cli import options
from yusa.service.cli.console import say, valid_text
from yusa.service.cli.search import print_answer


@options.command("similar", example="yusa similar notes/2024.md -k 5")
@click.argument("id")
@options.index_path
@options.top_k
@options.offset
@options.where
@options.passages
@options.explain
@options.output_format
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def similar(
    id: str, index_path: Path, where: str | None, explain: bool, output_format: str, as_json: bool, **wanted: Any
) -> None:
    """Find the documents nearest to the document ID, which is left out itself. Needs no encoder."""
    import yusa

    with yusa.open(index_path) as index:
        narrowed = None if where is None else valid_text(where, "--where")
        hits = index.similar(valid_text(id, "the id"), where=narrowed, **wanted)
    print_answer(hits, "json" if as_json else output_format, explain=explain)
    if not hits:
        say("no other document is there" + (" that --where lets pass" if where else ""))
