from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yusa.indexer import Rejected, Row, read
from yusa.indexer import opened as opened_module
from yusa.indexer import rows as rows_module
from yusa.indexer import table as table_module
from yusa.indexer.plain import markdown_title
from yusa.storage.records import Document


def _write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _read(path: Path, **options: Any) -> tuple[list[Document], list[Rejected]]:
    items = [item for source in read(path, **options) for item in source]
    return [i.document for i in items if isinstance(i, Row)], [i for i in items if isinstance(i, Rejected)]


def _reasons(rejected: list[Rejected]) -> list[tuple[int | None, str | None, str]]:
    return [(item.line, item.id, item.reason) for item in rejected]


# JSON lines


def test_jsonl(folder: Path) -> None:
    path = _write(
        folder / "a.jsonl", '{"id": 1, "text": "하나"}\n\n  \n{"_id": "b", "text": "둘", "title": "T", "y": 2}'
    )
    documents, rejected = _read(path)
    assert documents == [Document("1", "하나"), Document("b", "둘", "T", {"y": 2})]
    assert not rejected


def test_bad_lines_cost_only_themselves(folder: Path) -> None:
    lines = [
        b'{"id": "good", "text": "t"}',
        b"not json",
        b"[1, 2]",
        b'{"id": "a", "text": "t", "x": 1, "x": 2}',
        b'{"id": "n", "text": "t", "x": NaN}',
        b'{"id": "h", "text": "t", "x": 1e999}',
        b'{"id": "s", "text": "\\ud83d"}',
        b'{"id": "u", "text": "caf\xe9"}',
        b'{"id": "d", "text": ' + b"[" * 200_000,
        b'{"id": "l", "text": "t", "x": ' + b"1" * 5000 + b"}",
        b'{"id": "last", "text": "\xea\xb0\x80"}',
    ]
    path = _write(folder / "a.jsonl", b"\n".join(lines))
    documents, rejected = _read(path)
    assert [document.id for document in documents] == ["good", "last"]
    offset = sum(len(line) + 1 for line in lines[:7]) + lines[7].index(b"\xe9")
    reasons = _reasons(rejected)
    assert reasons[:3] == [
        (2, None, "not JSON: Expecting value at character 1"),
        (3, None, 'not a JSON object: a line is {"id": …, "text": …}'),
        (4, None, "the field 'x' stands twice"),
    ]
    assert [(line, id) for line, id, _ in reasons[3:6]] == [(5, "n"), (6, "h"), (7, "s")]
    assert reasons[6] == (
        8,
        None,
        f"not UTF-8: byte 0xE9 at byte {offset} of the file; --encoding names the right one",
    )
    assert reasons[7] == (9, None, "not JSON: nested too deep")
    assert reasons[8][2].startswith("not JSON: Exceeds the limit (4300 digits)")
    assert rejected[0].raw == "not json"
    assert all(len(item.raw) <= opened_module.SHOWN for item in rejected)


def test_a_huge_row_is_rejected_without_being_held(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened_module, "MAX_ROW_BYTES", 100)
    huge = '{"id": "huge", "text": "' + "x" * 1000 + '"}'
    path = _write(folder / "a.jsonl", f'{{"id": "a", "text": "t"}}\n{huge}\n{{"id": "b", "text": "t"}}\n{huge}')
    documents, rejected = _read(path)
    assert [document.id for document in documents] == ["a", "b"]
    assert [item.line for item in rejected] == [2, 4]
    assert rejected[0].reason.startswith("too large: the row has more than")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp949"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_other_encodings_are_read_and_reported(folder: Path, encoding: str, ending: str) -> None:
    rows = [{"id": f"번호{i}", "text": "오늘은 날씨가 좋다."} for i in range(3)]
    text = ending.join(json.dumps(row, ensure_ascii=False) for row in rows)
    path = _write(folder / "a.jsonl", text.encode(encoding))
    [source] = read(path)
    documents = [item.document for item in source if isinstance(item, Row)]
    assert documents == [Document(row["id"], row["text"]) for row in rows]
    assert source.notes == ([] if encoding == "utf-8-sig" else [f"{path}: read as {encoding.upper()}"])
    assert source.bytes_read > 0


