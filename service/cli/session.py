"""`yusa session`: an interactive search session."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from yusa.errors import UsageError
from yusa.service.cli import options
from yusa.service.cli.console import console, say, valid_text
from yusa.service.cli.group import report_error
from yusa.service.cli.opening import TimedIndex
from yusa.service.errors import DONE, FAILED

if TYPE_CHECKING:
    from yusa.encoder.base import Pooling
    from yusa.search.hit import Hit
    from yusa.search.searcher import Mode
    from yusa.storage.filters import Filter

HELP = """\
a line            searches
:k N              show N hits
:mode MODE        search by meaning (dense), by words (lexical) or by both (hybrid)
:where EXPR       only documents that match, such as  year >= 2020 and lang = 'ko'
:where            all documents again
:show ID          a document
:similar ID       the documents nearest to it
:help             this
:quit             ends, as Ctrl-D does"""


@options.command("session", example="yusa session -i news")
@options.index_path
@options.same_encoder
@options.pooling
@options.device
def session(index_path: Path, encoder: str | None, pooling: Pooling | None, device: str | None) -> int:
    """Search again and again: the encoder is loaded once, and every query is timed.

    Each line is a query or a command; `:help` lists them. Ctrl-C cancels a line, Ctrl-D ends. From a pipe it ends
    with the last line, and with exit code 1 if one failed.
    """
    with TimedIndex(index_path, encoder=encoder, pooling=pooling, device=device) as timed:
        if sys.stdin.isatty():
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401 - gives input() line editing and history
            documents = timed.index.stats().documents
            say(f"{index_path}: {documents:,} documents, {timed.encoder.name}. :help lists the commands.")
            _converse(_Session(timed), prompt="yusa> ")
            return DONE
        return DONE if _converse(_Session(timed), prompt="") else FAILED


def _converse(session: _Session, *, prompt: str) -> bool:
    """Answers lines until the input ends or says so; whether all of them could be answered."""
    well = True
    while True:
        try:
            line = input(prompt).strip()
            if line in (":quit", ":q"):
                return well
            if line:
                session.answer(line)
        except EOFError:
            if prompt:
                say("")
            return well
        except KeyboardInterrupt:
            if not prompt:
                raise
            say("")
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - one bad line must not end the session
            report_error(error)
            well = False


@dataclass
class _Session:
    """What one line leaves for the next."""

    timed: TimedIndex
    top_k: int = 10
    mode: Mode | None = None
    where: Filter | None = None
    commands: dict[str, Callable[[str], None]] = field(init=False)

    def __post_init__(self) -> None:
        self.commands = {
            ":k": self._set_top_k,
            ":mode": self._set_mode,
            ":where": self._set_where,
            ":show": self._show,
            ":similar": self._similar,
            ":help": lambda _: say(HELP),
        }

    def answer(self, line: str) -> None:
        if not line.startswith(":"):
            self._search(line)
            return
        name, _, argument = line.partition(" ")
        if name not in self.commands:
            raise UsageError(f"no command {name}; :help lists them")
        self.commands[name](argument.strip())

    def _search(self, query: str) -> None:
        text = valid_text(query, "the query")
        hits, took = self.timed.search(text, top_k=self.top_k, where=self.where, mode=self.mode)
        self._print(hits)
        say(f"{len(hits)} hit{'' if len(hits) == 1 else 's'} · {took}")

    def _print(self, hits: list[Hit]) -> None:
        from yusa.service.cli.render import print_hits

        if hits:
            print_hits(console(), hits)

    def _set_top_k(self, argument: str) -> None:
        if not argument.isdecimal() or int(argument) < 1:
            raise UsageError(f":k wants a number of hits, at least 1; got {argument!r}")
        self.top_k = int(argument)

    def _set_mode(self, argument: str) -> None:
        from yusa.search.searcher import MODES

        if argument not in MODES:
            raise UsageError(f":mode wants one of {', '.join(MODES)}; got {argument!r}")
        self.mode = argument

    def _set_where(self, argument: str) -> None:
        from yusa.search.where import parse

        self.where = parse(valid_text(argument, ":where")) if argument.strip(" :") else None

    def _show(self, argument: str) -> None:
        from yusa.service.cli.render import print_document

        row, passages = self.timed.index.row(_id(argument))
        print_document(console(), row, [(p.start, p.end) for p in passages])

    def _similar(self, argument: str) -> None:
        hits = self.timed.index.similar(_id(argument), top_k=self.top_k, where=self.where)
        self._print(hits)
        if not hits:
            say("no other document")


def _id(argument: str) -> str:
    if not argument:
        raise UsageError("the id of a document is missing")
    return valid_text(argument, "the id")
