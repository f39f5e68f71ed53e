"""Hits and documents for people, on any rich console (the demo records one and makes an SVG of it)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from yusa.service.cli.console import clean

if TYPE_CHECKING:
    from yusa.search.hit import Hit
    from yusa.storage.records import DocumentRow

Span = tuple[int, int]

EXCERPT_LINES = 4
FACET_VALUES = 20
BAR_CELLS = 8
NARROW = 60
LONG_WORD = 20
MARK = "bold yellow"
PLAIN_MARKS = ("«", "»")
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_SPACE = re.compile(r"\s+")


def print_hits(console: Console, hits: Sequence[Hit], *, explain: bool = False) -> None:
    """Prints a table: rank, score with its bar, then id and title over the passage with its matching words marked.

    The bars compare each score with the best one. A passage is cut to a few lines around its snippet. Where the console
    shows no styles the words stand in «».
    """
    best = max((hit.score for hit in hits), default=0.0)
    rank_cells = max((len(str(hit.rank)) for hit in hits), default=1)
    for hit in hits:
        margin = Text().append(f"{hit.rank:>{rank_cells}} ", style="dim").append(f"{hit.score:>7.4f}  ")
        if console.width >= NARROW:
            margin.append(f"{bar(hit.score, best):<{BAR_CELLS}}  ", style="cyan")
        body_cells = _room(console, margin)
        body = _heading(hit.id, hit.title)
        cells = EXCERPT_LINES * body_cells
        body.append("\n").append_text(
            excerpt(hit.text, hit.highlights, cells, styled=_styled(console), focus=hit.snippet)
        )
        for other in hit.context:
            body.append("\n").append(f"passage {other.ordinal}  ", style="dim")
            body.append_text(excerpt(other.text, (), cells, styled=_styled(console)))
        if hit.collapsed:
            body.append("\n").append(f"and nearly the same in {', '.join(map(clean, hit.collapsed))}", style="dim")
        if explain:
            body.append("\n").append(_explained(hit), style="dim")
        _print_hanging(console, margin, body)
        if hit is not hits[-1]:
            console.print()


def bar(score: float, best: float, cells: int = BAR_CELLS) -> str:
    """A bar `cells` wide that is full for the best score and empty for 0 and less."""
    share = min(1.0, max(0.0, score / best)) if best > 0 else 0.0
    full, eighths = divmod(round(share * cells * 8), 8)
    return "█" * full + (_EIGHTHS[eighths] if eighths else "")


def print_facets(console: Console, facets: Mapping[str, Sequence[tuple[object, int]]]) -> None:
    """Prints for each field its values with their counts, the most frequent first."""
    for field, counts in facets.items():
        shown = [f"{clean(str(value))} {count:,}" for value, count in counts[:FACET_VALUES]]
        more = [f"{len(counts) - FACET_VALUES:,} more"] if len(counts) > FACET_VALUES else []
        console.print()
        _print_hanging(
            console, Text(f"{clean(field)}  ", style="cyan"), Text(" · ".join([*shown, *more]) or "no values")
        )


def excerpt(text: str, marked: Sequence[Span], cells: int, *, styled: bool, focus: Span = (0, 0)) -> Text:
    """At most `cells` terminal cells of a text, on one paragraph, around `focus` or the first marked span."""
    flat, (centre, *spans) = _flatten(text, [focus if focus[1] else next(iter(marked), (0, 0)), *marked])
    flat, spans = _window(flat, spans, cells, centre)
    result = Text()
    at = 0
    for start, end in spans:
        result.append(flat[at:start])
        result.append(flat[start:end] if styled else flat[start:end].join(PLAIN_MARKS), style=MARK)
        at = end
    return result.append(flat[at:])


def print_document(console: Console, row: DocumentRow, passages: Sequence[Span]) -> None:
    """Prints a document: what is known of it, its text (wrapped on a terminal only), and where its passages lie."""
    document = row.document
    metadata = [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in document.metadata.items()
    ]
    print_fields(console, [("id", document.id), ("title", document.title or ""), ("source", row.source), *metadata])
    console.print(Text("\n" + clean(document.text) + "\n"), soft_wrap=not console.is_terminal)
    for ordinal, (start, end) in enumerate(passages):
        line = Text().append(f"passage {ordinal}  {start}–{end}  ", style="dim")
        first = excerpt(document.text[start:end], (), _room(console, line), styled=True)
        console.print(line.append_text(first), no_wrap=True, crop=False, overflow="ignore")


def print_fields(console: Console, fields: Sequence[tuple[str | Text, object]]) -> None:
    """Prints names and values in two columns; long values are wrapped on a terminal only."""
    names = [Text.styled(clean(name), "cyan") if isinstance(name, str) else name for name, _ in fields]
    widest = max(cell_len(name.plain) for name in names)
    for name, (_, value) in zip(names, fields, strict=True):
        margin = name + Text(" " * (widest + 2 - cell_len(name.plain)))
        body = Text(clean(str(value)))
        if console.is_terminal:
            _print_hanging(console, margin, body)
        else:
            console.print(margin + body, soft_wrap=True)


def _room(console: Console, margin: Text) -> int:
    return max(16, console.width - cell_len(margin.plain))


def _print_hanging(console: Console, margin: Text, body: Text) -> None:
    for line in body.wrap(console, _room(console, margin), overflow="fold") or [Text()]:
        line.rstrip()
        console.print(margin + line, no_wrap=True, crop=False, overflow="ignore")
        margin = Text(" " * cell_len(margin.plain))


def _styled(console: Console) -> bool:
    return console.color_system is not None or console.record


def _heading(id: str, title: str | None) -> Text:
    heading = Text().append(clean(id), style="bold cyan")
    if title:
        heading.append("  ").append(_SPACE.sub(" ", clean(title)), style="bold")
    return heading


def _explained(hit: Hit) -> str:
    parts = ", ".join(
        f"{name} {value:.4f}" + (f" (rank {hit.ranks[name]})" if name in hit.ranks else "")
        for name, value in hit.scores.items()
    )
    where = hit.passage
    return f"{parts} · passage {where.ordinal}, characters {where.start}–{where.end} · from {clean(hit.source)}"


def _flatten(text: str, spans: Sequence[Span]) -> tuple[str, list[Span]]:
    """White space becomes one space, so that a passage is one paragraph; spans move with it."""
    moved = list[int]()
    flat = list[str]()
    for character in clean(text):
        moved.append(len(flat))
        if not character.isspace():
            flat.append(character)
        elif flat and flat[-1] != " ":
            flat.append(" ")
    moved.append(len(flat))
    return "".join(flat), [(moved[start], moved[end]) for start, end in spans]


def _window(text: str, spans: list[Span], cells: int, focus: Span) -> tuple[str, list[Span]]:
    """What fits into `cells`: a third of the room that `focus` leaves comes before it, the rest after it."""
    if cell_len(text) <= cells:
        return text, spans
    first, last = focus
    before = max(0, cells - cell_len(text[first:last])) // 3
    start = first - len(_fitting(text[:first][::-1], before))
    if start:
        start = max(start, text.find(" ", start, first) + 1)  # at a word, where there are spaces
    head = "…" if start else ""
    body = text[start:]
    tail = ""
    if cell_len(body) > cells - len(head):
        body = _fitting(body, cells - len(head) - 1)
        space = body.rfind(" ", max(0, len(body) - LONG_WORD))
        body = body[:space] if space > last - start else body
        tail = "…"
    shift = len(head) - start
    end = start + len(body)
    return head + body + tail, [(max(a, start) + shift, min(b, end) + shift) for a, b in spans if a < end and b > start]


def _fitting(text: str, cells: int) -> str:
    return text if cell_len(text) <= cells else set_cell_size(text, cells).rstrip()