def test_damaged_utf16_costs_one_row(folder: Path) -> None:
    text = '{"id": "a", "text": "좋다"}\n{"id": "b", "text": "나쁘다X"}\n{"id": "c", "text": "좋다"}\n'
    data = text.encode("utf-16-le").replace("X".encode("utf-16-le"), b"\x00\xd8")
    documents, rejected = _read(_write(folder / "a.jsonl", b"\xff\xfe" + data + b"\x00"))
    assert [document.id for document in documents] == ["a", "c"]
    assert _reasons(rejected) == [(line, None, "not UTF-16: a character is damaged") for line in (2, 4)]


def test_given_encoding(folder: Path) -> None:
    path = _write(folder / "a.jsonl", '{"id": "a", "text": "café"}'.encode("latin-1"))
    assert _read(path)[1][0].reason.endswith("--encoding names the right one")
    assert _read(path, encoding="latin-1")[0] == [Document("a", "café")]
    for name, stored in (
        ("UTF8", "utf-8-sig"),
        ("UTF_16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("euc-kr", "euc-kr"),
    ):
        path = _write(folder / "a.jsonl", '{"id": "a", "text": "좋다"}'.encode(stored))
        assert _read(path, encoding=name)[0] == [Document("a", "좋다")]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_binary_and_utf32_files_are_rejected_by_name(folder: Path, name: str) -> None:
    path = _write(folder / name, bytes(range(256)) * 100)
    documents, rejected = _read(path)
    assert not documents
    assert [item.file for item in rejected] == [str(path)]
    assert "not text: it is a binary file" in rejected[0].reason
    path = _write(folder / name, "글 text".encode("utf-32"))
    assert "UTF-32 is not read: save it as UTF-8" in _read(path)[1][0].reason


# CSV and TSV


def test_csv(folder: Path) -> None:
    content = (
        "id,text,title,year,score,zip,phone,mixed,note\r\n"
        '1,"첫, 줄\n둘째 ""줄""",T,2020,1.50,01234,010-1,1,\r\n'
        "2,b,,-3,2,12345,2,x,n\r\n"
    )
    documents, rejected = _read(_write(folder / "a.csv", content))
    assert not rejected
    assert documents == [
        Document(
            "1",
            '첫, 줄\n둘째 "줄"',
            "T",
            {"year": 2020, "score": 1.5, "zip": "01234", "phone": "010-1", "mixed": "1"},
        ),
        Document("2", "b", None, {"year": -3, "score": 2, "zip": "12345", "phone": "2", "mixed": "x", "note": "n"}),
    ]


def test_tsv_and_named_columns(folder: Path) -> None:
    path = _write(folder / "a.tsv", 'key\tbody\n7\tone, two\n8\t"a ""b"""\n')
    documents, _ = _read(path, id_field="key", text_field="body")
    assert documents == [Document("7", "one, two"), Document("8", 'a "b"')]


def test_a_number_column_is_decided_by_its_first_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "SAMPLE_ROWS", 2)
    documents, _ = _read(_write(folder / "a.csv", "text,n,s\na,1,x\nb,,1\nc,n/a,2\nd,3,4\n"))
    assert [document.metadata for document in documents] == [
        {"n": 1, "s": "x"},
        {"s": "1"},
        {"n": "n/a", "s": "2"},
        {"n": 3, "s": "4"},
    ]


def test_numbers_that_a_float_does_not_keep_stay_text(folder: Path) -> None:
    documents, _ = _read(_write(folder / "a.csv", "text,n\na,1234567890123456\n"))
    assert documents[0].metadata == {"n": "1234567890123456"}


