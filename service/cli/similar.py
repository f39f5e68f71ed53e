"""`yusa similar`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from yusa.errors import InputError, UsageError
from yusa.service.cli import options
from yusa.service.cli.console import say, valid_text
from yusa.service.cli.search import print_answer


@options.command("similar", example="yusa similar notes/2024.md -k 5\nyusa similar --file draft.txt")
@click.argument("id", required=False)
@click.option("--passage", type=click.IntRange(min=0), metavar="N", help="Compare only passage N of the document.")
@click.option("--file", "path", type=options.PATH, help="Compare a text file that need not be in the index.")
@options.index_path
@options.top_k
@options.offset
@options.where
@options.passages
@options.explain
@options.output_format
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def similar(
    id: str | None,
    passage: int | None,
    path: Path | None,
    index_path: Path,
    where: str | None,
    explain: bool,
    output_format: str,
    as_json: bool,
    **wanted: Any,
) -> None:
    """Find the documents nearest to the document ID, which is left out itself, or to a text file.

    For a document of the index no encoder is needed.
    """
    import yusa

    if (id is None) == (path is None) or (path is not None and passage is not None):
        raise UsageError("give the ID of a document (and --passage, if you like), or --file PATH")
    wanted["where"] = None if where is None else valid_text(where, "--where")
    with yusa.open(index_path) as index:
        if path is not None:
            from yusa.service.cli.opening import load_encoder

            text = _text_of(path)
            load_encoder(index, None)
            hits = index.similar_text(text, **wanted)
        else:
            hits = index.similar(valid_text(id or "", "the id"), passage=passage, **wanted)
    print_answer(hits, "json" if as_json else output_format, explain=explain)
    if not hits:
        say("no other document is there" + (" that --where lets pass" if where else ""))


def _text_of(path: Path) -> str:
    from yusa.indexer.encodings import HEAD_BYTES, detect

    try:
        data = path.read_bytes()
        encoding = detect(data[:HEAD_BYTES]).encoding
        if encoding is None:
            raise InputError(f"{path} is not text; give a text file")
        return data.decode(encoding)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in one encoding (byte {error.start + 1}); convert it to UTF-8") from error
