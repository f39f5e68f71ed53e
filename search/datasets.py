"""Judged questions: BEIR's layout or a table of questions and right documents, as one Dataset.

A directory holds `queries.jsonl` (`_id`, `text`), judgements (`query-id`, `corpus-id`, `score`, divided by tabs, with
or without a header) in `qrels.tsv`, `qrels.SPLIT.tsv` or `qrels/SPLIT.tsv`, and `corpus.jsonl` where it is to be
indexed; each may be packed as `.gz`. A table (`.csv`, or `.tsv`) has the columns `question` and `id`, of several
documents divided by `|` or on several rows, and optionally `score`; it has no corpus. Everything is UTF-8, with or
without BOM.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yusa.errors import InputError, UsageError
from yusa.text.normal import nfc

DEFAULT_SPLIT: Final = "test"
"""BEIR's own: the split taken where there are several and none was asked for."""
MOST_BYTES: Final = 512 << 20
"""Bytes that questions or judgements may have, unpacked; a small `.gz` may hold any number of them."""
_NUMBER: Final = re.compile(r"[+-]?\d{1,18}")
QUESTION_COLUMNS: Final = ("question", "query")
ID_COLUMNS: Final = ("id", "ids")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Questions with the documents that answer them.

    Attributes:
        questions: text by id, in the order of the file; only those with a right document.
        qrels: by question, the relevance of each judged document; more than 0 is right, more is better.
        corpus: the documents' file, None for a table.
        notes: what was left out, for people.
    """

    name: str
    split: str | None
    questions: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    corpus: Path | None
    notes: tuple[str, ...] = ()

    def right(self, question: str) -> list[str]:
        """The ids of the documents that answer a question, the most relevant first."""
        judged = self.qrels[question]
        return sorted((id for id in judged if judged[id] > 0), key=lambda id: (-judged[id], id))

    def judged_documents(self) -> set[str]:
        """Every id that some judgement names."""
        return {id for judged in self.qrels.values() for id in judged}


def load_dataset(path: Path, split: str | None = None) -> Dataset:
    """Read a directory or a table.

    Raises:
        UsageError: the split is not there, or must be chosen.
        InputError: a file is missing or cannot be understood, or no question has a right document.
    """
    if path.is_dir():
        qrels_file, taken = _qrels_file(path, split)
        queries = _require(path, "queries.jsonl")
        corpus = _either(path / "corpus.jsonl")
        return _checked(path.resolve().name, taken, _read_queries(queries), _read_qrels(qrels_file), corpus)
    if not path.exists():
        raise InputError(f"there is no data set at {path}")
    if split is not None:
        raise UsageError(f"{path} is a table, which has no splits; leave --split out")
    questions, qrels = _read_table(path)
    return _checked(path.name.removesuffix(".gz").rpartition(".")[0] or path.name, None, questions, qrels, None)


def open_corpus(path: Path) -> io.BufferedIOBase:
    """The bytes of a corpus, unpacked."""
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _qrels_file(path: Path, split: str | None) -> tuple[Path, str | None]:
    splits: dict[str | None, Path] = {}
    for file in sorted([*path.glob("qrels.*tsv*"), *path.glob("qrels/*.tsv*")]):
        name = file.name.removesuffix(".gz")
        if not name.endswith(".tsv"):
            continue
        middle = name.removesuffix(".tsv")
        key = middle if file.parent.name == "qrels" and file.parent != path else middle.removeprefix("qrels").strip(".")
        splits.setdefault(key or None, file)
    named = sorted(key for key in splits if key)
    if split is not None:
        if split not in splits:
            raise UsageError(f"{path} has no split {split!r}; it has {', '.join(named) or 'none'}")
        return splits[split], split
    if None in splits:
        return splits[None], None
    if len(named) == 1 or DEFAULT_SPLIT in named:
        taken = named[0] if len(named) == 1 else DEFAULT_SPLIT
        return splits[taken], taken
    if named:
        raise UsageError(f"{path} has the splits {', '.join(named)}; choose one with --split")
    raise InputError(f"{path} has no judgements; they stand in qrels.tsv, qrels.SPLIT.tsv or qrels/SPLIT.tsv")


def _either(path: Path) -> Path | None:
    return next((file for file in (path, path.with_name(f"{path.name}.gz")) if file.is_file()), None)


def _require(directory: Path, name: str) -> Path:
    file = _either(directory / name)
    if file is None:
        raise InputError(f"{directory} has no {name} (or {name}.gz)")
    return file


def _text(path: Path) -> str:
    try:
        with open_corpus(path) as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise InputError(f"{path} has more than {MOST_BYTES >> 20} MiB, unpacked, which is too much; split it")
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (byte {error.start + 1:,}); convert it first, "
            f"for example with: iconv -f CP949 -t UTF-8"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _read_queries(path: Path) -> dict[str, str]:
    questions: dict[str, str] = {}
    # Only \n ends a row: U+2028 and the like may stand within a JSON string.
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}:{number} is not JSON: {error}") from error
        id, text = (row.get("_id", row.get("id")), row.get("text")) if isinstance(row, dict) else (None, None)
        if isinstance(id, bool) or not isinstance(id, str | int) or not isinstance(text, str) or not text.strip():
            raise InputError(f"{path}:{number} is not a question; it needs `_id` and `text`")
        if questions.setdefault(str(id), text) != text:
            raise InputError(f"{path}:{number} gives the id {str(id)!r} to another question than a line above")
    return questions


def _read_qrels(path: Path) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        cells = line.split("\t")
        if not line.strip() or (number == 1 and len(cells) == 3 and not _is_number(cells[2])):
            continue
        if len(cells) != 3 or not _is_number(cells[2]):
            raise InputError(f"{path}:{number} is not `query-id`, `corpus-id`, whole-numbered `score`, divided by tabs")
        _judge(qrels, cells[0].strip(), cells[1].strip(), int(cells[2]))
    return qrels


def _read_table(path: Path) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    delimiter = "\t" if path.name.removesuffix(".gz").endswith(".tsv") else ","
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=delimiter)
    questions: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        question_at, id_at = _column(header, QUESTION_COLUMNS), _column(header, ID_COLUMNS)
        if question_at is None or id_at is None:
            raise InputError(f"{path} needs a header with the columns question and id; its first row is {header}")
        score_at = _column(header, ("score",))
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            where = f"{path}:{reader.line_num}"
            question, ids, score = (_cell(row, at) for at in (question_at, id_at, score_at))
            if not question:
                raise InputError(f"{where} has no question")
            if score and not _is_number(score):
                raise InputError(f"{where} has a score that is not a whole number: {score!r}")
            key = question_id(question)
            questions.setdefault(key, question)
            for id in filter(None, map(str.strip, ids.split("|"))):
                _judge(qrels, key, id, int(score or 1))
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num} is not a table: {error}") from error
    return questions, qrels


def question_id(question: str) -> str:
    """An id for a question that has none: equal ones get the same."""
    canonical = " ".join(nfc(question).split())
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _column(header: list[str], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _cell(row: list[str], at: int | None) -> str:
    return row[at].strip() if at is not None and at < len(row) else ""


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text.strip()) is not None


def _judge(qrels: dict[str, dict[str, int]], question: str, id: str, score: int) -> None:
    judged, id = qrels.setdefault(question, {}), nfc(id)
    # Of two judgements of one pair the higher holds, whichever comes first.
    judged[id] = max(score, judged.get(id, score))


def _checked(
    name: str, split: str | None, questions: dict[str, str], qrels: dict[str, dict[str, int]], corpus: Path | None
) -> Dataset:
    right = {id for id, judged in qrels.items() if any(score > 0 for score in judged.values())}
    unknown = len(qrels.keys() - questions.keys())
    unjudged = len(questions.keys() - qrels.keys())
    unanswerable = len(questions.keys() & (qrels.keys() - right))
    notes = [
        f"{count:,} {what}"
        for count, what in (
            (unknown, "judged questions are not among the questions, and are left out"),
            (unjudged, "questions have no judgement in this split, and are left out"),
            (unanswerable, "questions are judged to have no right document, and are left out"),
        )
        if count
    ]
    kept = {id: text for id, text in questions.items() if id in right}
    if not kept:
        raise InputError(f"no question of {name} has a right document" + "".join(f"; {note}" for note in notes))
    return Dataset(name, split, kept, {id: qrels[id] for id in kept}, corpus, tuple(notes))


def corpus_digest(path: Path) -> str:
    """SHA-256 of a corpus, of what is in it and not how it is packed.

    Raises:
        InputError: it cannot be unpacked.
    """
    digest = hashlib.sha256()
    for block in corpus_blocks(path):
        digest.update(block)
    return digest.hexdigest()


def corpus_blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a corpus, unpacked, piece by piece.

    Raises:
        InputError: it cannot be unpacked.
    """
    try:
        with open_corpus(path) as file:
            while block := file.read(1 << 20):
                yield block
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