def test_bad_csv_rows_cost_only_themselves(folder: Path) -> None:
    content = b'id,text,x\na,t,1\nb,t\nc,t,1,2\nd,,1\ne,"t"x,1\nf,\xff,1\n\ng,t,1\nh,"never closed,1\ni,t,1\n'
    documents, rejected = _read(_write(folder / "a.csv", content))
    assert [document.id for document in documents] == ["a", "g"]
    assert _reasons(rejected) == [
        (3, "b", "2 cells where the header has 3"),
        (4, "c", "4 cells where the header has 3"),
        (5, "d", "no text: it is empty or white space"),
        (6, None, "not CSV: ',' expected after '\"'"),
        (7, None, f"not UTF-8: byte 0xFF at byte {content.index(0xFF)} of the file; --encoding names the right one"),
        (10, None, "a quote is never closed (lines 10 to 11)"),
    ]


def test_huge_csv_fields(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = "x" * 300_000
    documents, rejected = _read(_write(folder / "a.csv", f'id,text\na,"{wide}"\nb,t\n'))
    assert [len(document.text) for document in documents] == [300_000, 1]
    monkeypatch.setattr(table_module, "MAX_ROW_BYTES", 1000)
    documents, rejected = _read(_write(folder / "a.csv", f'id,text\na,"{wide}"\nb,t\n'))
    assert [document.id for document in documents] == ["b"]
    assert rejected[0].reason.startswith("too large: the row has more than")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a,text,a\n1,t,2\n", "the header has the column 'a' twice"),
        ("1,hello\n2,world\n", "no column 'text' in the header (1, hello): the first row names the columns"),
        ('id,"text\n1,t\n', "the header cannot be read: a quote is never closed"),
    ],
)
def test_bad_headers_reject_the_file(folder: Path, content: str, reason: str) -> None:
    path = _write(folder / "a.csv", content)
    documents, rejected = _read(path)
    assert not documents
    assert len(rejected) == 1
    assert reason in rejected[0].reason
    assert rejected[0].file == str(path)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_named_id_column_that_is_not_there_rejects_the_file(folder: Path, suffix: str) -> None:
    path = folder / f"a.{suffix}"
    if suffix == "parquet":
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pa.table({"isbn": [1], "text": ["t"]}), path)
    else:
        _write(path, "isbn,text\n1,t\n".replace(",", "\t" if suffix == "tsv" else ","))
    documents, [rejected] = _read(path, id_field="isnb")
    assert not documents
    assert "no column 'isnb'" in rejected.reason
    assert "--id-field" in rejected.reason
    assert _read(path, id_field="isbn")[0][0].id == "1"


def test_a_column_without_name(folder: Path) -> None:
    assert _read(_write(folder / "a.csv", ",text\n0,t\n"))[0][0].metadata == {"column_1": 0}


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv"])
def test_empty_files_of_rows_hold_no_rows(folder: Path, name: str) -> None:
    assert _read(_write(folder / name, "")) == ([], [])


# Parquet


