"""What goes into a file comes out of its reader, exactly and in its line; and no bytes at all make a reader fail."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from yusa.errors import InputError, UsageError
from yusa.indexer import Rejected, Row, documents_source, read
from yusa.indexer import opened as opened_module
from yusa.indexer.formats import READERS
from yusa.storage.attributes import attribute_rows
from yusa.storage.records import Document
from yusa.text.normal import normalize

Item = Row | Rejected

ODD = [
    "\0",
    "\u200b",
    "\ufeff",
    "\u202eمرحبا\u202c",
    unicodedata.normalize("NFD", "한국어 각"),
    "\u0301\u0323",
    "\u2028",
    "\x85",
    "\r\n",
    "\x1a",
    '"',
    ",",
    "\t",
    "\n",
    "👩\u200d👧",
    "\uffff",
]
UNICODE = st.characters(exclude_categories=["Cs"])
TEXTS = st.lists(st.sampled_from(ODD) | st.text(UNICODE, max_size=12), max_size=8).map("".join)
# Halves of surrogate pairs as JSON writes them, which Python reads.
BROKEN = st.tuples(TEXTS, st.characters(categories=["Cs"]), TEXTS).map("".join)
NAMES = st.text(UNICODE, min_size=1, max_size=6).filter(lambda name: not name.startswith("yusa"))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
ENCODINGS = ["cp949", "utf-16", "utf-16-be", "utf-8", "latin-1", "utf-7", "shift_jis", "utf-32", "idna"]
FORMATS = sorted(set(READERS) - {"parquet"})


def read_bytes(data: bytes, format: str, **options: Any) -> list[Item]:
    """Every item of a file that holds these bytes, each after the one before it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(data)
        [source] = read(path, format=format, **options)
        items = [item for item in source if isinstance(item, Row | Rejected)]
        assert source.complete
        assert source.bytes_read <= len(data) * 4
        return items


def edged(title: str) -> str:
    """A title in normal form: nothing stands in front of its first word, nor behind its last."""
    text = normalize(title).strip()
    return text if not text.startswith("\ufeff") else edged(text)


def check(items: list[Item]) -> None:
    """Everything is a document in normal form that can be stored, or a rejected row with a reason."""
    lines = [item.line for item in items if item.line is not None]
    assert lines == sorted(set(lines))
    for item in items:
        if isinstance(item, Rejected):
            assert item.reason
            assert len(item.raw) <= opened_module.SHOWN
            continue
        document = item.document
        assert document.text == normalize(document.text)
        assert document.text.strip()
        assert document.title is None or document.title == edged(document.title)
        assert document.id == unicodedata.normalize("NFC", document.id)
        assert 0 < len(document.id) <= 512
        attribute_rows(document.metadata)
        json.dumps([document.id, document.text, document.title, document.metadata], ensure_ascii=False).encode()


@pytest.mark.parametrize("format", FORMATS)
@given(data=st.binary(max_size=300) | TEXTS.map(str.encode) | TEXTS.map(lambda text: text.encode("utf-16")))
@example(data=b'{"id": "a", "text": "\xff\xfe"}\n')
@example(data=b"\xff\xfe\x00")
@example(data=b"\xef\xbb\xbf")
@example(data=b"text\n\x00")
@example(data=b'"')
@example(data=b'text\n"a\x00"\n')
@example(data=b"[" * 100_000)
@example(data=b'{"text":' * 100_000)
@example(data=b'{"id": ' + b"9" * 5_000 + b', "text": "x"}')
@example(data=b'{"id": 1, "text": "x", "n": 1e400}')
def test_no_bytes_make_a_reader_fail(format: str, data: bytes) -> None:
    check(read_bytes(data, format))


@pytest.mark.parametrize("format", FORMATS)
@given(
    data=st.binary(max_size=120),
    encoding=st.sampled_from(ENCODINGS),
)
def test_no_encoding_makes_a_reader_fail(format: str, data: bytes, encoding: str) -> None:
    try:
        items = read_bytes(data, format, encoding=encoding)
    except UsageError:
        assert encoding == "idna"
    else:
        check(items)


