"""Versions of what yusa stands on, told without importing any of it."""

from __future__ import annotations

import platform
import sqlite3
from importlib import metadata

PACKAGES = ("torch", "tokenizers", "safetensors", "faiss-cpu", "SQLAlchemy", "numpy")
WAL_RESET_FIXED = (3, 51, 3)


def package_version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def version_line() -> str:
    """One line: yusa, Python, SQLite and the packages that decide what yusa computes."""
    parts = [f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    parts += [f"{name} {package_version(name) or 'missing'}" for name in PACKAGES]
    return f"yusa {package_version('yusa') or 'unknown'} ({', '.join(parts)})"
