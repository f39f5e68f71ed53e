"""`yusa stats`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from yusa.service.cli import options
from yusa.service.cli.console import console, megabytes, print_json

if TYPE_CHECKING:
    from yusa.storage import Stats

SETTINGS = (
    "encoder",
    "encoder_options",
    "fingerprint",
    "provenance",
    "dimension",
    "passage_tokens",
    "overlap",
    "vector_dtype",
)


@options.command("stats", example="yusa stats -i news --json")
@options.index_path
@options.as_json
def stats(index_path: Path, as_json: bool) -> None:
    """Count what the index holds, what it takes on disk, and what `yusa compact` would give back."""
    import yusa

    with yusa.open(index_path) as index:
        counted = index.stats()
    settings = counted.settings
    if as_json:
        counts = {field.name: getattr(counted, field.name) for field in fields(counted) if field.name != "settings"}
        print_json(counts | {"settings": {name: getattr(settings, name) for name in SETTINGS}})
        return
    from yusa.service.cli.render import print_fields

    taken = megabytes(counted.database_bytes + counted.segment_bytes)
    live, dead = megabytes(counted.live_bytes), megabytes(counted.dead_bytes)
    pooling = settings.fingerprint["pooling"]
    print_fields(
        console(),
        [
            ("documents", f"{counted.documents:,}"),
            ("sources", f"{counted.sources:,}"),
            ("passages", f"{counted.passages:,}, at most {settings.passage_tokens} tokens, overlap {settings.overlap}"),
            ("encoder", f"{settings.encoder}, {settings.dimension} dimensions, {pooling} pooling"),
            *([("quantization", loss)] if (loss := settings.provenance.get("quantization")) else []),
            ("vectors", f"{settings.vector_dtype}, {counted.segments:,} segments, {counted.tail:,} in the tail"),
            ("on disk", f"{taken}: {live} live, {dead} of deleted vectors"),
            ("compact", f"would give {megabytes(counted.reclaimable_bytes)} back"),
            *_other_encodings(counted),
            ("commits", f"{counted.sequence:,}"),
            ("format", str(counted.format_version)),
        ],
    )


def _other_encodings(counted: Stats) -> list[tuple[str, str]]:
    taken = megabytes(counted.other_bytes)
    rows = []
    if counted.unfinished_encoder is not None:
        left = f"{counted.unfinished_documents:,} documents left"
        rows.append(("reindex", f"{counted.unfinished_encoder} is under way, {left}; {taken}"))
    if counted.previous_encoder is not None:
        rows.append(("rollback", f"to {counted.previous_encoder}; `yusa reindex --discard` would free {taken}"))
    return rows
