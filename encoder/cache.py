"""The user's cache: directories built once, and digests of files remembered."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from yusa.errors import EncoderError


def cache_dir() -> Path:
    """YUSA_CACHE, or the platform's cache directory for yusa; it need not exist yet."""
    given = os.environ.get("YUSA_CACHE")
    if given:
        return Path(given).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("yusa")


def offline() -> bool:
    """Whether YUSA_OFFLINE forbids asking the hub."""
    return os.environ.get("YUSA_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def build_once(directory: Path, build: Callable[[Path], None]) -> Path:
    """Return `directory`, filled by `build` if it does not exist; whoever sees it sees all of it.

    Two processes may build at once: the first rename wins and the other's work is dropped.

    Raises:
        EncoderError: the cache cannot be written.
    """
    if directory.is_dir():
        return directory
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".building-", dir=directory.parent))
        try:
            build(temporary)
            for file in temporary.rglob("*"):
                if file.is_file():
                    _sync(file)
            try:
                temporary.rename(directory)
            except OSError:
                if not directory.is_dir():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise EncoderError(
            f"cannot write {directory} in the cache: {error}. "
            "Free some space there or set YUSA_CACHE to another directory."
        ) from error
    return directory


def file_key(files: Sequence[Path]) -> str:
    """A key that changes whenever one of `files` is moved, replaced or rewritten."""
    identity = []
    for file in files:
        resolved = file.resolve()
        stat = resolved.stat()
        identity.append([str(resolved), stat.st_ino, stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(json.dumps(identity).encode("utf-8", "surrogateescape")).hexdigest()


def remembered(
    kind: str,
    files: Sequence[Path],
    compute: Callable[[], dict[str, str]],
    *,
    usable: Callable[[dict[str, str]], bool] | None = None,
) -> dict[str, str]:
    """What `compute` says about `files`, asked once per state of the files. A cache that cannot be used is no error.

    Args:
        usable: whether what was remembered is what it should be; what is not is computed again.
    """
    memory = cache_dir() / "digests" / f"{kind}-{file_key(files)[:40]}.json"
    try:
        values = json.loads(memory.read_text("utf-8"))
        if isinstance(values, dict) and (usable is None or usable(values)):
            return values
    except (OSError, ValueError):
        pass
    values = compute()
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".digest-", dir=memory.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(values, file)
        Path(temporary).replace(memory)
    except OSError:
        pass
    return values


def _sync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
