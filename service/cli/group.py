"""The group of all commands: imports one when it is asked for, and turns failures into messages and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click

from yusa.errors import YusaError
from yusa.service.cli.console import clean, say
from yusa.service.errors import DONE, INTERRUPTED, outcome

VERBOSE = "yusa.verbose"
"""The key in click's shared `Context.meta` that `-v` sets."""


class LazyGroup(click.Group):
    """Commands by name and one line of help; a module is imported when its command is run or that one's help is read.

    A command returns its exit code, or None for 0.
    """

    def __init__(self, *args: Any, package: str, lazy: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._package = package
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self._lazy:
            return None
        command: click.Command = getattr(import_module(f"{self._package}.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(self._lazy.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self._lazy, n=1)
            raise click.UsageError(error.message + (f" Did you mean {near[0]}?" if near else ""), ctx) from None

    def invoke(self, ctx: click.Context) -> int:
        try:
            code = super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            # click ends quietly, with 1, when the reader of the output went away (`| head`).
            raise
        except Exception as error:  # noqa: BLE001 - the one place where every failure becomes a message
            return report_error(error)
        return code or DONE

    def main(self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **kwargs: Any) -> Any:  # type: ignore[override]
        """Runs a command line and leaves the process with its exit code."""
        try:
            code = super().main(args, standalone_mode=False, **kwargs)
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except click.Abort:
            say("interrupted")
            code = INTERRUPTED
        if not standalone_mode:
            return code
        sys.exit(code)


def report_error(error: Exception) -> int:
    """Prints what went wrong, with the traceback where `-v` asks for it; returns the exit code."""
    if click.get_current_context().meta.get(VERBOSE, False):
        import traceback

        traceback.print_exception(error)
    elif isinstance(error, YusaError):
        say(f"Error: {clean(str(error))}")
    elif isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        say(clean(f"Error: {error.strerror}{where}\nWith -v, or YUSA_DEBUG=1, yusa shows where that happened."))
    else:
        what = f"Error: yusa did not expect this: {type(error).__name__}: {error}"
        say(clean(f"{what}\nWith -v, or YUSA_DEBUG=1, it shows where that happened."))
    return outcome(error).exit_code
