"""The command line. Nothing but click is imported until a command is chosen, so that `yusa --help` answers at once."""

from __future__ import annotations

import sys
from io import TextIOWrapper

import click

from yusa.service.cli.group import LazyGroup
from yusa.service.cli.options import show_version, verbose

COMMANDS = {
    "index": "Put documents into an index.",
    "search": "Find documents by meaning.",
    "session": "Search again and again with one loaded encoder.",
    "similar": "Find the documents nearest to a document.",
    "show": "Show a document of the index.",
    "delete": "Delete documents.",
    "stats": "Count what the index holds.",
    "verify": "Check the index.",
    "compact": "Give the space of deleted documents back.",
    "backup": "Copy the index, also while it is in use.",
    "restore": "Make an index of a backup.",
    "reindex": "Encode anew with another encoder, or go back.",
    "eval": "Measure search on judged questions.",
    "tune": "Choose how to search by judged questions.",
    "encode": "Turn texts into vectors, tokens or features.",
    "doctor": "Check the installation.",
}
"""Each name is a module of this package that holds a command of the same name."""


@click.group(cls=LazyGroup, package=__name__, lazy=COMMANDS, name="yusa")
@show_version
@verbose
def cli() -> None:
    """yusa: search Korean and English text by meaning.

    \b
    yusa index notes/            makes ./yusa-index, or adds to it
    yusa search 지루한 영화        asks it
    """


def main() -> None:
    """What the script `yusa` runs."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # A terminal in another encoding is left alone; pipes, files and LANG=C get UTF-8.
        if isinstance(stream, TextIOWrapper):
            if stream.encoding.lower() in ("ascii", "us-ascii") or not stream.isatty():
                stream.reconfigure(encoding="utf-8")
            stream.reconfigure(errors="surrogateescape" if stream is sys.stdin else "backslashreplace")
    cli(prog_name="yusa")
