"""The product's index as the campaign uses it: opened with the encoder it says it has, in small windows and tails."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import yusa
import yusa.indexer
from campaign.model import FIRST, encoder, encoder_name
from yusa.errors import EncoderMismatchError
from yusa.index import Index
from yusa.indexer import reindex, run
from yusa.storage import publish

WINDOW = 5
"""Documents that `add` commits at once."""
REINDEX_WINDOW = 200
"""Tokens that a reindex commits at once."""
TAIL = 25


def shrink() -> None:
    """Make windows and tails so small that a few documents pass through every part of the product."""
    publish.TAIL_LIMIT = TAIL  # type: ignore[misc]
    product: Any = yusa.indexer
    if product.run is run:
        product.run = partial(run, window_documents=WINDOW)
        product.reindex = partial(reindex, window_tokens=REINDEX_WINDOW)


def open_index(path: Path, likely: str | None = None) -> Index:
    """An index with its own encoder, which is the likely one or is asked of the index."""
    if likely is not None:
        with suppress(EncoderMismatchError):
            return yusa.open(path, encoder=encoder(likely))
    with yusa.open(path) as plain:
        name = encoder_name(plain.settings.fingerprint["weights"])
    return yusa.open(path, encoder=encoder(name))


class Session:
    """One root directory: `index`, and `copies` for backups and what is restored beside it."""

    def __init__(self, root: Path, likely: str | None = None) -> None:
        self._likely = likely
        self.root = root
        self.path = root / "index"
        self.copies = root / "copies"
        self._index: Index | None = None

    def create(self) -> None:
        """Make the empty index."""
        yusa.create(
            self.path, encoder=encoder(FIRST.name), passage_tokens=FIRST.passage_tokens, overlap=FIRST.overlap
        ).close()
        self.copies.mkdir()

    @property
    def index(self) -> Index:
        """The index, opened when it is first asked for."""
        if self._index is None:
            self._index = open_index(self.path, self._likely)
        return self._index

    def close(self) -> None:
        """Close the index; asked for again, it is opened again."""
        if self._index is not None:
            self._index.close()
        self._index = None
