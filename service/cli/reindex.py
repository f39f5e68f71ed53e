"""`yusa reindex`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yusa.errors import UsageError
from yusa.service.cli import options
from yusa.service.cli.console import print_json, say
from yusa.service.cli.progress import duration, reporter
from yusa.service.errors import DONE, INTERRUPTED

if TYPE_CHECKING:
    from yusa.indexer import ReindexReport


@options.command("reindex", example="yusa reindex --encoder intfloat/multilingual-e5-base -i news")
@options.index_path
@click.option("--encoder", metavar="M", help="The new encoder: a packaged model, a directory, or a hub name.")
@options.pooling
@options.max_length
@options.int8
@click.option(
    "--passage-tokens", type=click.IntRange(min=1), metavar="N", help="Cut passages anew, of at most N tokens."
)
@click.option("--overlap", type=click.IntRange(min=0), metavar="N", help="Tokens that passages share.")
@click.option("--rollback", is_flag=True, help="Go back to the encoding before the last reindex.")
@click.option("--discard", is_flag=True, help="Drop an unfinished reindex, and what --rollback would go back to.")
@options.device
@options.wait
@options.as_json
def reindex(
    index_path: Path, rollback: bool, discard: bool, device: str | None, wait: float, as_json: bool, **asked: Any
) -> int:
    """Encode every document with another encoder, or cut passages anew, while the index is searched as before.

    The switch happens at the end, at once. After Ctrl-C or a kill the same command goes on where it stood. The old
    encoding stays for --rollback until the next reindex, or --discard; `yusa compact` then gives its space back.
    """
    import yusa
    from yusa.service.cli.interrupt import stop_on_interrupt
    from yusa.service.cli.opening import lasting_name, say_loss

    wanted = {name: value for name, value in asked.items() if value is not None}
    if bool(wanted) + rollback + discard != 1:
        raise UsageError(
            "give what is to be new (--encoder, --pooling, --passage-tokens, …), or --rollback, or --discard"
        )
    with ExitStack() as stack:
        index = stack.enter_context(yusa.open(index_path, device=device))
        if discard:
            dropped = index.discard(wait=wait)
            if as_json:
                print_json({"discarded": dropped})
            else:
                click.echo(
                    "discarded; `yusa compact` gives the space back" if dropped else "there was nothing to discard"
                )
            return DONE
        shown = stack.enter_context(reporter())
        stop = stack.enter_context(stop_on_interrupt(shown.stopping))
        if rollback:
            report = index.rollback(stop=stop, progress=shown, wait=wait)
        else:
            if "encoder" in wanted:
                wanted["encoder"] = lasting_name(wanted["encoder"])
            report = index.reindex(**wanted, device=device, stop=stop, progress=shown, wait=wait)
            if "quantization" in wanted and not report.interrupted:
                say_loss(index)
    _print(report, as_json=as_json)
    return INTERRUPTED if report.interrupted else DONE


def _print(report: ReindexReport, *, as_json: bool) -> None:
    if report.interrupted:
        say(f"stopped: {report.documents:,} documents are encoded; the same command does the rest")
    if as_json:
        print_json(asdict(report))
    elif not report.interrupted:
        click.echo(
            f"searches are answered with {report.encoder} now; {report.documents:,} documents, {report.passages:,} "
            f"passages encoded in {duration(report.seconds)}"
        )
