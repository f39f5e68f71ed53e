"""The store: one index directory, its readers and its writer."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from yusa.errors import StorageError
from yusa.storage.database import DATABASE, Readers, translated
from yusa.storage.files import Verified
from yusa.storage.lexicon import Lexicon
from yusa.storage.network import refuse_network
from yusa.storage.opening import SameDatabase, Unchanging, format_version, open_reader, refuse_missing
from yusa.storage.settings import Settings
from yusa.storage.snapshot import Snapshots
from yusa.storage.state import FORMAT_VERSION, State, read_settings, read_state, read_tuned
from yusa.storage.view import FilterCache, View
from yusa.storage.wal import WalLimit, checkpoint, note_checkpoint, require_own_wal, wal_bytes

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from yusa.storage.compact import CompactReport
    from yusa.storage.database import AnyConnection
    from yusa.storage.encodings import NewEncoding
    from yusa.storage.postings import TermSource
    from yusa.storage.publish import Publisher
    from yusa.storage.records import Json
    from yusa.storage.stats import Stats
    from yusa.storage.verify import VerifyReport
    from yusa.storage.writer import Writer

_MISSING_TRIES = 2


@dataclass(frozen=True, slots=True)
class _Current:
    """The encoding that searches are answered from, as of the commit `sequence` or before."""

    encoding_id: int
    sequence: int
    settings: Settings
    snapshots: Snapshots


class Store:
    """An open index directory; safe to use from many threads and beside other processes.

    What only writing needs is imported where it is used: a search in a fresh process is as fast as what it imports.
    """

    def __init__(
        self,
        path: Path,
        readers: Readers,
        state: State,
        settings: Settings,
        unchanging: Unchanging | None,
        source: TermSource,
    ) -> None:
        """Use `create` or `open`."""
        self.path = path
        self._readers = readers
        self._wal = WalLimit(path)
        self._unchanging = unchanging
        self._same = SameDatabase(path)
        self._verified = Verified(state.index_id)
        snapshots = Snapshots(path, settings, self._verified)
        self._current = _Current(state.encoding_id, state.sequence, settings, snapshots)
        self._source = source
        self._lexicon = Lexicon(path, source, self._verified)
        self._filters = FilterCache()
        self._switching = threading.Lock()
        self.constraints = FilterCache()
        """Room for what a caller computes from views and wants back in later ones, by commit."""

    @property
    def settings(self) -> Settings:
        """What the newest commit seen is encoded with: one object until a reindex switches."""
        return self._current.settings

    @classmethod
    def create(cls, path: Path, settings: Settings, analyzers: Callable[[str], TermSource]) -> Store:
        """Make an empty index. A creation that was killed leaves nothing that stands in the way of the next.

        Args:
            analyzers: gives the keyword analyzer of a name; the settings have the name.

        Raises:
            IndexExistsError: there is an index, or something else, at this path.
            StorageError: the directory cannot be written or lies on a network file system.
        """
        from yusa.storage.creation import create_index

        analyzers(settings.analyzer)
        create_index(Path(path), settings)
        return cls.open(path, analyzers)

    @staticmethod
    def require_free(path: Path) -> None:
        """Refuse a path at which no index can be made; see `creation.require_free`."""
        from yusa.storage.creation import require_free

        require_free(path)

    @staticmethod
    def exists(path: Path) -> bool:
        """Whether there is an index at a path; see `creation.exists`."""
        from yusa.storage.creation import exists

        return exists(path)

    @classmethod
    def open(cls, path: Path, analyzers: Callable[[str], TermSource]) -> Store:
        """Open an index; one of an older format is migrated first.

        Args:
            analyzers: gives the keyword analyzer of a name; the index has the name.

        Raises:
            IndexNotFoundError: there is no index at this path.
            IndexFormatError: it was written by a newer version, or is damaged.
            StorageError: it cannot be read, or lies on a network file system.
        """
        path = Path(path)
        refuse_missing(path)
        refuse_network(path)
        readers, unchanging = open_reader(path)
        try:
            with translated(path), readers.connection() as connection:
                connection.execute("BEGIN")
                version = format_version(path, connection)
            if version < FORMAT_VERSION:
                from yusa.storage.lock import writer_lock
                from yusa.storage.migrate import migrate

                with writer_lock(path, wait=0.0):
                    migrate(path)
            with translated(path), readers.connection() as connection:
                connection.execute("BEGIN")
                require_own_wal(path / DATABASE, connection)
                state = read_state(connection)
                settings = read_settings(connection, state.encoding_id)
            source = analyzers(settings.analyzer)
        except BaseException:
            readers.close()
            raise
        return cls(path, readers, state, settings, unchanging, source)

    @contextmanager
    def read(self) -> Iterator[View]:
        """A view of the newest commit. Keep it only for one search: it holds a read transaction.

        Raises:
            StorageError: the database cannot be read.
        """
        missing = 0
        with translated(self.path), self._reading() as connection:
            while True:
                connection.execute("BEGIN")
                try:
                    state = read_state(connection)
                    current = self._follow(connection, state)
                    snapshot = current.snapshots.at(connection, state, last_try=missing >= _MISSING_TRIES)
                except FileNotFoundError:
                    # A newer set of segments has replaced the one this transaction sees.
                    missing += 1
                    snapshot = None
                if snapshot is not None:
                    break
                connection.rollback()
            yield View(connection, state, snapshot, current.settings, self._filters, self._lexicon)

    def tuned(self) -> Mapping[str, Json]:
        """The choice that tuning stored for the current encoding, `{}` if none; asked by every search."""
        with translated(self.path), self._reading() as connection:
            return read_tuned(connection)

    @contextmanager
    def write(self, *, wait: float = 0.0) -> Iterator[Writer]:
        """Take the writer's lock until the end of the block.

        Args:
            wait: seconds to wait for another writer.

        Raises:
            IndexLockedError: another writer is at work; the message names its pid.
            StorageError: the index cannot be written.
        """
        from yusa.storage.writer import Writer

        with self._writing(wait) as (connection, current):
            publisher = self._publisher(connection, current.encoding_id, current.settings, current.snapshots.damaged)
            writer = Writer(self.path, current.settings, connection, publisher, self._source, self._wal)
            yield writer
            writer.maintain()

    @contextmanager
    def reindex(self, settings: Settings, *, wait: float = 0.0) -> Iterator[NewEncoding]:
        """Take the writer's lock and begin an encoding beside the current one, or go on with it.

        Raises:
            IndexLockedError: another writer is at work; the message names its pid.
            StorageError: another encoding is under way, or the index is encoded so already.
        """
        from yusa.storage.encodings import begin

        with self._writing(wait) as (connection, _):
            yield self._new_encoding(connection, begin(connection, settings))
            self._follow_now(connection)

    @contextmanager
    def rollback(self, *, wait: float = 0.0) -> Iterator[NewEncoding]:
        """As `reindex`, to the encoding that was current before the last one; most documents have it already.

        Raises:
            IndexLockedError: another writer is at work; the message names its pid.
            StorageError: there is no previous encoding.
        """
        from yusa.storage.encodings import begin_rollback

        with self._writing(wait) as (connection, _):
            yield self._new_encoding(connection, begin_rollback(connection))
            self._follow_now(connection)

    def discard(self, *, wait: float = 0.0) -> bool:
        """Drop the encoding under way and the previous one; whether there was any. `compact` gives the space back."""
        from yusa.storage.encodings import discard

        with self._writing(wait) as (connection, current):
            dropped = discard(connection, self._wal)
            self._publisher(connection, current.encoding_id, current.settings, set())  # sweeps the files
            return dropped

    def _new_encoding(self, connection: Connection, settings: Settings) -> NewEncoding:
        from yusa.storage.encodings import NewEncoding

        with connection.begin():
            number = read_state(connection).building_id
        assert number is not None
        publisher = self._publisher(connection, number, settings, set())
        return NewEncoding(connection, publisher, self._source, settings, self._wal)

    @cached_property
    def _writer_engine(self) -> Engine:
        # Its one connection lives as long as the lock is held; the engine stays for the statements it has compiled.
        from yusa.storage.engine import writer_engine

        return writer_engine(self.path)

    def _publisher(self, connection: Connection, encoding_id: int, settings: Settings, damaged: set[int]) -> Publisher:
        from yusa.storage.publish import Publisher

        publisher = Publisher(self.path, settings, connection, self._verified, damaged, self._source, encoding_id)
        publisher.find_damaged()
        return publisher

    def stats(self) -> Stats:
        """Counts and sizes as of the newest commit."""
        from yusa.storage.stats import read_stats

        with self._examining() as connection, connection.begin():
            return read_stats(self.path, connection)

    def verify(self, *, deep: bool = False) -> VerifyReport:
        """Check that the index is whole.

        Args:
            deep: check every row, vector and file instead of sizes, counts and a sample.
        """
        from yusa.storage.verify import verify

        with self._examining() as connection:
            transaction = connection.begin()
            try:
                return verify(self.path, connection, self._verified, self._source, deep=deep)
            finally:
                # A commit would fail where rows could not be read.
                transaction.rollback()

    def compact(self, *, wait: float = 0.0) -> CompactReport:
        """Merge the segments and give the space of what was deleted back; searches go on meanwhile."""
        from yusa.storage.compact import compact

        with self._writing(wait) as (connection, current):
            publisher = self._publisher(connection, current.encoding_id, current.settings, current.snapshots.damaged)
            return compact(self.path, connection, publisher, self._wal)

    def backup(self, destination: Path) -> None:
        """Copy the newest commit to a new directory, which is an index of its own; writing goes on meanwhile.

        Raises:
            IndexExistsError: the destination is there and not empty.
            StorageError: it cannot be written, or lies inside the index.
        """
        if self.path.absolute() in Path(destination).absolute().parents:
            raise StorageError(f"{destination} lies inside the index {self.path}. Give the backup a path outside it.")
        from yusa.storage.backup import backup

        with translated(self.path), self._reading() as connection:
            backup(connection, Path(destination))

    def close(self) -> None:
        """Close the connections; views must have ended."""
        self._readers.close()
        self._current.snapshots.forget()
        self._lexicon.forget()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        self._same.check()
        if self._unchanging is not None:
            self._unchanging.check()
        with self._readers.connection() as connection:
            # Again, as the connection may be a new one.
            self._same.check()
            yield connection
        if self._unchanging is not None:
            self._unchanging.check()

    @contextmanager
    def _examining(self) -> Iterator[Connection]:
        """As `_reading`, by SQLAlchemy."""
        from yusa.storage import engine

        examiner = engine.reader_engine(self._readers.uri)
        with engine.translated(self.path), self._reading(), examiner.connect() as connection:
            self._same.check()
            yield connection

    @contextmanager
    def _writing(self, wait: float) -> Iterator[tuple[Connection, _Current]]:
        from yusa.storage.encodings import drop_unused
        from yusa.storage.engine import translated
        from yusa.storage.lock import writer_lock

        self._same.check()
        with writer_lock(self.path, wait=wait), translated(self.path), self._writer_engine.connect() as connection:
            # Again, as a restore may have ended while this waited for the lock.
            self._same.check()
            if not wal_bytes(self.path):
                note_checkpoint(connection)
            drop_unused(connection, self._wal)
            yield connection, self._follow_now(connection)
            checkpoint(connection)
            self._same.check()

    def _follow_now(self, connection: Connection) -> _Current:
        with connection.begin():
            return self._follow(connection, read_state(connection))

    def _follow(self, connection: AnyConnection, state: State) -> _Current:
        """What the commit that a transaction sees is encoded with."""
        current = self._current
        if state.encoding_id == current.encoding_id:
            return current
        settings = read_settings(connection, state.encoding_id)
        current = _Current(state.encoding_id, state.sequence, settings, Snapshots(self.path, settings, self._verified))
        with self._switching:
            if current.sequence <= self._current.sequence:
                # An old commit, read by a search that began before the switch.
                return current
            if self._current.encoding_id != current.encoding_id:
                self._current = current
            return self._current
