"""The group of all commands: imports one when it is asked for, and turns every failure into a message and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from yusa.errors import YusaError
from yusa.service.errors import DONE, INTERRUPTED, outcome

VERBOSE = "yusa.verbose"
"""The key in click's shared `Context.meta` that `-v` sets."""


class LazyGroup(click.Group):
    """Commands by name and one line of help; a command's module is imported when the command is run or its help is read.

    A command returns its exit code, or None for 0.
    """

    def __init__(self, *args: Any, package: str, lazy: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._package = package
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        command: click.Command = getattr(import_module(f"{self._package}.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._lazy.items()))

    def invoke(self, ctx: click.Context) -> int:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except BrokenPipeError:
            # Who reads has seen enough (`| head`): not a failure, and nothing to say.
            _discard_output()
            return DONE
        except Exception as error:  # noqa: BLE001 - the one place where every failure becomes a message
            return _report(error, verbose=ctx.meta.get(VERBOSE, False))
        return code or DONE

    def main(self, *args: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
        """Runs a command line and leaves the process with its exit code."""
        try:
            code = super().main(*args, standalone_mode=False, **kwargs)
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except click.Abort:
            click.echo("interrupted", err=True)
            code = INTERRUPTED
        if not standalone_mode:
            return code
        sys.exit(code)


def _report(error: Exception, *, verbose: bool) -> int:
    if verbose:
        import traceback

        traceback.print_exception(error)
    elif isinstance(error, YusaError):
        click.echo(f"Error: {error}", err=True)
    elif isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        click.echo(f"Error: {error.strerror}{where}\nWith -v, or YUSA_DEBUG=1, yusa shows where that happened.", err=True)
    else:
        click.echo(
            f"Error: yusa did not expect this: {type(error).__name__}: {error}\n"
            f"With -v, or YUSA_DEBUG=1, it shows where that happened.",
            err=True,
        )
    return outcome(error).exit_code


def _discard_output() -> None:
    # The interpreter flushes stdout once more when it ends; that must not raise again.
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(null, stream.fileno())
    os.close(null)
