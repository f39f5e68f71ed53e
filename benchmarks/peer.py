"""A peer in its own environment: a process that lives for the whole run and works only when asked."""

from __future__ import annotations

import json
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Peer:
    """Runs a script, of this folder unless its path is whole, under another Python; one JSON line asks, one answers."""

    def __init__(self, python: str, script: str) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed in __exit__
        # -P: the script's folder is no place to import from, its files have common names.
        command = [python, "-P", "-W", "ignore", str(Path(__file__).parent / script)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, encoding="utf-8"
        )

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        """The peer's answer.

        Raises:
            SystemExit: with what it wrote to its standard error, when it has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": do, **given}) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            status, said = self._process.returncode, self._errors.read()[-4000:]
            raise SystemExit(f"the peer ended with status {status} when asked to {do}:\n{said}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()
