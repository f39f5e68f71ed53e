"""`yusa compact`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from yusa.service.cli import options
from yusa.service.cli.console import megabytes, print_json, working


@options.command("compact", example="yusa compact --wait 60")
@options.index_path
@options.wait
@options.as_json
def compact(index_path: Path, wait: float, as_json: bool) -> None:
    """Merge what can be merged and give the space of deleted documents back to the disk. Searches go on meanwhile."""
    import yusa

    with yusa.open(index_path) as index, working("compacting …"):
        report = index.compact(wait=wait)
    if as_json:
        print_json({**asdict(report), "bytes_freed": report.bytes_freed})
    else:
        click.echo(f"{megabytes(report.bytes_freed)} given back; the index takes {megabytes(report.bytes_after)}")
