"""What is kept, and how it is kept safe: SQLite is the truth, FAISS a cache of it.

The names are loaded when they are used, so that importing this package loads neither faiss nor sqlalchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yusa.storage.compact import CompactReport
    from yusa.storage.filters import Filter
    from yusa.storage.records import Document, DocumentRow, Encoded, Entry, Known, Passage, PassageRow
    from yusa.storage.settings import Settings
    from yusa.storage.stats import Stats
    from yusa.storage.store import Store
    from yusa.storage.verify import VerifyReport
    from yusa.storage.view import Allowed, View
    from yusa.storage.writer import Writer

_HOMES = {
    "Allowed": "view",
    "CompactReport": "compact",
    "Document": "records",
    "DocumentRow": "records",
    "Encoded": "records",
    "Entry": "records",
    "Filter": "filters",
    "Known": "records",
    "Passage": "records",
    "PassageRow": "records",
    "Settings": "settings",
    "Stats": "stats",
    "Store": "store",
    "VerifyReport": "verify",
    "View": "view",
    "Writer": "writer",
}

__all__ = [
    "Allowed",
    "CompactReport",
    "Document",
    "DocumentRow",
    "Encoded",
    "Entry",
    "Filter",
    "Known",
    "Passage",
    "PassageRow",
    "Settings",
    "Stats",
    "Store",
    "VerifyReport",
    "View",
    "Writer",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
