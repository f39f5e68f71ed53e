"""Facets count documents, not values and not passages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storing import create_store, make_entry, make_settings

from yusa.storage.filters import Compare


def test_values_are_counted_once_a_document(tmp_path: Path) -> None:
    store = create_store(tmp_path / "index", make_settings())
    rows: list[tuple[str, dict[str, Any], int]] = [
        ("a", {"lang": "ko", "tags": ["x", "y", "x"], "n": 1, "big": 2**60 + 1, "ok": True}, 2),
        ("b", {"lang": "ko", "tags": ["x"], "n": 1.0, "big": 2**60, "ok": False}, 1),
        ("c", {"lang": "en", "n": 2.5, "big": 2**60 + 1, "ok": True}, 3),
        ("d", {"lang": "en", "n": "1"}, 0),
    ]
    with store.write() as writer:
        writer.put([make_entry(id, metadata=metadata, passages=count) for id, metadata, count in rows])
        writer.put([make_entry("e", source="other", title="제목")])
    with store.read() as view:
        assert view.facets("lang") == [("en", 2), ("ko", 2)]
        assert view.facets("tags") == [("x", 2), ("y", 1)]
        assert view.facets("n") == [(1, 2), ("1", 1), (2.5, 1)]
        assert view.facets("big") == [(2**60 + 1, 2), (2**60, 1)]
        assert view.facets("ok") == [(True, 2), (False, 1)]
        assert view.facets("nothing") == []
        assert view.facets("yusa.source") == [("a", 4), ("other", 1)]
        assert view.facets("yusa.title") == [("제목", 1)]
        assert view.facets("yusa.id")[0] == ("a", 1)
        korean = view.allowed(Compare("lang", "=", "ko"))
        assert view.facets("tags", korean) == [("x", 2), ("y", 1)]
        assert view.facets("yusa.source", korean) == [("a", 2)]
        assert view.facets("lang", view.select([])) == []
    store.close()
