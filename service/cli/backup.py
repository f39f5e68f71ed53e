"""`yusa backup`."""

from __future__ import annotations

from pathlib import Path

import click

from yusa.service.cli import options
from yusa.service.cli.console import say, working


@options.command("backup", example="yusa backup /mnt/backup/news-2024-05-01 -i news")
@click.argument("destination", metavar="DEST", type=options.PATH)
@options.index_path
def backup(destination: Path, index_path: Path) -> None:
    """Copy the index, as of now, into the new directory DEST, also while it is searched and written.

    The copy is an index: give it to -i.
    """
    import yusa

    with yusa.open(index_path) as index, working("copying …"):
        index.backup(destination)
    say(f"{destination} holds a copy of {index_path}")
