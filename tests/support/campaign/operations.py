"""What a writer does: each operation with the states it leads through, one for each commit that can be seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import yusa
from campaign.model import Contents, Encoding, Kept, World, encoder
from campaign.session import WINDOW, Session
from yusa.index import Index
from yusa.indexer import documents_source


class Operation(Protocol):
    """One call or a few.

    Attributes:
        kind: its name in reports.
        counted: it commits exactly once for every state after the first, and each of these commits can be seen.
        replaces: it puts another index in the place of this one, whose commits are counted anew.
    """

    counted: ClassVar[bool]

    @property
    def kind(self) -> str: ...

    @property
    def replaces(self) -> bool: ...

    def states(self, world: World) -> list[World]:
        """The world before, after each commit, and at the end."""
        ...

    def run(self, session: Session, world: World) -> None:
        """Do it."""
        ...

    def interrupted(self, world: World) -> World:
        """What is known of `world`, its first state, after a kill that left no more than that."""
        ...


class _Plain:
    counted: ClassVar[bool] = True

    @property
    def replaces(self) -> bool:
        return False

    def interrupted(self, world: World) -> World:
        return world


def _with_documents(world: World, documents: Mapping[str, Kept]) -> World:
    return replace(world, index=replace(world.index, documents=documents))


@dataclass(frozen=True)
class Add(_Plain):
    """Add and replace the documents of one source, a window to a commit; with `prune` delete its others afterwards."""

    kind: str
    source: str
    documents: tuple[Kept, ...]
    prune: bool = False

    def states(self, world: World) -> list[World]:
        states = [world]
        held = dict(world.index.documents)
        changed = [kept for kept in self.documents if held.get(kept.document.id) != kept]
        for start in range(0, len(changed), WINDOW):
            held = held | {kept.document.id: kept for kept in changed[start : start + WINDOW]}
            states.append(_with_documents(world, held))
        if self.prune:
            given = {kept.document.id for kept in self.documents}
            stay = {id: kept for id, kept in held.items() if kept.source != self.source or id in given}
            if len(stay) < len(held):
                states.append(_with_documents(world, stay))
        return states

    def run(self, session: Session, world: World) -> None:
        source = documents_source([kept.document for kept in self.documents], self.source)
        session.index.add(source, prune=self.prune, confirm=lambda *_: True)


@dataclass(frozen=True)
class Delete(_Plain):
    """Delete documents in one commit."""

    ids: tuple[str, ...]
    kind: str = "delete"

    def states(self, world: World) -> list[World]:
        held = world.index.documents
        stay = {id: kept for id, kept in held.items() if id not in self.ids}
        return [world, _with_documents(world, stay)] if len(stay) < len(held) else [world]

    def run(self, session: Session, world: World) -> None:
        session.index.delete(self.ids)


@dataclass(frozen=True)
class Tune(_Plain):
    """Store how queries are answered."""

    choice: Mapping[str, Any]
    kind: str = "tune"

    def states(self, world: World) -> list[World]:
        tuned = replace(world.index.encoding, tuned=dict(self.choice))
        return [world, replace(world, index=replace(world.index, encoding=tuned))]

    def run(self, session: Session, world: World) -> None:
        session.index.tune(self.choice)


@dataclass(frozen=True)
class Compact(_Plain):
    """Merge the segments and give space back."""

    kind: str = "compact"

    def states(self, world: World) -> list[World]:
        return [world]

    def run(self, session: Session, world: World) -> None:
        session.index.compact()


class _Uncounted(_Plain):
    counted: ClassVar[bool] = False


@dataclass(frozen=True)
class Backup(_Uncounted):
    """Copy the index into a new folder."""

    name: str
    kind: str = "backup"

    def states(self, world: World) -> list[World]:
        return [world, replace(world, copies={**world.copies, self.name: world.index})]

    def run(self, session: Session, world: World) -> None:
        session.index.backup(session.copies / self.name)


@dataclass(frozen=True)
class Restore(_Uncounted):
    """Put a copy in the place of the index, or beside it into the folder `target`."""

    name: str
    from_file: bool
    target: str | None = None

    @property
    def kind(self) -> str:
        return "restore" if self.target is None else "restore beside"

    @property
    def replaces(self) -> bool:
        return self.target is None

    def states(self, world: World) -> list[World]:
        copy = world.copies[self.name]
        if self.target is None:
            return [world, replace(world, index=copy)]
        return [world, replace(world, copies={**world.copies, self.target: copy})]

    def run(self, session: Session, world: World) -> None:
        restore: Callable[..., object] = yusa.restore
        source = session.copies / self.name
        if self.from_file:
            source /= "index.db"
        if self.target is None:
            session.close()
            restore(source, session.path, replace=True)
        else:
            restore(source, session.copies / self.target)


@dataclass(frozen=True)
class Reindex(_Plain):
    """Encode everything anew and switch; what another reindex left unfinished is dropped first."""

    target: Encoding
    kind: str = "reindex"

    def states(self, world: World) -> list[World]:
        index = world.index
        kept = [one for one in (index.previous, index.pending) if one is not None and one.same_vectors(self.target)]
        # An encoding that is gone back to has what was tuned for it.
        reached = kept[0] if kept and not self._discards(index) else self.target
        return [world, replace(world, index=Contents(index.documents, reached, previous=index.encoding))]

    def run(self, session: Session, world: World) -> None:
        index: Any = session.index
        if self._discards(world.index):
            index.discard()
        index.reindex(
            encoder=encoder(self.target.name),
            passage_tokens=self.target.passage_tokens,
            overlap=self.target.overlap,
        )

    def interrupted(self, world: World) -> World:
        index = world.index
        if self._discards(index):
            return replace(world, index=Contents(index.documents, index.encoding, unsure=True))
        pending = self.states(world)[1].index.encoding
        return replace(world, index=replace(index, previous=None, pending=pending))

    def _discards(self, index: Contents) -> bool:
        return index.unsure or (index.pending is not None and not index.pending.same_vectors(self.target))


@dataclass(frozen=True)
class Rollback(_Plain):
    """Go back to the encoding before the last reindex."""

    kind: str = "rollback"

    def states(self, world: World) -> list[World]:
        index = world.index
        assert index.previous is not None
        return [world, replace(world, index=Contents(index.documents, index.previous, previous=index.encoding))]

    def run(self, session: Session, world: World) -> None:
        index: Any = session.index
        assert world.index.previous is not None
        index.rollback(encoder=encoder(world.index.previous.name))

    def interrupted(self, world: World) -> World:
        return replace(world, index=replace(world.index, pending=world.index.previous))


@dataclass(frozen=True)
class Discard(_Uncounted):
    """Drop the encodings that are not in use."""

    kind: str = "discard"

    def states(self, world: World) -> list[World]:
        return [world, replace(world, index=Contents(world.index.documents, world.index.encoding))]

    def run(self, session: Session, world: World) -> None:
        index: Any = session.index
        index.discard()

    def interrupted(self, world: World) -> World:
        return replace(world, index=Contents(world.index.documents, world.index.encoding, unsure=True))


def can_restore() -> bool:
    """Whether this version restores."""
    return hasattr(yusa, "restore")


def can_reindex() -> bool:
    """Whether this version reindexes."""
    return hasattr(Index, "reindex")
