from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from yusa.indexer.rows import MAX_DEPTH, MAX_TEXT, Fields, RowError, content_hash, encoding_hash, row_document
from yusa.storage.records import Document

_NFD = unicodedata.normalize("NFD", "학교")


def _deep(levels: int) -> Any:
    return 1 if levels == 0 else {"a": _deep(levels - 1)}


def test_every_other_field_is_metadata() -> None:
    metadata = {"year": 2020, "tags": ["a", "b"], "author": {"name": "Kim"}}
    row = {"_id": 7, "title": " T ", "text": "body", "nothing": None, **metadata}
    assert row_document(row, Fields()) == Document("7", "body", "T", metadata)


def test_the_fields_of_a_metadata_object_are_metadata() -> None:
    row = {"id": "a", "text": "t", "metadata": {"url": "u", "none": None}, "year": 1}
    assert row_document(row, Fields()).metadata == {"url": "u", "year": 1}
    assert row_document({"id": "a", "text": "t", "metadata": "a string"}, Fields()).metadata == {"metadata": "a string"}


def test_named_fields() -> None:
    row = {"key": "k", "body": "b", "head": "h", "id": 3, "text": "t"}
    document = row_document(row, Fields(id="key", text="body", title="head"))
    assert document == Document("k", "b", "h", {"id": 3, "text": "t"})


def test_id_before_underscore_id() -> None:
    assert row_document({"id": "a", "_id": "b", "text": "t"}, Fields()) == Document("a", "t", None, {"_id": "b"})


def test_normal_form_of_everything() -> None:
    row = {"id": _NFD, "text": f"{_NFD}\r\n\x00", "title": _NFD, _NFD: [_NFD, {"k": "a\x00b"}]}
    assert row_document(row, Fields()) == Document("학교", "학교\n", "학교", {"학교": ["학교", {"k": "ab"}]})


def test_a_row_without_id_gets_the_hash_of_its_content() -> None:
    a, b, other = (
        row_document(row, Fields()) for row in ({"text": "t"}, {"text": "t", "id": ""}, {"text": "t", "y": 1})
    )
    assert a.id == b.id == content_hash(a).hex()
    assert len(a.id) == 32
    assert a.id != other.id


def test_only_whole_names_are_reserved() -> None:
    row = {"id": "a", "text": "t", "yusa": None, "yusable": 1, "x": {"yusa": 2}}
    assert row_document(row, Fields()).metadata == {"yusable": 1, "x": {"yusa": 2}}


def test_hashes() -> None:
    base = Document("a", "text", "title", {"x": 1, "y": 2})
    assert content_hash(base) == content_hash(Document("b", "text", "title", {"y": 2, "x": 1}))
    assert content_hash(base) != content_hash(Document("a", "text", "title", {"x": 1}))
    assert encoding_hash(base) == encoding_hash(Document("b", "text", "title"))
    assert encoding_hash(base) != encoding_hash(Document("a", "title", "text"))
    assert encoding_hash(base) != encoding_hash(Document("a", "text"))
    assert content_hash(Document("a", "t")) != encoding_hash(Document("a", "t"))


@pytest.mark.parametrize(
    ("row", "reason", "id"),
    [
        ({"id": "a", "body": "t"}, "no text: there is no field 'text' (fields: id, body); --text-field names it", "a"),
        ({"id": "a", "text": None}, "no text: the field is null", "a"),
        ({"id": "a", "text": " \n"}, "no text: it is empty or white space", "a"),
        ({"id": "a", "text": "\x00"}, "no text: it is empty or white space", "a"),
        ({"id": _NFD, "text": ["t"]}, "the text is an array, not a string", "학교"),
        ({"id": 5, "text": 1.5}, "the text is a number, not a string", "5"),
        ({"id": "a", "text": "x" * (MAX_TEXT + 1)}, "too large: the text has 10,000,001 characters", "a"),
        ({"id": "a", "text": "\ud800"}, "half of a surrogate pair", "a"),
        ({"id": "a", "text": "t", "title": {}}, "the title is an object, not a string", "a"),
        ({"id": 1.5, "text": "t"}, "the id is a number, not a string or a whole number", None),
        ({"id": True, "text": "t"}, "the id is true or false", None),
        ({"id": "  ", "text": "t"}, "the id is white space", None),
        ({"id": "a\nb", "text": "t"}, "the id 'a\\nb' holds a control character", None),
        ({"id": "x" * 513, "text": "t"}, "has 513 characters, 512 are allowed", None),
        ({"id": "\udc80", "text": "t"}, "is not valid Unicode", None),
        ({"id": "a", "text": "t", "x": float("nan")}, "the field 'x' is nan", "a"),
        ({"id": "a", "text": "t", "x": {"y": float("inf")}}, "the field 'x.y' is inf", "a"),
        ({"id": "a", "text": "t", "x": 2**63}, "the field 'x' is a whole number of more than 64 bits", "a"),
        ({"id": "a", "text": "t", "x": _deep(MAX_DEPTH + 1)}, "is nested deeper than 32 levels", "a"),
        ({"id": "a", "text": "t", "x": b"b"}, "the field 'x' is a bytes, which JSON does not have", "a"),
        ({"id": "a", "text": "t", "x": {1: 2}}, "the field 'x' has a key that is a number", "a"),
        ({"id": "a", "text": "t", "학교": 1, _NFD: 2}, "the field '학교' stands twice", "a"),
        ({"id": "a", "text": "t", "y": 1, "metadata": {"y": 2}}, "the field 'y' stands in the row and in its", "a"),
        ({"id": "a", "text": "t", "yusa": 1}, "the field 'yusa' is reserved: rename it", "a"),
        ({"id": "a", "text": "t", "metadata": {"yusa.path": 1}}, "the field 'yusa.path' is reserved: rename it", "a"),
        ({"id": "a", 1: 2}, "no text: there is no field 'text' (fields: id, 1)", "a"),
    ],
)  # fmt: skip
def test_rejected_rows(row: dict[str, Any], reason: str, id: str | None) -> None:
    with pytest.raises(RowError) as caught:
        row_document(row, Fields())
    assert reason in str(caught.value)
    assert caught.value.id == id
