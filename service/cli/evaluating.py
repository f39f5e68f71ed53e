"""What `yusa eval` and `yusa tune` share: options that take lists, and tables of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from yusa.search.significance import Interval


class Listed(click.ParamType[Any]):
    """Values of another type, divided by commas; equal ones count once."""

    def __init__(self, item: click.ParamType[Any]) -> None:
        self.item = item
        self.name = f"{item.name} list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",") if part.strip()]
        if not parts:
            self.fail("it needs at least one value", param, ctx)
        return tuple(dict.fromkeys(self.item.convert(part, param, ctx) for part in parts))


MODES = Listed(click.Choice(["dense", "lexical", "hybrid"]))
POOLINGS = Listed(click.Choice(["mean", "cls", "pooler"]))
WEIGHTS = Listed(click.FloatRange(0, 1))

split = click.option("--split", metavar="S", help="Which judgements: qrels.S.tsv or qrels/S.tsv.")


def table(*columns: str) -> Table:
    """An empty table whose first column is a name and whose others are numbers."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for place, column in enumerate(columns):
        # Where it is narrow the names give way; a number that is cut says something else.
        made.add_column(column, justify="right" if place else "left", overflow="fold", no_wrap=place > 0)
    return made


def value(mean: float, bounds: Interval) -> str:
    """A mean over its interval, on two lines."""
    return f"{mean:.3f}\n{bounds[0]:.3f}–{bounds[1]:.3f}"


def gain(difference: float, bounds: Interval) -> str:
    """A difference with its interval, signed."""
    return f"{difference:+.4f} ({bounds[0]:+.4f} to {bounds[1]:+.4f})"


def probability(p: float) -> str:
    """A p-value as papers write it."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
