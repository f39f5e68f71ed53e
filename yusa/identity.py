"""The right encoder: an index is only ever added to and searched with the encoder that made it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.base import EncodeProgress, Fingerprint, SentenceEncoder
from yusa.errors import EncoderMismatchError

if TYPE_CHECKING:
    from yusa.storage import Settings, Store

MINIMUM_COSINE = 0.999


def require_same_encoder(encoder: SentenceEncoder, settings: Settings, index: Path) -> None:
    """Compares fingerprints, without encoding anything.

    Raises:
        EncoderMismatchError: naming every part that differs.
    """
    made_with = Fingerprint.from_dict(dict(settings.fingerprint))
    differences = made_with.differences(encoder.fingerprint)
    if differences:
        raise EncoderMismatchError(
            f"the index {index} was made with {settings.encoder}; {encoder.name}, as it was asked for, differs: "
            f"{'; '.join(differences)} (the index first). "
            f"Leave --encoder, --pooling and prompts out to use the index's own, or make a new index."
        )


def require_same_vectors(encoder: SentenceEncoder, settings: Settings, index: Path, cache: Path) -> None:
    """Encodes the index's fixed texts once per runtime and compares them with the vectors stored when it was made.

    A runtime is a fingerprint, device, precision and library versions; one that passed is remembered in `cache`.

    Raises:
        EncoderMismatchError: a cosine below 0.999 (broken drivers, a faulty kernel, a damaged cache).
    """
    from yusa.encoder.probes import check_probes

    runtime = {
        "fingerprint": encoder.fingerprint.to_dict(),
        "probes": hashlib.sha256(settings.probe_vectors.tobytes()).hexdigest(),
        "provenance": {key: encoder.provenance[key] for key in sorted(encoder.provenance) if key != "name"},
        "machine": [platform.system(), platform.machine(), platform.processor()],
    }
    mark = cache / "checked" / hashlib.sha256(_canonical(runtime)).hexdigest()
    if mark.exists():
        return
    cosine = check_probes(encoder, settings.probe_texts, settings.probe_is_query, settings.probe_vectors)
    if not cosine >= MINIMUM_COSINE:
        raise EncoderMismatchError(
            f"{encoder.name} gives other vectors on this machine than when {index} was made "
            f"(lowest cosine {cosine:.5f} over {len(settings.probe_texts)} fixed texts, {MINIMUM_COSINE} is needed); "
            f"try --device cpu, and `yusa doctor`."
        )
    _remember(mark)


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False).encode()


def _remember(mark: Path) -> None:
    # A cache that cannot be written costs the check again next time, nothing else.
    with contextlib.suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


class CheckedEncoder:
    """The index's encoder: loaded on first use, by one thread, and then compared with the index."""

    def __init__(self, store: Store, load: Callable[[], SentenceEncoder]) -> None:
        self._store = store
        self._load = load
        self._lock = threading.Lock()
        self._loaded: SentenceEncoder | None = None

    @property
    def loaded(self) -> SentenceEncoder:
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    self._loaded = self._check(self._load())
        return self._loaded

    def _check(self, encoder: SentenceEncoder) -> SentenceEncoder:
        from yusa.encoder.cache import cache_dir

        require_same_encoder(encoder, self._store.settings, self._store.path)
        require_same_vectors(encoder, self._store.settings, self._store.path, cache_dir())
        return encoder

    @property
    def name(self) -> str:
        return self._store.settings.encoder

    @property
    def dimension(self) -> int:
        return self._store.settings.dimension

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint.from_dict(dict(self._store.settings.fingerprint))

    @property
    def provenance(self) -> dict[str, str]:
        return self.loaded.provenance

    @property
    def document_budget(self) -> int:
        return self.loaded.document_budget

    def token_starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return self.loaded.token_starts(texts)

    def encode_documents(self, texts: Sequence[str], *, progress: EncodeProgress | None = None) -> NDArray[np.float32]:
        return self.loaded.encode_documents(texts, progress=progress)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.loaded.encode_queries(texts)
