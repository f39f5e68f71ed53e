"""Deleting what a source no longer holds; only where that is certain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from yusa.indexer.intake import Catalogue, Intake
from yusa.indexer.source import Source

ASK_ABOVE = 0.2
"""The share of a source's documents above which pruning has to be confirmed."""
_CHUNK = 1000

Confirm = Callable[[str, int, int], bool]
"""Asked as (source, documents to be deleted, documents the index holds of it)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What pruning one source would delete, or the sentence that says why it must not."""

    source: str
    gone: tuple[str, ...] = ()
    held: int = 0
    refused: str | None = None


def plan(sources: Sequence[Source], intake: Intake, catalogue: Catalogue) -> list[Plan]:
    """One plan per source; to be made after the sources were read to their ends."""
    return [
        _plan(name, all(source.complete for source in sources if source.name == name), intake, catalogue)
        for name in dict.fromkeys(source.name for source in sources)
    ]


def confirmed(plan: Plan, confirm: Confirm | None) -> Plan:
    """The plan, refused where it deletes a large part of the source and nobody agrees."""
    share = len(plan.gone) / plan.held if plan.held else 0.0
    if plan.refused or share <= ASK_ABOVE:
        return plan
    what = f"{plan.source} was not pruned: {len(plan.gone):,} of its {plan.held:,} documents would be deleted"
    if confirm is None:
        return Plan(plan.source, refused=f"{what}, more than {ASK_ABOVE:.0%}, which has to be confirmed (--yes)")
    if confirm(plan.source, len(plan.gone), plan.held):
        return plan
    return Plan(plan.source, refused=f"{what}, which was declined")


def in_chunks(ids: Sequence[str]) -> Iterator[list[str]]:
    """As many ids as one transaction deletes."""
    rest = iter(ids)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk


def _plan(name: str, complete: bool, intake: Intake, catalogue: Catalogue) -> Plan:
    if not complete:
        return Plan(name, refused=f"{name} was not pruned: it could not be read completely")
    if nameless := intake.without_id[name]:
        return Plan(
            name,
            refused=f"{name} was not pruned: {nameless:,} rejected rows have no id that could be read, "
            "so it cannot be known which documents are gone; correct them first",
        )
    gone: list[str] = []
    held = 0
    ids = catalogue.ids_of(name)
    while chunk := list(islice(ids, _CHUNK)):
        held += len(chunk)
        gone += [id for id, present in zip(chunk, intake.present(chunk, name), strict=True) if not present]
    return Plan(name, tuple(gone), held)
