"""`yusa show`."""

from __future__ import annotations

from pathlib import Path

import click

from yusa.service.cli import options
from yusa.service.cli.console import console, print_json, valid_text


@options.command("show", example="yusa show notes/2024.md --json")
@click.argument("id")
@options.index_path
@options.as_json
def show(id: str, index_path: Path, as_json: bool) -> None:
    """Show the document ID: text, metadata, source, and where its passages lie."""
    import yusa

    with yusa.open(index_path) as index:
        row, passages = index.row(valid_text(id, "the id"))
    document = row.document
    if as_json:
        print_json({
            "id": document.id,
            "title": document.title,
            "text": document.text,
            "metadata": dict(document.metadata),
            "source": row.source,
            "passages": [{"ordinal": p.ordinal, "start": p.start, "end": p.end} for p in passages],
        })  # fmt: skip
        return
    from yusa.service.cli.render import print_document

    print_document(console(), row, [(p.start, p.end) for p in passages])
