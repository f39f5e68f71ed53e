"""`yusa doctor`: is everything here that yusa needs, and does it fit together?"""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import click
from click.core import ParameterSource

from yusa.errors import IndexNotFoundError, YusaError
from yusa.service.cli import options
from yusa.service.cli.console import console, megabytes, print_json, working
from yusa.service.cli.versions import PACKAGES, WAL_RESET_FIXED, package_version
from yusa.service.errors import DONE, FAILED

if TYPE_CHECKING:
    from yusa.index import Index


class Check(NamedTuple):
    """One line of the report. Only a `problem` makes the command fail."""

    name: str
    status: Literal["ok", "note", "problem"]
    detail: str


@options.command("doctor", example="yusa doctor -i news")
@options.index_path
@options.as_json
def doctor(index_path: Path, as_json: bool) -> int:
    """Check the installation, the device, the models and, where there is one, the index.

    Exit code 1 if something does not work; notes are only worth knowing.
    """
    asked = click.get_current_context().get_parameter_source("index_path") is not ParameterSource.DEFAULT
    with working("looking …"):
        checks = [
            Check("yusa", "ok", f"{package_version('yusa') or 'not installed'}, Python {platform.python_version()}"),
            *_packages(),
            _sqlite(),
            _guarded("device", _device),
            _native(),
            _guarded("model cache", _cache),
            *_models(),
            _hub(),
            *_index(index_path, asked=asked),
        ]
    healthy = all(check.status != "problem" for check in checks)
    if as_json:
        print_json({"healthy": healthy, "checks": [check._asdict() for check in checks]})
    else:
        _print(checks)
    return DONE if healthy else FAILED


def _print(checks: list[Check]) -> None:
    from rich.text import Text

    from yusa.service.cli.render import print_fields

    styles = {"ok": "green", "note": "yellow", "problem": "bold red"}
    print_fields(
        console(),
        [
            (Text.styled(f"{check.status:<8}", styles[check.status]).append(check.name, "default"), check.detail)
            for check in checks
        ],
    )


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a doctor reports what fails
        return Check(name, "problem", f"{type(error).__name__}: {error}")


def _packages() -> Iterator[Check]:
    modules = {"faiss-cpu": "faiss", "SQLAlchemy": "sqlalchemy"}
    for name in PACKAGES:
        version = package_version(name)
        try:
            import_module(modules.get(name, name))
        except Exception as error:  # noqa: BLE001 - a broken shared library raises anything
            yield Check(name, "problem", f"cannot be imported: {error}; install it with: pip install '{name}'")
        else:
            yield Check(name, "ok", version or "installed in another way than pip's")


def _sqlite() -> Check:
    if sqlite3.sqlite_version_info >= WAL_RESET_FIXED:
        return Check("SQLite", "ok", sqlite3.sqlite_version)
    fixed = ".".join(map(str, WAL_RESET_FIXED))
    return Check("SQLite", "note",
        f"{sqlite3.sqlite_version}. Before {fixed} SQLite can lose commits when two connections write and "
        f"checkpoint at once (the WAL-reset bug). yusa is safe from it: one connection, behind writer.lock, commits "
        f"and checkpoints, and all others only read. "
        f"Don't open an index with other programs for writing."
    )  # fmt: skip


def _device() -> Check:
    import torch

    cards = ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
    chosen = os.environ.get("YUSA_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    torch.empty(1, device=chosen)
    return Check("device", "ok", f"{chosen} ({cards or 'no CUDA device'}; {torch.get_num_threads()} CPU threads)")


def _native() -> Check:
    from yusa.encoder.native_network import available

    why = available()
    if why is None:
        return Check("native forward pass", "ok", "built; texts are encoded on the CPU without torch")
    return Check("native forward pass", "note", f"{why}. Texts are encoded on the CPU by NumPy and torch, more slowly.")


def _cache() -> Check:
    from yusa.encoder.cache import cache_dir

    cache = cache_dir()
    if not cache.exists():
        return Check("model cache", "ok", f"{cache}, empty")
    if not os.access(cache, os.W_OK):
        return Check("model cache", "problem", f"{cache} cannot be written; set YUSA_CACHE to a directory that can")
    content = ", ".join(f"{entry.name} {megabytes(_size(entry))}" for entry in sorted(cache.iterdir()))
    return Check("model cache", "ok", f"{cache}: {content or 'empty'}")


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())


def _models() -> Iterator[Check]:
    from yusa.encoder.packaged import PACKAGED

    for model in PACKAGED.values():
        installed = package_version(model.distribution)
        if installed == model.version:
            yield Check(model.name, "ok", f"packaged ({model.revision})")
        elif installed is None:
            yield Check(model.name, "note", f"not installed. {model.instead}")
        else:
            wanted = f"{model.distribution}=={model.version}"
            yield Check(model.name, "problem", f"{installed} is installed; run: pip install '{wanted}'")


def _hub() -> Check:
    from yusa.encoder.cache import offline

    if offline():
        return Check("hub", "ok", "never asked, as YUSA_OFFLINE is set; what its local cache holds can be used")
    return Check("hub", "ok", "asked for models that are neither packaged nor local; YUSA_OFFLINE=1 forbids it")


def _index(path: Path, *, asked: bool) -> Iterator[Check]:
    import yusa

    try:
        with yusa.open(path) as index:
            yield from _opened(index)
    except IndexNotFoundError as error:
        if asked:
            yield Check("index", "problem", str(error))
        else:
            yield Check("index", "ok", f"none at {path}; `yusa index SOURCE` makes one")
    except (YusaError, OSError) as error:
        yield Check("index", "problem", str(error))


def _opened(index: Index) -> Iterator[Check]:
    settings, stats = index.settings, index.stats()
    content = f"{stats.documents:,} documents, {stats.passages:,} passages"
    yield Check("index", "ok", f"{index.path}: format {stats.format_version}, {content}")
    identity = ", ".join(f"{name} {str(value)[:12] or 'none'}" for name, value in settings.fingerprint.items())
    yield Check("encoder of the index", "ok", f"{settings.encoder}, {settings.dimension}-d ({identity})")
    if settings.fingerprint.get("pooling") == "pooler":
        yield Check("pooling of the index", "note",
            "pooler: unless the model was fine-tuned for similarity, the pooler of a masked-language model such as "
            "KcBERT is a poor measure of it; mean pooling is usually better")  # fmt: skip
    report = index.verify()
    if report.problems:
        yield Check("verify", "problem", "; ".join(report.problems))
    elif report.repairable:
        yield Check("verify", "note", f"{'; '.join(report.repairable)}; not used, and rebuilt at the next write")
    else:
        yield Check("verify", "ok", "samples are as they should be; yusa verify --deep checks everything")
