"""`yusa restore`."""

from __future__ import annotations

from pathlib import Path

import click

from yusa.service.cli import options
from yusa.service.cli.console import print_json, say, working


@options.command("restore", example="yusa restore /mnt/backup/news-2024-05-01 -i news --replace")
@click.argument("source", metavar="SRC", type=options.PATH)
@options.index_path
@click.option("--replace", is_flag=True, help="Put an index that is there aside, under another name.")
@options.as_json
def restore(source: Path, index_path: Path, replace: bool, as_json: bool) -> None:
    """Make an index of the backup SRC, a directory or the one file index.db of it.

    The backup is checked first; what it replaces is renamed, not deleted.
    """
    import yusa

    with working("restoring …"):
        aside = yusa.restore(source, index_path, replace=replace)
    if as_json:
        print_json({"index": str(index_path), "replaced": None if aside is None else str(aside)})
        return
    say(f"{index_path} holds what {source} holds")
    if aside is not None:
        say(f"the index that was there is {aside} now; delete it when you do not need it any more")
