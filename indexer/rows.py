"""From the fields of a row to a Document: the one place where a row is checked."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from json import JSONEncoder
from typing import Any

from yusa.errors import InputError
from yusa.storage.attributes import RESERVED
from yusa.storage.records import Document
from yusa.text.normal import nfc, normalize

MAX_TEXT = 10_000_000
"""Characters a text may have."""
MAX_ID = 512
"""Characters an id may have."""
MAX_DEPTH = 32
"""How deep the objects and arrays of metadata may be nested."""

_canonical = JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
# A byte order mark behind white space would come to the front when that goes, and normal form has none there.
_FRONT = re.compile(r"[\s\ufeff]*")
_SHOWN = 60
_NAMES_SHOWN = 200


class RowError(Exception):
    """Why a row is rejected; `id` where the row has one that can be read."""

    def __init__(self, reason: str, id: str | None = None) -> None:
        super().__init__(reason)
        self.id = id


@dataclass(frozen=True, slots=True)
class Fields:
    """The names of the fields that make a document; None means `id` or `_id`, `text`, `title`."""

    id: str | None = None
    text: str | None = None
    title: str | None = None


def row_document(row: Mapping[str, Any], fields: Fields) -> Document:
    """The document of a row of JSON-like values: `id`, `text` and `title`, every other field is metadata.

    The fields of an object named `metadata` (BEIR's layout, and yusa's own) are metadata too. A null is no field.

    Raises:
        RowError: what is wrong with the row.
    """
    rest = dict(row)
    id = rest.pop(fields.id or ("id" if "id" in rest else "_id"), None)
    text_field, title_field = fields.text or "text", fields.title or "title"
    readable = id if isinstance(id, str | int) else None
    known = None if readable is None else nfc(str(readable))
    if text_field not in rest:
        names = ", ".join(map(str, row))[:_NAMES_SHOWN] or "none"
        raise RowError(f"no text: there is no field {text_field!r} (fields: {names}); --text-field names it", known)
    text = rest.pop(text_field)
    title = rest.pop(title_field, None)
    if isinstance(nested := rest.get("metadata"), Mapping):
        del rest["metadata"]
        if twice := rest.keys() & nested.keys():
            raise RowError(f"the field {min(twice, key=str)!r} stands in the row and in its metadata", known)
        rest |= nested
    return make_document(id, text, title, rest)


def make_document(id: Any, text: Any, title: Any, metadata: Mapping[str, Any]) -> Document:
    """A checked document in normal form; without an id it gets the hash of its content.

    Raises:
        RowError: what is wrong.
    """
    checked = None if id is None or id == "" else _id(id)
    try:
        body = _text(text)
        head = _title(title)
        if not isinstance(metadata, Mapping):
            raise RowError(f"the metadata is {_kind(metadata)}, not an object")
        values = _clean({k: v for k, v in metadata.items() if v is not None}, "metadata", 0)
        _refuse_reserved(values)
    except InputError as error:
        raise RowError(str(error), checked) from None
    except RowError as error:
        raise RowError(str(error), checked) from None
    document = Document(checked or "", body, head, values)
    return document if checked else Document(content_hash(document).hex(), body, head, values)


def content_hash(document: Document) -> bytes:
    """16 bytes over title, text and metadata: equal hashes mean an unchanged document."""
    return content_hash_and_size(document)[0]


def content_hash_and_size(document: Document) -> tuple[bytes, int]:
    """The content hash, and how many characters title, text and metadata have as JSON."""
    content = _canonical([document.title, document.text, document.metadata])
    return _digest(content, b"content"), len(content)


def encoding_hash(document: Document) -> bytes:
    """16 bytes over title and text: equal hashes mean equal passages and vectors."""
    return _digest(_canonical([document.title, document.text]), b"encoding")


def _digest(text: str, purpose: bytes) -> bytes:
    return blake2b(text.encode(), digest_size=16, person=purpose).digest()


def _id(id: object) -> str:
    if isinstance(id, int) and not isinstance(id, bool):
        return str(id)
    if not isinstance(id, str):
        raise RowError(f"the id is {_kind(id)}, not a string or a whole number")
    shown = repr(id[:_SHOWN])
    try:
        id.encode()
    except UnicodeEncodeError:
        raise RowError(f"the id {shown} is not valid Unicode: rename it") from None
    id = nfc(id)
    if len(id) > MAX_ID:
        raise RowError(f"the id {shown}… has {len(id)} characters, {MAX_ID} are allowed")
    if any(unicodedata.category(c) == "Cc" for c in id):
        raise RowError(f"the id {shown} holds a control character")
    if not id.strip():
        raise RowError("the id is white space")
    return id


def _text(text: object) -> str:
    if text is None:
        raise RowError("no text: the field is null")
    if not isinstance(text, str):
        raise RowError(f"the text is {_kind(text)}, not a string")
    if len(text) > MAX_TEXT:
        raise RowError(f"too large: the text has {len(text):,} characters, {MAX_TEXT:,} are allowed; split it")
    text = normalize(text)
    if not text.strip():
        raise RowError("no text: it is empty or white space")
    return text


def _title(title: object) -> str | None:
    if title is None:
        return None
    if isinstance(title, int | float) and not isinstance(title, bool):
        title = str(title)
    if not isinstance(title, str):
        raise RowError(f"the title is {_kind(title)}, not a string")
    text = normalize(title)
    return text[_FRONT.match(text).end() :].rstrip() or None  # type: ignore[union-attr]  # it matches nothing, too


def _clean(value: Any, path: str, depth: int) -> Any:
    """The value in normal form, made of what JSON has; nulls of objects dropped."""
    if isinstance(value, str):
        return value if value.isascii() and value.isprintable() else normalize(value)
    if value is None or isinstance(value, bool | int):
        if value is not None and not -(2**63) <= value < 2**63:
            raise RowError(f"the field {path!r} is a whole number of more than 64 bits: write it as a string")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RowError(f"the field {path!r} is {value}, which is no number to compare")
        return value
    if depth == MAX_DEPTH:
        raise RowError(f"the field {path[:_SHOWN]!r} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        clean: dict[str, Any] = {}
        for key, inner in value.items():
            if not isinstance(key, str):
                raise RowError(f"the field {path!r} has a key that is {_kind(key)}, not a string")
            name = _clean(key, path, depth)
            if name in clean:
                raise RowError(f"the field {name!r} stands twice")
            if inner is not None:
                clean[name] = _clean(inner, name if depth == 0 else f"{path}.{name}", depth + 1)
        return clean
    if isinstance(value, list | tuple):
        return [_clean(inner, path, depth + 1) for inner in value]
    raise RowError(f"the field {path!r} is {_kind(value)}, which JSON does not have")


def _refuse_reserved(metadata: Mapping[str, Any]) -> None:
    for name in metadata:
        if name == RESERVED or name.startswith(f"{RESERVED}."):
            raise RowError(f"the field {name[:_SHOWN]!r} is reserved: rename it")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), f"a {type(value).__name__}")
