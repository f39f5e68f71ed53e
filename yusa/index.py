"""An index: documents in, hits out. The only place where the rooms are put together."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from yusa.encoder.base import Pooling, Quantization, SentenceEncoder
from yusa.errors import DocumentNotFoundError, UsageError
from yusa.identity import CheckedEncoder, checked, load_encoder, require_cut, settings_for
from yusa.search.rerank import Reranker
from yusa.search.searcher import Mode, Searcher, check_choice
from yusa.storage import Settings, Store
from yusa.text.analyzer import load_analyzer
from yusa.text.normal import nfc

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from yusa.indexer import Progress, ReindexReport, Report, Source
    from yusa.search.hit import Hit
    from yusa.storage import CompactReport, Document, DocumentRow, Filter, PassageRow, Stats, VerifyReport
    from yusa.storage.facets import FacetValue


class Index:
    """One directory of documents that can be searched by meaning. Made by `create` and `open`.

    Safe to search from many threads and processes at once. One process writes at a time; a second is told who does.
    """

    def __init__(self, store: Store, load: Callable[[Settings], SentenceEncoder]) -> None:
        self._store = store
        self._encoder = CheckedEncoder(store, load)
        analyzer = load_analyzer(store.settings.analyzer)
        self._searcher = Searcher(store, lambda: self._encoder.loaded, analyzer, store.constraints)
        self._rerankers: dict[str, Reranker] = {}

    @property
    def path(self) -> Path:
        return self._store.path

    @property
    def settings(self) -> Settings:
        return self._store.settings

    @property
    def encoder(self) -> SentenceEncoder:
        """The encoder, loaded and compared with the index on first use."""
        return self._encoder.loaded

    def add(
        self,
        documents: Source | Sequence[Source] | Iterable[Document | Mapping[str, Any]],
        *,
        source: str = "python",
        prune: bool = False,
        confirm: Callable[[str, int, int], bool] | None = None,
        strict: bool = False,
        dry_run: bool = False,
        stop: threading.Event | None = None,
        progress: Callable[[Progress], None] | None = None,
        rejects: Path | None = None,
        wait: float = 0.0,
    ) -> Report:
        """Adds documents, replaces changed ones, skips unchanged ones before anything is encoded.

        Args:
            documents: what `yusa.read` returned, or Documents, or mappings with `id`, `text`, `title` and metadata.
            source: the name these belong to, where `documents` are plain objects; an id of another source is rejected.
            prune: afterwards delete what these sources held before and no longer have.
            confirm: asked as (source, to be deleted, held) before more than 20 % of a source is pruned.
            strict: read and check everything first, and commit nothing if a row is bad.
            dry_run: only say what would happen.
            stop: set it to finish the batch in flight and return.
            rejects: where rejected rows are written, as JSON lines.
            wait: seconds to wait for another writer.

        Raises:
            IndexLockedError: another process is writing.
            RejectedInputError: `strict`, and a row is bad; nothing was committed.
            InputError: a source cannot be read at all.
        """
        # Here and below, because a search needs nothing of what reads documents.
        from yusa.indexer import run

        return run(
            _sources(documents, source),
            self._store,
            self._encoder,
            prune=prune,
            confirm=confirm,
            strict=strict,
            dry_run=dry_run,
            stop=stop,
            progress=progress,
            rejects=rejects,
            wait=wait,
        )

    def search(
        self,
        query: str,
        *,
        top_k: int = 10,
        offset: int = 0,
        mode: Mode | None = None,
        where: str | Filter | None = None,
        passages: bool = False,
        min_score: float | None = None,
        weight: float | None = None,
        rerank: str | Path | Reranker | None = None,
        rerank_depth: int | None = None,
        collapse: bool = False,
        context: int = 0,
        literal: bool = False,
    ) -> list[Hit]:
        """The documents that answer `query`, best first; `min(top_k, documents that match)` of them.

        In a query `"a phrase"` must stand in the hit, `-word` must not stand in its document, and `RFC-21*` stands for
        every term that begins so.

        Args:
            mode: "dense" (by meaning), "lexical" (by words; every hit holds one; loads no encoder) or "hybrid" (by
                both). What is not given here, `tune` decided, else it is "hybrid".
            where: a condition on metadata, such as "year >= 2020 and lang = 'ko'".
            passages: every passage is a hit of its own, instead of the best of each document.
            min_score: leaves out hits whose cosine is less.
            weight: of the dense score in mode "hybrid", 0 to 1.
            rerank: a cross-encoder by name or directory, or an object with `name` and `scores`; it sorts the first
                `rerank_depth` hits (50) anew.
            collapse: leaves out hits that say nearly the same as a better one.
            context: how many passages before and after a hit come with it.
            literal: quotes, minus and star in the query have no meaning.

        Raises:
            FilterError: `where` cannot be understood.
            UsageError: an empty query, or a number out of range.
            EncoderMismatchError: the encoder is not the index's.
        """
        return self.search_many(
            [query],
            top_k=top_k,
            offset=offset,
            mode=mode,
            where=where,
            passages=passages,
            min_score=min_score,
            weight=weight,
            rerank=rerank,
            rerank_depth=rerank_depth,
            collapse=collapse,
            context=context,
            literal=literal,
        )[0]

    def search_many(
        self,
        queries: Sequence[str],
        *,
        top_k: int = 10,
        offset: int = 0,
        mode: Mode | None = None,
        where: str | Filter | None = None,
        passages: bool = False,
        min_score: float | None = None,
        weight: float | None = None,
        rerank: str | Path | Reranker | None = None,
        rerank_depth: int | None = None,
        collapse: bool = False,
        context: int = 0,
        literal: bool = False,
        snippets: bool = True,
    ) -> list[list[Hit]]:
        """One list of hits per query, as `search` gives them; encoded together and answered from one commit.

        Args:
            snippets: without them hits have no `snippet` and no `highlights`, which saves most of the time of a deep
                ranking that nobody reads.
        """
        tuned = self.tuned()
        judge = tuned.get("rerank") if rerank is None and mode is None else rerank
        return self._searcher.search(
            queries,
            top_k=top_k,
            offset=offset,
            mode=mode or tuned.get("mode", "hybrid"),
            where=where,
            passages=passages,
            min_score=min_score,
            weight=tuned.get("weight") if weight is None else weight,
            reranker=None if judge is None else self._reranker(judge),
            rerank_depth=tuned.get("rerank_depth") if rerank_depth is None else rerank_depth,
            collapse=collapse,
            context=context,
            literal=literal,
            snippets=snippets,
        )

    def similar(
        self,
        id: str,
        *,
        passage: int | None = None,
        top_k: int = 10,
        offset: int = 0,
        where: str | Filter | None = None,
        passages: bool = False,
    ) -> list[Hit]:
        """The documents nearest to a document of the index, or to its passage of this ordinal, without itself.

        Loads no encoder.

        Raises:
            DocumentNotFoundError: no document has this id, or it has no such passage.
        """
        return self._searcher.similar(id, passage=passage, top_k=top_k, offset=offset, where=where, passages=passages)

    def similar_text(
        self,
        text: str,
        *,
        title: str | None = None,
        top_k: int = 10,
        offset: int = 0,
        where: str | Filter | None = None,
        passages: bool = False,
    ) -> list[Hit]:
        """The documents nearest to a text, which is cut and encoded as a document would be, and not stored.

        Raises:
            InputError: the text holds nothing, or what is not text.
        """

        from yusa.indexer.prepare import encoded_document

        def encode(settings: Settings) -> tuple[str, NDArray[np.float32]]:
            return encoded_document(self.encoder, text, title, settings)

        return self._searcher.similar_text(encode, top_k=top_k, offset=offset, where=where, passages=passages)

    def facets(
        self,
        field: str,
        query: str | None = None,
        *,
        mode: Mode | None = None,
        where: str | Filter | None = None,
        literal: bool = False,
    ) -> list[tuple[FacetValue, int]]:
        """The values of a field with the number of matching documents that have them, the most frequent first.

        Args:
            query: its phrases and exclusions count; in mode "lexical" only documents that hold one of its terms do.
        """
        chosen = mode or self.tuned().get("mode", "hybrid")
        return self._searcher.facets(field, query, mode=chosen, where=where, literal=literal)

    def tuned(self) -> Mapping[str, Any]:
        """What `tune` stored: any of `mode`, `weight`, `rerank` and `rerank_depth`."""
        return self._store.tuned()

    def tune(self, choice: Mapping[str, Any], *, wait: float = 0.0) -> None:
        """Store how queries are answered from now on where they do not say; `{}` takes it back.

        Args:
            choice: any of `mode`, `weight` (0 to 1), `rerank` (name of a cross-encoder) and `rerank_depth`.

        Raises:
            UsageError: a choice that is none of these.
        """
        check_choice(choice)
        with self._store.write(wait=wait) as writer:
            writer.tune(choice)

    def _reranker(self, rerank: str | Path | Reranker) -> Reranker:
        if not isinstance(rerank, str | Path):
            return rerank
        name = str(rerank)
        if name not in self._rerankers:
            from yusa.encoder import CrossEncoder

            self._rerankers[name] = CrossEncoder.load(name)
        return self._rerankers[name]

    def get(self, id: str) -> Document:
        """The document with this id.

        Raises:
            DocumentNotFoundError: no document has this id.
        """
        return self.row(id)[0].document

    def row(self, id: str) -> tuple[DocumentRow, list[PassageRow]]:
        """The document with this id together with its source, and where its passages lie.

        Raises:
            DocumentNotFoundError: no document has this id.
        """
        with self._store.read() as view:
            row = view.get(nfc(id))
            if row is None:
                raise DocumentNotFoundError(
                    f"no document of {self.path} has the id {id!r}; ids are exact, case included"
                )
            return row, view.passages_of(row.key)

    def delete(self, ids: Iterable[str], *, wait: float = 0.0) -> list[str]:
        """Deletes documents; the ids that were there come back. They are out of every search from the return on.

        Raises:
            UsageError: `ids` is a string; its characters would be taken for ids.
        """
        if isinstance(ids, str):
            raise UsageError("delete takes a list of ids; put the one id into a list")
        with self._store.write(wait=wait) as writer:
            return writer.delete([nfc(id) for id in ids])

    def refresh(self) -> int:
        """Takes in what other processes committed, which every search does anyway; the sequence number reached."""
        with self._store.read() as view:
            return view.sequence

    def stats(self) -> Stats:
        """Counts, sizes and settings."""
        return self._store.stats()

    def verify(self, *, deep: bool = False) -> VerifyReport:
        """Compares what is derived with the truth: a sample, or with `deep` everything."""
        return self._store.verify(deep=deep)

    def compact(self, *, wait: float = 0.0) -> CompactReport:
        """Merges segments and gives the bytes of what was deleted back to the disk; searches go on meanwhile."""
        return self._store.compact(wait=wait)

    def reindex(
        self,
        encoder: str | Path | SentenceEncoder | None = None,
        *,
        pooling: Pooling | None = None,
        max_length: int | None = None,
        prompts: Mapping[str, str] | None = None,
        device: str | None = None,
        quantization: Quantization | None = None,
        passage_tokens: int | None = None,
        overlap: int | None = None,
        stop: threading.Event | None = None,
        progress: Callable[[Progress], None] | None = None,
        wait: float = 0.0,
    ) -> ReindexReport:
        """Encodes every document with another encoder, or cuts passages anew, while searches go on; then switches.

        What is encoded is committed a window at a time, and the switch is one transaction. After a kill or a `stop` the
        same call goes on; where nothing is left to do it does nothing. The encoding that was current is kept for
        `rollback` until the next reindex, or `discard`.

        Args:
            encoder: as for `create`; the index's own if only its options or the passages are to be others.
            passage_tokens: as it is, if not given.
            overlap: as it is, if not given, and at most an eighth of the passage.
            stop: set it to finish the window in flight and return without switching.

        Raises:
            IndexLockedError: another process is writing.
            StorageError: a reindex with other settings is under way.
            EncoderError: the encoder cannot be loaded.
        """
        from yusa.indexer import ReindexReport, reindex

        self.refresh()
        now = self.settings
        tokens = now.passage_tokens if passage_tokens is None else passage_tokens
        shared = min(now.overlap, tokens // 8) if overlap is None else overlap
        require_cut(tokens, shared)
        options = {
            "pooling": pooling,
            "max_length": max_length,
            "prompts": prompts,
            "device": device,
            "quantization": quantization,
        }
        given = {name: value for name, value in options.items() if value is not None}
        if encoder is not None:
            loaded = load_encoder(encoder, **given)
        else:
            loaded = load_encoder(now.encoder, **{**now.encoder_options, **given}) if given else self.encoder
        settings = settings_for(
            loaded,
            passage_tokens=tokens,
            overlap=shared,
            vector_dtype=now.vector_dtype,
            analyzer=now.analyzer,
        )
        if now.same_encoding(settings):
            return ReindexReport(settings.encoder, documents=0, passages=0, tokens=0, seconds=0.0, interrupted=False)
        self._encoder.offer(settings, lambda: loaded)
        with self._store.reindex(settings, wait=wait) as encoding:
            return reindex(encoding, lambda: loaded, stop=stop, progress=progress)

    def rollback(
        self,
        encoder: str | Path | SentenceEncoder | None = None,
        *,
        stop: threading.Event | None = None,
        progress: Callable[[Progress], None] | None = None,
        wait: float = 0.0,
    ) -> ReindexReport:
        """Goes back to the encoding before the last reindex; only documents added since are encoded.

        Args:
            encoder: that encoding's; loaded by the name the index remembers where it is not given, and only if a
                document has to be encoded.

        Raises:
            IndexLockedError: another process is writing.
            StorageError: no previous encoding is kept.
        """
        from yusa.indexer import reindex

        with self._store.rollback(wait=wait) as encoding:
            settings = encoding.settings

            @cache
            def loaded() -> SentenceEncoder:
                given = settings.encoder if encoder is None else encoder
                options = settings.encoder_options if isinstance(given, str | Path) else {}
                return checked(load_encoder(given, **options), settings, self.path)

            self._encoder.offer(settings, loaded)
            return reindex(encoding, loaded, stop=stop, progress=progress)

    def discard(self, *, wait: float = 0.0) -> bool:
        """Drops an unfinished reindex and the encoding kept for `rollback`; whether there was any.

        `compact` gives the space back.
        """
        return self._store.discard(wait=wait)

    def backup(self, path: str | Path) -> None:
        """Copies the index, as of now, into the new directory `path`, which is then an index itself."""
        self._store.backup(Path(path))

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _sources(documents: Source | Sequence[Source] | Iterable[Document | Mapping[str, Any]], name: str) -> list[Source]:
    from yusa.indexer import Source, documents_source

    if isinstance(documents, Source):
        return [documents]
    if isinstance(documents, list | tuple) and documents and all(isinstance(item, Source) for item in documents):
        return builtins.list(documents)
    return [documents_source(documents, name)]  # type: ignore[arg-type]
