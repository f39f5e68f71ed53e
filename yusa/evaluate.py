"""Evaluation of an index: the search function of one, and one in the cache for a data set's own corpus."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

import yusa
from yusa.encoder.cache import cache_dir
from yusa.errors import DocumentNotFoundError, InputError, RunInterruptedError
from yusa.index import Index
from yusa.opening import DEFAULT_OVERLAP, DEFAULT_PASSAGE_TOKENS
from yusa.search.datasets import Dataset, corpus_blocks, corpus_digest
from yusa.search.evaluation import SearchFunction
from yusa.search.hit import Hit
from yusa.search.setting import Setting
from yusa.storage.state import FORMAT_VERSION

if TYPE_CHECKING:
    from yusa.encoder.base import SentenceEncoder
    from yusa.indexer import Progress, Report
    from yusa.storage.filters import Filter


def search_function(index: Index, where: Filter | None = None, *, snippets: bool = False) -> SearchFunction:
    """How `index` answers questions in a setting. They are taken literally: a quote in a question is no syntax.

    Args:
        snippets: as a person's search has them; a ranking that is measured needs none.
    """

    def search(questions: Sequence[str], setting: Setting) -> list[list[Hit]]:
        return index.search_many(
            questions,
            top_k=setting.top_k,
            mode=setting.mode,
            where=where,
            weight=setting.weight,
            rerank=setting.rerank,
            rerank_depth=setting.rerank_depth,
            literal=True,
            snippets=snippets,
        )

    return search


def coverage(index: Index, dataset: Dataset) -> list[str]:
    """What to say where judged documents are not in the index; they count as not found, as trec_eval has it.

    Raises:
        InputError: the index holds none of the right documents.
    """
    judged = dataset.judged_documents()
    absent = _absent(index, judged)
    right = {id for question in dataset.questions for id in dataset.right(question)}
    if right <= absent:
        raise InputError(
            f"{index.path} holds none of the {len(right):,} right documents of {dataset.name}, such as "
            f"{min(right)!r}; ids are exact. Is it the right index?"
        )
    return [f"{len(absent):,} of {len(judged):,} judged documents are not in the index"] if absent else []


def _absent(index: Index, ids: Iterable[str]) -> set[str]:
    absent = set()
    for id in ids:
        try:
            index.get(id)
        except DocumentNotFoundError:
            absent.add(id)
    return absent


@contextmanager
def cached_index(
    corpus: Path,
    encoder: SentenceEncoder,
    *,
    progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Iterator[tuple[Index, list[str]]]:
    """The index of a corpus in the user's cache, filled if it is not; and what there is to say of it.

    It is kept under what determines it: the corpus, the encoder's fingerprint, the way passages are cut, and the
    format. A run that was stopped goes on where it ended.

    Raises:
        RunInterruptedError: `stop` was set before everything was in.
        InputError: the corpus cannot be read, or no row of it can be indexed.
    """
    home = cache_dir() / "eval" / _key(corpus, encoder)
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {home} in the cache: {error}; set YUSA_CACHE to another directory") from error
    filled = home / "filled.json"
    with FileLock(home / "filling.lock"), _opened(home / "index", encoder) as index:
        if not filled.exists():
            with _plain(corpus, home) as rows:
                report = index.add(yusa.read(rows, format="jsonl", source=corpus.name), stop=stop, progress=progress)
            if report.interrupted:
                raise RunInterruptedError("stopped before all of the corpus was in; the same command goes on from here")
            if not index.stats().documents:
                raise InputError(f"no row of {corpus} can be indexed{_first_reason(report)}")
            _publish(filled, json.dumps(_notes(report), ensure_ascii=False))
    with _opened(home / "index", encoder) as index:
        yield index, json.loads(filled.read_text("utf-8"))


def _key(corpus: Path, encoder: SentenceEncoder) -> str:
    parts = [
        corpus_digest(corpus),
        encoder.fingerprint.to_dict(),
        DEFAULT_PASSAGE_TOKENS,
        DEFAULT_OVERLAP,
        FORMAT_VERSION,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _opened(path: Path, encoder: SentenceEncoder) -> Index:
    if (path / "index.db").exists():
        return yusa.open(path, encoder=encoder)
    return yusa.create(path, encoder=encoder)


@contextmanager
def _plain(corpus: Path, home: Path) -> Iterator[Path]:
    if corpus.suffix != ".gz":
        yield corpus
        return
    with tempfile.TemporaryDirectory(dir=home, prefix="unpacked-") as folder:
        rows = Path(folder, corpus.stem)
        with rows.open("wb") as file:
            for block in corpus_blocks(corpus):
                file.write(block)
        yield rows


def _notes(report: Report) -> list[str]:
    return [f"{report.rejected:,} rows of the corpus were rejected{_first_reason(report)}"] if report.rejected else []


def _first_reason(report: Report) -> str:
    first = next(iter(report.rejections), None)
    return f", the first in line {first.line}: {first.reason}" if first else ""


def _publish(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(temporary).replace(path)