METADATA = st.dictionaries(NAMES, JSON, max_size=3)
ROWS = st.lists(
    st.fixed_dictionaries({"text": TEXTS}, optional={"title": TEXTS, "metadata": METADATA}),
    max_size=5,
)


def clean(value: Any) -> Any:
    """What is kept of a JSON value: NFC and without nulls in objects."""
    if isinstance(value, str):
        return normalize(value)
    if isinstance(value, dict):
        return {normalize(name): clean(inner) for name, inner in value.items() if inner is not None}
    return [clean(inner) for inner in value] if isinstance(value, list) else value


def same_keys(value: Any) -> bool:
    """Whether two names of one object have the same normal form, which is a mistake of the row."""
    if isinstance(value, dict):
        names = [normalize(name) for name in value]
        return len(set(names)) < len(names) or any(map(same_keys, value.values()))
    return isinstance(value, list) and any(map(same_keys, value))


def expect(number: int, row: dict[str, Any]) -> Document | None:
    """The document that a row is, None where it has to be rejected."""
    text = normalize(row["text"])
    if not text.strip() or same_keys(row.get("metadata", {})):
        return None
    return Document(f"d{number}", text, edged(row.get("title", "")) or None, clean(row.get("metadata", {})))


@given(
    rows=ROWS,
    ascii=st.booleans(),
    ending=st.sampled_from(["\n", "\r\n", "\n\n", "\n \n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_json_lines_come_out_as_they_went_in(
    rows: list[dict[str, Any]], ascii: bool, ending: str, encoding: str
) -> None:
    lines = [json.dumps({"id": f"d{n}", **row}, ensure_ascii=ascii) + ending for n, row in enumerate(rows)]
    items = read_bytes("".join(lines).encode(encoding), "jsonl", encoding=encoding)
    check(items)
    step = ending.count("\n")
    assert [item.line for item in items] == [1 + step * n for n in range(len(rows))]
    for number, (item, row) in enumerate(zip(items, rows, strict=True)):
        wanted = expect(number, row)
        if wanted is None:
            assert isinstance(item, Rejected)
            assert item.id == f"d{number}"
        else:
            assert isinstance(item, Row), item
            assert item.document == wanted
            assert repr(item.document) == repr(wanted)


@given(text=BROKEN, place=st.sampled_from(["id", "text", "title", "name", "value"]))
def test_half_a_surrogate_pair_costs_its_row_wherever_it_stands(text: str, place: str) -> None:
    row: dict[str, Any] = {"id": "a", "text": "text", "title": "title"}
    row |= {text: 1} if place == "name" else {place: text}
    good = {"id": "good", "text": "good"}
    data = "".join(json.dumps(one) + "\n" for one in (good, row, {**good, "id": "better"}))
    items = read_bytes(data.encode(), "jsonl")
    check(items)
    assert [type(item) for item in items] == [Row, Rejected, Row]
    assert [item.line for item in items] == [1, 2, 3]


CELLS = TEXTS.filter(lambda text: "\0" not in text)


@pytest.mark.parametrize(("format", "delimiter"), [("csv", ","), ("tsv", "\t")])
@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=6), ending=st.sampled_from(["\n", "\r\n"]))
def test_tables_come_out_as_they_went_in(format: str, delimiter: str, rows: list[tuple[str, str]], ending: str) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerow(["id", "text", "note"])
    starts = []
    for number, (text, note) in enumerate(rows):
        starts.append(1 + file.getvalue().count("\n"))
        writer.writerow([f"d{number}", text, f"x{note}"])
    items = read_bytes(file.getvalue().encode(), format, encoding="utf-8")
    check(items)
    assert [item.line for item in items] == starts
    for number, (item, (text, note)) in enumerate(zip(items, rows, strict=True)):
        if normalize(text).strip():
            assert isinstance(item, Row), item
            assert item.document == Document(f"d{number}", normalize(text), None, {"note": normalize(f"x{note}")})
        else:
            assert isinstance(item, Rejected)
            assert (item.id, item.reason.split(":")[0]) == (f"d{number}", "no text")


