"""Where output goes: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from yusa.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def console(*, stderr: bool = False) -> Console:
    """A rich console that takes text as it is: no markup, no emoji codes, no guessing of colours."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def say(message: str) -> None:
    """Prints a message for people on stderr."""
    click.echo(message, err=True)


def print_json(value: Any) -> None:
    """Prints a value as indented JSON on stdout, non-ASCII text as it is."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_json_line(value: Any) -> None:
    """Prints a value as one line of JSON on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False))


@contextmanager
def working(message: str, *, always: bool = False) -> Iterator[None]:
    """Shows on a terminal that something is being waited for; elsewhere says it in a line, if `always`."""
    if sys.stderr.isatty():
        with console(stderr=True).status(message):
            yield
        return
    if always:
        say(message)
    yield


def stdin_lines() -> Iterator[str]:
    """The lines of standard input that are not blank, without their ends.

    Raises:
        InputError: a line is not UTF-8.
    """
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise InputError(
                f"line {number} of standard input is not UTF-8 (byte {error.start + 1} of the line); convert it first, "
                f"for example with: iconv -f CP949 -t UTF-8"
            ) from error
        if text:
            yield text


def valid_text(text: str, what: str) -> str:
    """The text in NFC, as an index keeps texts and ids.

    Raises:
        InputError: it holds bytes that are not in the encoding of the command line.
    """
    try:
        # Where the locale is not UTF-8, the bytes of an argument hide behind surrogates.
        text = os.fsencode(text).decode() if _SURROGATE.search(text) else text
    except UnicodeError as error:
        raise InputError(f"{what} is not valid UTF-8: {text!r}; check the terminal's encoding") from error
    return unicodedata.normalize("NFC", text)


def clean(text: str) -> str:
    """The text without what could steer a terminal: control characters and changes of writing direction."""
    return _CONTROL.sub("\ufffd", text)


def megabytes(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e6:,.1f} MB"
