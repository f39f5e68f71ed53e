"""Texts of every odd kind, and what every reader keeps to whatever it reads."""

from __future__ import annotations

import json
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from yusa.indexer import Rejected, Row, read
from yusa.indexer.formats import READERS
from yusa.indexer.opened import SHOWN
from yusa.storage.attributes import attribute_rows
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
            assert len(item.raw) <= SHOWN
            continue
        document = item.document
        assert document.text == normalize(document.text)
        assert document.text.strip()
        assert document.title is None or document.title == edged(document.title)
        assert document.id == unicodedata.normalize("NFC", document.id)
        assert 0 < len(document.id) <= 512
        attribute_rows(document.metadata)
        json.dumps([document.id, document.text, document.title, document.metadata], ensure_ascii=False).encode()