@pytest.mark.parametrize("format", ["text", "markdown"])
@given(text=TEXTS, encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_a_text_file_is_its_text(format: str, text: str, encoding: str) -> None:
    [item] = read_bytes(text.encode(encoding), format, encoding=encoding)
    check([item])
    if normalize(text).strip():
        assert isinstance(item, Row), item
        assert (item.document.id, item.document.text) == ("file", normalize(text))
    else:
        assert isinstance(item, Rejected)
        assert item.id == "file"


PYTHON = st.recursive(
    JSON | BROKEN | st.binary(max_size=4) | st.integers() | st.floats() | st.complex_numbers() | st.just(object()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.sets(st.integers(), max_size=2)
        | st.dictionaries(NAMES | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=6,
)


def _nested(depth: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = "inside"
    for _ in range(depth):
        value = wrap(value)
    return value


@given(given_=st.dictionaries(st.sampled_from(["id", "_id", "text", "title", "metadata"]) | NAMES, PYTHON) | PYTHON)
@example(given_={"id": "a", "text": "x", "n": math.nan})
@example(given_={"id": True, "text": "x"})
@example(given_={"text": "x", 1: 2})
def test_no_python_values_make_a_source_fail(given_: Any) -> None:
    items = [item for item in documents_source([given_], "python") if isinstance(item, Row | Rejected)]
    assert len(items) == 1
    check(items)


@given(st.builds(Document, PYTHON, PYTHON, PYTHON, PYTHON))
def test_no_document_made_by_hand_makes_a_source_fail(document: Document) -> None:
    items = [item for item in documents_source([document], "python") if isinstance(item, Row | Rejected)]
    assert len(items) == 1
    check(items)


@pytest.mark.parametrize(
    "row",
    [
        {"id": 10**5000, "text": "x"},
        {"id": "a", "text": "x", "title": 10**5000},
        {"id": "a", "text": 10**5000},
        {"id": "a", "text": "x", "n": 10**5000},
        {"id": "a", "text": "x", "deep": _nested(100_000, lambda value: [value])},
        {"id": "a", "text": "x", "deep": _nested(100_000, lambda value: {"a": value})},
        {"id": "a", "text": _nested(100_000, lambda value: [value])},
        _nested(100_000, lambda value: [value]),
    ],
    ids=["id", "title", "text", "number", "lists", "objects", "text of lists", "no row"],
)
def test_what_python_itself_cannot_write_out_is_rejected(row: Any) -> None:
    [item] = documents_source([row], "python")
    assert isinstance(item, Rejected)
    check([item])


def test_utf_16_without_a_mark_is_read_where_its_order_can_be_told() -> None:
    line = '{"id": "a", "text": "한국어"}\n'
    for encoding in ("utf-16-le", "utf-16-be"):
        [item] = read_bytes(line.encode(encoding), "jsonl", encoding="utf-16")
        assert isinstance(item, Row)
        assert item.document.text == "한국어"
    [item] = read_bytes(b"\x00\x00\x00", "jsonl", encoding="utf-16")
    assert isinstance(item, Rejected)
    assert item.reason.startswith("not UTF-16: it has no byte order mark")


def test_a_codec_that_tells_no_place_rejects_the_file() -> None:
    [item] = read_bytes(b"xn---9", "text", encoding="idna")
    assert isinstance(item, Rejected)
    assert item.reason.startswith("not IDNA: ")


@settings(max_examples=30)
@given(size=st.integers(1, 400), limit=st.integers(16, 120))
def test_rows_beyond_the_limit_cost_only_themselves(size: int, limit: int) -> None:
    row = json.dumps({"text": "x" * size}) + "\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opened_module, "MAX_ROW_BYTES", limit)
        items = read_bytes((row + '{"text":1}\n' + row).encode(), "jsonl")
    check(items)
    assert [item.line for item in items] == [1, 2, 3]
    assert [isinstance(item, Row) for item in items] == [len(row) <= limit, False, len(row) <= limit]


def test_a_file_that_is_not_there_is_an_input_error() -> None:
    for name in ("no such file", "x" * 5000, "a/../b", "nul\0"):
        with pytest.raises(InputError):
            read(name)
