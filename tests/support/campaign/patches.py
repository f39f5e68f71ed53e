"""Kills at Python's own file operations, for systems where nothing can be preloaded; SQLite's are not among them."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from yusa.storage import files

KINDS: Final = ("rename", "unlink", "make a directory", "fsync", "fsync of a directory", "write of a segment")


def arm(kind: str, when: str, nth: int, root: Path) -> None:
    """Kill this process before or after the n-th operation of a kind below `root`."""
    left = nth
    below = f"{root}{os.sep}"

    def visit(moment: str) -> None:
        nonlocal left
        left -= moment == "before"
        if left == 0 and moment == when:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function: Callable[..., Any], counts: Callable[[Any], bool]) -> Callable[..., Any]:
        def visited(*arguments: Any, **named: Any) -> Any:
            counted = counts(arguments[0])
            if counted:
                visit("before")
            result = function(*arguments, **named)
            if counted:
                visit("after")
            return result

        return visited

    def named(path: Any) -> bool:
        return not isinstance(path, int) and (not Path(path).is_absolute() or os.fspath(path).startswith(below))

    def synced(descriptor: int) -> bool:
        directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        return directory == (kind == "fsync of a directory")

    def always(_: Any) -> bool:
        return True

    changes: dict[str, tuple[Any, tuple[str, ...], Callable[[Any], bool]]] = {
        "rename": (os, ("rename", "replace"), named),
        "unlink": (os, ("unlink", "remove"), named),
        "make a directory": (os, ("mkdir",), named),
        "fsync": (os, ("fsync",), synced),
        "fsync of a directory": (os, ("fsync",), synced),
    }
    if kind in changes:
        module, names, counts = changes[kind]
        for name in names:
            setattr(module, name, around(getattr(module, name), counts))
        return
    write_file = files.write_file

    def watched(path: Path, produce: Callable[[files.Sink], None]) -> files.FileSum:
        return write_file(path, lambda sink: produce(around(sink, always)))

    files.write_file = watched
