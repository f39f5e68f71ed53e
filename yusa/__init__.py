"""yusa: a semantic search index for Korean and English text.

The names below are all most programs need; each is imported when it is first used, so that `import yusa` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yusa.encoder.cross_encoder import CrossEncoder
    from yusa.encoder.encoder import Encoder
    from yusa.errors import YusaError
    from yusa.index import Index
    from yusa.indexer import read
    from yusa.opening import create, open, restore
    from yusa.search.hit import Hit
    from yusa.storage.records import Document

__all__ = ["CrossEncoder", "Document", "Encoder", "Hit", "Index", "YusaError", "create", "open", "read", "restore"]

_HOME = {
    "CrossEncoder": "yusa.encoder",
    "Document": "yusa.storage.records",
    "Encoder": "yusa.encoder",
    "Hit": "yusa.search.hit",
    "Index": "yusa.index",
    "YusaError": "yusa.errors",
    "create": "yusa.opening",
    "open": "yusa.opening",
    "read": "yusa.indexer",
    "restore": "yusa.opening",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'yusa' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
