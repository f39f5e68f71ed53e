"""`yusa backup`."""

from __future__ import annotations

from pathlib import Path

import click

from yusa.service.cli import options
from yusa.service.cli.console import print_json, say, working


@options.command("backup", example="yusa backup /mnt/backup/news-2024-05-01 -i news")
@click.argument("destination", metavar="DEST", type=options.PATH)
@options.index_path
@options.as_json
def backup(destination: Path, index_path: Path, as_json: bool) -> None:
    """Copy the index, as of now, into the new directory DEST, also while it is searched and written.

    The copy is an index: give it to -i.
    """
    import yusa

    with yusa.open(index_path) as index, working("copying …"):
        index.backup(destination)
    if as_json:
        print_json({"index": str(index_path), "backup": str(destination)})
    else:
        say(f"{destination} holds a copy of {index_path}")