def test_parquet(folder: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    day = datetime.datetime(2024, 3, 15, 12, 30, tzinfo=datetime.UTC)
    table = pa.table(
        {
            "id": [1, 2, 3],
            "text": ["하나", "", "셋"],
            "day": pa.array([day.date()] * 3),
            "at": pa.array([day] * 3, pa.timestamp("ns", tz="UTC")),
            "time": pa.array([datetime.time(1, 2)] * 3),
            "span": pa.array([datetime.timedelta(seconds=90)] * 3),
            "price": pa.array([Decimal("1.50"), Decimal("2.00"), Decimal("3.00")]),
            "tags": [["a"], ["b", "c"], None],
            "author": [{"name": "Kim"}, None, {"name": None}],
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        }
    )
    path = folder / "a.parquet"
    pq.write_table(table, path)
    documents, rejected = _read(path)
    assert documents == [
        Document("1", "하나", None, documents[0].metadata),
        Document("3", "셋", None, documents[1].metadata),
    ]
    assert documents[0].metadata == {
        "day": "2024-03-15",
        "at": "2024-03-15T12:30:00+00:00",
        "time": "01:02:00",
        "span": 90.0,
        "price": 1.5,
        "tags": ["a"],
        "author": {"name": "Kim"},
        "kind": "x",
    }
    assert documents[1].metadata["price"] == 3
    assert documents[1].metadata["author"] == {}
    assert _reasons(rejected) == [(2, "2", "no text: it is empty or white space")]
    [source] = read(path)
    list(source)
    assert source.bytes_read == source.bytes_total == path.stat().st_size


def test_bad_parquet_files(folder: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    for name, columns in {"binary": {"text": ["t"], "image": [b"x"]}, "textless": {"body": ["t"]}}.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    _write(folder / "damaged.parquet", b"PAR1 no")
    _write(folder / "good.txt", "fine")
    documents, rejected = _read(folder)
    assert [document.id for document in documents] == ["good.txt"]
    assert [Path(item.file).stem for item in rejected] == ["binary", "damaged", "textless"]
    assert "the column 'image' holds binary data" in rejected[0].reason
    assert "not a Parquet file that can be read" in rejected[1].reason
    assert "no column 'text' (body): --text-field names it" in rejected[2].reason


# Plain text and Markdown


def test_text_and_markdown_files(folder: Path) -> None:
    assert _read(_write(folder / "a.txt", "\ufeff# 제목\r\n본문"))[0] == [Document("a.txt", "# 제목\n본문")]
    assert _read(_write(folder / "a.md", "# 제목\n본문"))[0] == [Document("a.md", "# 제목\n본문", "제목")]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# One #\n## Two", "One"),
        ("text\n\n## Later", "Later"),
        ("---\nauthor: x\ntitle: 'Front'\n---\n# Heading", "Front"),
        ("---\nauthor: x\n---\n# Heading", "Heading"),
        ("```\n# comment\n```\n# Real", "Real"),
        ("#hashtag\n\ntext", None),
        ("", None),
    ],
)
def test_markdown_titles(text: str, title: str | None) -> None:
    assert markdown_title(text) == title


def test_bad_text_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(folder / "a.txt", "")
    _write(folder / "b.txt", ("좋은 글 " * 10).encode() + b"\xff")
    _write(folder / "c.txt", "x" * 101)
    _write(folder / "d.txt", "fine")
    monkeypatch.setattr(rows_module, "MAX_TEXT", 100)
    documents, rejected = _read(folder)
    assert [document.id for document in documents] == ["d.txt"]
    assert [item.id for item in rejected] == ["a.txt", "b.txt", "c.txt"]
    assert rejected[0].reason == "no text: it is empty or white space"
    assert rejected[1].reason == "not UTF-8: byte 0xFF at byte 110 of the file; --encoding names the right one"
    assert rejected[2].reason.startswith("too large")


def test_a_text_file_too_large_to_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yusa.indexer.plain._MAX_BYTES", 10)
    _, rejected = _read(_write(folder / "a.txt", "x" * 11))
    assert _reasons(rejected)[0][2].startswith("too large: a text may have 10,000,000 characters")


# Whatever the bytes are

_SOUP = st.lists(
    st.sampled_from(
        [
            *(b'{"id": 1, "text": "t"}', b'{"text": ', b"id,text", b",", b"\t", b'"', b"\n", b"\r\n", b"\r", b"\x00"),
            *(b"\xff\xfe", b"\xef\xbb\xbf", b"\xb0\xa1", b"\xed\xa0\x80", b"# a", b"---\n", b"PAR1"),
            *("한글".encode(), "한글\n".encode("utf-16-le")),
        ]
    )
    | st.binary(max_size=6),
    max_size=30,
).map(b"".join)


@pytest.mark.parametrize("format", ["jsonl", "csv", "tsv", "parquet", "text", "markdown", "lines"])
@given(data=_SOUP)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_break_a_reader(folder: Path, format: str, data: bytes) -> None:
    [source] = read(_write(folder / "a.bin", data), format=format)
    for item in source:
        assert isinstance(item, Row | Rejected)
        if isinstance(item, Row):
            assert item.document.text.strip()
            item.document.text.encode()
            json.dumps(item.document.metadata, allow_nan=False)
    assert source.complete
    assert source.bytes_read <= max(len(data), source.bytes_total * 2)
