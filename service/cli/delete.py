"""`yusa delete`."""

from __future__ import annotations

from pathlib import Path

import click

from yusa.service.cli import options
from yusa.service.cli.console import print_json, say, stdin_lines, valid_text
from yusa.service.errors import DONE, FAILED


@options.command("delete", example="yusa delete notes/old.md notes/older.md")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@options.index_path
@options.wait
@options.as_json
def delete(ids: tuple[str, ...], index_path: Path, wait: float, as_json: bool) -> int:
    """Delete the documents ID... from the index; with - their ids are read from standard input, one a line.

    They are out of every search at once. `yusa compact` gives their space back.
    """
    import yusa

    wanted = [valid_text(id, "an id") for id in (stdin_lines() if ids == ("-",) else ids)]
    with yusa.open(index_path) as index:
        deleted = index.delete(wanted, wait=wait)
    there = set(deleted)
    missing = [id for id in dict.fromkeys(wanted) if id not in there]
    if as_json:
        print_json({"deleted": deleted, "missing": missing})
        return FAILED if missing else DONE
    say(f"deleted {len(deleted):,} document{'' if len(deleted) == 1 else 's'}")
    for id in missing:
        say(f"no document has the id {id!r}")
    return FAILED if missing else DONE
