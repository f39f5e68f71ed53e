from __future__ import annotations

import io
import os
import sys
import threading
import unicodedata
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from yusa.errors import InputError, MissingDependencyError, UsageError
from yusa.indexer import Rejected, Row, documents_source, read
from yusa.indexer.source import Source, Spooled
from yusa.storage.records import Document


def _documents(source: Source) -> list[Document]:
    return [item.document for item in source if isinstance(item, Row)]


class _Stdin:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)

    def fileno(self) -> int:
        raise io.UnsupportedOperation


def test_names_are_canonical(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.txt").write_text("t")
    monkeypatch.chdir(folder)
    names = [source.name for source in read([".", "../docs", "a.txt", folder / "a.txt"])]
    assert names == [folder.as_posix()] * 2 + [f"{folder.as_posix()}/a.txt"] * 2
    assert [source.name for source in read(".", source="mine")] == ["mine"]
    nfd = folder / unicodedata.normalize("NFD", "학교")
    nfd.mkdir()
    assert read(nfd)[0].name == f"{folder.as_posix()}/학교"


def test_the_same_path_twice_is_one_source(folder: Path) -> None:
    assert len(read([folder, folder])) == 1


@pytest.mark.parametrize("name", ["missing", "missing.jsonl", "docs/missing.txt"])
def test_a_missing_path_is_named(tmp_path: Path, folder: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"missing.* cannot be read: No such file or directory"):
        read(tmp_path / name)


def test_an_unknown_kind_is_named(folder: Path) -> None:
    path = folder / "a.xyz"
    path.write_text("one\ntwo")
    with pytest.raises(InputError, match=r"files of kind \.xyz are not read \(\.jsonl .*; --format says what it is"):
        read(path)
    assert _documents(read(path, format="text")[0]) == [Document("a.xyz", "one\ntwo")]
    assert [document.text for document in _documents(read(path, format="lines")[0])] == ["one", "two"]


def test_bad_choices(folder: Path) -> None:
    with pytest.raises(UsageError, match="there is no format 'pdf': one of jsonl, csv"):
        read(folder, format="pdf")
    for encoding in ("klingon", "base64"):
        with pytest.raises(UsageError, match=f"there is no text encoding '{encoding}'"):
            read(folder, encoding=encoding)


def test_a_source_that_vanished_is_rejected_and_not_complete(folder: Path) -> None:
    (folder / "a.txt").write_text("t")
    sources = read([folder, folder / "a.txt"])
    (folder / "a.txt").unlink()
    folder.rmdir()
    for source in sources:
        assert source.bytes_total == 0
        [item] = source
        assert isinstance(item, Rejected)
        assert "cannot be read: No such file or directory" in item.reason
        assert not source.complete


def test_parquet_without_pyarrow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.parquet").write_bytes(b"PAR1")
    (folder / "b.txt").write_text("t")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'yusa\[parquet\]'"):
        read(folder / "a.parquet")
    items = list(read(folder)[0])
    assert [type(item) for item in items] == [Rejected, Row]
    assert "pip install 'yusa[parquet]'" in getattr(items[0], "reason", "")


@pytest.mark.parametrize(
    ("data", "format", "texts"),
    [
        (b'\xef\xbb\xbf\n{"id": "a", "text": "one"}\n{"text": "two"}\n', None, ["one", "two"]),
        ("하나\n\n둘 다\r\n".encode(), None, ["하나", "둘 다"]),
        ("하나\n둘 다".encode("cp949"), None, ["하나", "둘 다"]),
        ('{"text": "하나"}\n'.encode("utf-16"), None, ["하나"]),
        (b"id,text\n1,one\n", "csv", ["one"]),
        (b"one\ntwo", "text", ["one\ntwo"]),
        (b"", None, []),
    ],
)
def test_standard_input(data: bytes, format: str | None, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin(data))
    [source] = read("-", format=format)
    assert (source.name, source.repeatable, source.bytes_total) == ("-", False, 0)
    assert [document.text for document in _documents(source)] == texts
    assert source.complete


def test_parquet_cannot_be_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin(b"PAR1"))
    items = list(read("-", format="parquet")[0])
    assert [getattr(item, "reason", "") for item in items] == [
        "a Parquet file cannot be read from a stream: name the file"
    ]


def test_a_pipe_is_a_stream(folder: Path) -> None:
    path = folder / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(b'{"id": "a", "text": "t"}\n' * 3))
    writer.start()
    [source] = read(path)
    assert not source.repeatable
    assert _documents(source) == [Document("a", "t")] * 3
    writer.join()


def test_documents_and_mappings_from_python() -> None:
    given: list[Any] = [Document("a", "t\r\n", "T", {"text": 1}), {"_id": "b", "text": "u", "x": 1}, 3, {"id": "c"}]
    source = documents_source(given, "python")
    items = list(source)
    assert [item.document for item in items if isinstance(item, Row)] == [
        Document("a", "t\n", "T", {"text": 1}),
        Document("b", "u", None, {"x": 1}),
    ]
    assert [(item.line, item.id, item.reason[:20]) for item in items if isinstance(item, Rejected)] == [
        (3, None, "a int is neither a D"),
        (4, "c", "no text: there is no"),
    ]
    assert source.repeatable
    assert list(source) == items
    assert not documents_source(iter(given), "python").repeatable
    assert _documents(documents_source([{"k": 1, "b": "t"}], "p", id_field="k", text_field="b")) == [Document("1", "t")]


def test_complete_only_at_the_end(folder: Path) -> None:
    for name in "abc":
        (folder / f"{name}.txt").write_text(name)
    [source] = read(folder)
    assert [source.complete for _ in source] == [False] * 3
    assert source.complete
    assert source.bytes_read == source.bytes_total == 3


def test_spooled_gives_the_same_again() -> None:
    rows: list[dict[str, Any]] = [{"text": "a"}, {"x": 1}, {"text": "b"}]
    source = documents_source(iter(rows), "python")
    with closing(Spooled(source)) as spooled:
        first = list(spooled)
        assert [type(item) for item in first] == [Row, Rejected, Row]
        assert list(spooled) == list(spooled) == first
        assert spooled.complete
