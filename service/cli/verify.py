"""`yusa verify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from yusa.service.cli import options
from yusa.service.cli.console import print_json, say, working
from yusa.service.errors import DONE, FAILED


@options.command("verify", example="yusa verify --deep")
@options.index_path
@click.option("--deep", is_flag=True, help="Read every row and every vector, instead of a sample.")
@options.as_json
def verify(index_path: Path, deep: bool, as_json: bool) -> int:
    """Check that the index is whole. Exit code 1 if anything is not as it should be.

    What is derived (segments) repairs itself at the next write, and answers are right all the same; damage to the
    database wants a backup.
    """
    import yusa

    with yusa.open(index_path) as index, working("checking …"):
        report = index.verify(deep=deep)
    if as_json:
        print_json({"ok": report.ok, **asdict(report)})
    else:
        click.echo(
            f"{report.documents:,} documents, {report.passages:,} passages, {report.segments:,} segments: "
            f"{'all is well' if report.ok else 'not as it should be'}{'' if deep else ' (checked by samples)'}"
        )
    for problem in report.problems:
        say(f"damaged: {problem}")
    for problem in report.repairable:
        say(f"not used, and rebuilt at the next write: {problem}")
    return DONE if report.ok else FAILED
