"""One run: documents of sources into an index."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from yusa.encoder.base import SentenceEncoder
from yusa.errors import RejectedInputError
from yusa.indexer.intake import Catalogue, Intake, chunks
from yusa.indexer.pipeline import Pipeline
from yusa.indexer.prune import Confirm, confirmed, in_chunks, plan
from yusa.indexer.results import Progress, Report
from yusa.indexer.source import Source, Spooled
from yusa.storage.records import Known

if TYPE_CHECKING:
    from yusa.storage import Store, Writer

WINDOW_DOCUMENTS = 4096


def run(
    sources: Sequence[Source],
    store: Store,
    encoder: SentenceEncoder,
    *,
    prune: bool = False,
    confirm: Confirm | None = None,
    strict: bool = False,
    dry_run: bool = False,
    stop: threading.Event | None = None,
    progress: Callable[[Progress], None] | None = None,
    rejects: Path | None = None,
    wait: float = 0.0,
    window_tokens: int | None = None,
    window_documents: int = WINDOW_DOCUMENTS,
) -> Report:
    """Brings the index up to the sources: new documents in, changed ones replaced, unchanged ones left alone.

    Args:
        prune: afterwards delete what the index holds of these sources and they no longer have. A source is pruned only
            if it was read completely and every rejected row has an id; rejected rows count as present.
        confirm: asked before more than 20 % of a source is deleted; without it such a source is not pruned.
        strict: read and check everything first, and commit nothing if a row is rejected. What can be read only once is
            kept in a temporary file meanwhile.
        dry_run: only count; nothing is written, nothing encoded, no lock taken.
        stop: set it to finish and commit the batch in flight, and return.
        progress: called in this thread after every batch.
        rejects: where rejected rows are written as JSON lines, if there are any: file, line, id, reason, raw. In a
            folder that is indexed it is left out.
        wait: seconds to wait for another writer.
        window_tokens, window_documents: how much is encoded between two commits; by default 32,768 tokens on a CPU,
            some ten seconds of work, and sixteen times as many on another device.

    Raises:
        IndexLockedError: another process is writing.
        RejectedInputError: `strict`, and a row was rejected; its `report` says which.
        StorageError: the index cannot be written. What was committed stays.
        UsageError: `rejects` is one of the sources.
    """
    begun = time.monotonic()
    stop = stop or threading.Event()
    if rejects is not None:
        for source in sources:
            source.leave_out(rejects)
    if dry_run:
        return _dry_run(sources, store, prune, stop, rejects, begun)
    with ExitStack() as stack:
        writer = stack.enter_context(store.write(wait=wait))
        if strict:
            sources = [s if s.repeatable else stack.enter_context(closing(Spooled(s))) for s in sources]
            _check(sources, writer, stop, rejects, begun)
        intake = Intake(sources, rejects)
        total = _bytes_total(sources) if progress else 0

        def tick() -> None:
            if progress is not None:
                progress(_progress(pipeline, intake, sources, total, begun))

        pipeline = Pipeline(
            sources,
            intake,
            writer,
            store.settings,
            encoder,
            window_tokens=window_tokens,
            window_documents=window_documents,
            stop=stop,
            tick=tick,
        )
        try:
            pipeline.run()
        finally:
            intake.close()
        tick()
        pruned = 0
        refused: tuple[str, ...] = ()
        if prune and not pipeline.interrupted:
            pruned, refused = _prune(sources, intake, writer, confirm)
        sequence = writer.sequence
    return _report(sources, intake, begun, sequence, pipeline=pipeline, pruned=pruned, refused=refused)


def _check(
    sources: Sequence[Source], writer: Catalogue, stop: threading.Event, rejects: Path | None, begun: float
) -> None:
    intake = Intake(sources, rejects)
    for chunk in chunks(sources):
        if stop.is_set():
            break
        intake.sort(chunk, writer)
    intake.close()
    if intake.rejected:
        first = intake.rejections[0]
        place = first.file if first.line is None else f"{first.file}, line {first.line}"
        raise RejectedInputError(
            f"nothing was committed: {intake.rejected:,} of {intake.documents:,} rows are rejected, "
            f"the first in {place}: {first.reason}",
            _report(sources, intake, begun, 0),
        )


def _prune(
    sources: Sequence[Source], intake: Intake, writer: Writer, confirm: Confirm | None
) -> tuple[int, tuple[str, ...]]:
    plans = [confirmed(made, confirm) for made in plan(sources, intake, writer)]
    pruned = sum(len(writer.delete(ids)) for made in plans if not made.refused for ids in in_chunks(made.gone))
    return pruned, tuple(made.refused for made in plans if made.refused)


def _dry_run(
    sources: Sequence[Source], store: Store, prune: bool, stop: threading.Event, rejects: Path | None, begun: float
) -> Report:
    intake = Intake(sources, rejects)
    catalogue = _Reader(store)
    added = updated = 0
    for chunk in chunks(sources):
        if stop.is_set():
            break
        candidates = intake.sort(chunk, catalogue)
        replaced = sum(candidate.replaces for candidate in candidates)
        updated += replaced
        added += len(candidates) - replaced
    intake.close()
    plans = plan(sources, intake, catalogue) if prune and not stop.is_set() else []
    with store.read() as view:
        sequence = view.sequence
    return replace(
        _report(sources, intake, begun, sequence),
        added=added,
        updated=updated,
        pruned=sum(len(made.gone) for made in plans),
        prune_refused=tuple(made.refused for made in plans if made.refused),
        interrupted=stop.is_set(),
    )


class _Reader:
    """A Catalogue that only reads, one short view for each question."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        with self._store.read() as view:
            return view.known(ids)

    def ids_of(self, source: str) -> Iterator[str]:
        with self._store.read() as view:
            return iter(view.ids_of(source))


def _report(
    sources: Sequence[Source],
    intake: Intake,
    begun: float,
    sequence: int,
    *,
    pipeline: Pipeline | None = None,
    pruned: int = 0,
    refused: tuple[str, ...] = (),
) -> Report:
    return Report(
        added=pipeline.added if pipeline else 0,
        updated=pipeline.updated if pipeline else 0,
        unchanged=intake.unchanged,
        rejected=intake.rejected,
        skipped=intake.skipped,
        pruned=pruned,
        passages=pipeline.passages if pipeline else 0,
        tokens=pipeline.tokens if pipeline else 0,
        encoded=pipeline.encoded if pipeline else 0,
        seconds=time.monotonic() - begun,
        rejections=tuple(intake.rejections),
        rejects_file=intake.rejects_file,
        prune_refused=refused,
        notes=tuple(note for source in sources for note in source.notes),
        sequence=sequence,
        interrupted=pipeline.interrupted if pipeline else False,
    )


def _progress(pipeline: Pipeline, intake: Intake, sources: Sequence[Source], total: int, begun: float) -> Progress:
    return Progress(
        documents=intake.documents,
        passages=pipeline.passages,
        tokens=pipeline.tokens,
        encoded=pipeline.encoded,
        bytes_read=sum(source.bytes_read for source in sources),
        bytes_total=total,
        seconds=time.monotonic() - begun,
        done=pipeline.added + pipeline.updated + intake.unchanged + intake.rejected,
    )


def _bytes_total(sources: Sequence[Source]) -> int:
    totals = [source.bytes_total for source in sources]
    return sum(totals) if all(totals) else 0
