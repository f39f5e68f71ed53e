"""Every option that more than one command has, once; and what all commands share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from yusa.service.cli.group import VERBOSE

F = TypeVar("F", bound=Callable[..., Any])


class _Path(click.Path):
    """A path that is not empty: that would be the current folder, where a variable was not set."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the path is empty, as of a variable that is not set; for this folder give .", param, ctx)
        return super().convert(value, param, ctx)


PATH = _Path(path_type=Path)


def _versions(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked or ctx.resilient_parsing:
        return
    from yusa.service.cli.versions import version_line

    click.echo(version_line())
    ctx.exit()


def _be_verbose(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        ctx.meta[VERBOSE] = True
        logging.basicConfig(format="%(name)s: %(message)s")
        logging.getLogger("yusa").setLevel(logging.DEBUG)


show_version = click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_versions,
    help="Print the versions of yusa and what it stands on.",
)  # fmt: skip
verbose = click.option(
    "-v", "--verbose", is_flag=True, is_eager=True, expose_value=False, callback=_be_verbose, envvar="YUSA_DEBUG",
    help="Log what is done, and show where an error came from (also YUSA_DEBUG=1).",
)  # fmt: skip

index_path = click.option(
    "-i", "--index", "index_path", type=PATH, default="yusa-index", envvar="YUSA_INDEX", show_default=True,
    show_envvar=True, help="The index's directory.",
)  # fmt: skip
new_encoder = click.option(
    "--encoder", metavar="M", envvar="YUSA_ENCODER", show_envvar=True,
    help="A packaged model (multilingual-e5-small, the default; all-MiniLM-L6-v2), a directory, or a hub name.",
)  # fmt: skip
same_encoder = click.option(
    "--encoder", metavar="M",
    help="The index's encoder from another place; one that is not the same is refused.",
)  # fmt: skip
pooling = click.option(
    "--pooling", type=click.Choice(["mean", "cls", "pooler"]),
    help="How token vectors become one: their mean, the first, or the trained pooler. By default as the model says.",
)  # fmt: skip
int8 = click.option(
    "--int8", "quantization", flag_value="int8",
    help="Encode in 8-bit integers (x86 CPUs): another encoder, whose loss is shown; faster in bulk for large models.",
)  # fmt: skip
max_length = click.option(
    "--max-length",
    type=click.IntRange(min=3),
    metavar="N",
    help="Most tokens of an encoded text, special ones included.",
)
device = click.option(
    "--device", metavar="D", envvar="YUSA_DEVICE", show_envvar=True,
    help="Where the encoder runs: cpu, cuda, cuda:1, mps. By default a CUDA device if there is one.",
)  # fmt: skip
top_k = click.option(
    "-k", "--top-k", type=click.IntRange(min=1), default=10, show_default=True, metavar="N", help="Number of hits."
)
offset = click.option(
    "--offset", type=click.IntRange(min=0), default=0, metavar="N", help="Leave out the first N hits."
)
mode = click.option(
    "--mode", type=click.Choice(["dense", "lexical", "hybrid"]),
    help="By meaning, by words, or by both. By default as `yusa tune` chose for the index, else hybrid.",
)  # fmt: skip
where = click.option(
    "--where", metavar="EXPR", help="Only documents that match, such as \"year >= 2020 and lang = 'ko'\"."
)
passages = click.option(
    "--passages", is_flag=True, help="Every passage is a hit of its own, instead of each document's best."
)
output_format = click.option(
    "--format", "output_format", type=click.Choice(["table", "json", "jsonl"]), default="table", show_default=True,
    help="A table for people; an array of hits; or one hit a line.",
)  # fmt: skip
explain = click.option(
    "--explain", is_flag=True, help="Also show each part's score and rank, and what the search took."
)
rerank = click.option(
    "--rerank", metavar="M",
    help="Sort the first hits anew by a cross-encoder: a sequence classification checkpoint, by directory or hub name.",
)  # fmt: skip
rerank_depth = click.option(
    "--rerank-depth", type=click.IntRange(min=1), metavar="N", help="How many hits --rerank sees.  [default: 50]"
)
literal = click.option("--literal", is_flag=True, help="Take quotes, minus and star in the query as they stand.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
wait = click.option(
    "--wait", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS",
    help="If another process is writing, wait so long for it.",
)  # fmt: skip


class Command(click.Command):
    """A command with an example under its help, and `-v`."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        verbose(self)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def command(name: str, *, example: str) -> Callable[[Callable[..., int | None]], Command]:
    """Declares a command. Its function returns the exit code, or None for 0."""
    return click.command(name, cls=Command, example=example)
