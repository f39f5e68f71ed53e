"""The right encoder: an index is only ever added to and searched with the encoder that made it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.base import EncodeProgress, Fingerprint, SentenceEncoder
from yusa.errors import EncoderMismatchError, UsageError

if TYPE_CHECKING:
    from yusa.storage import Settings, Store
    from yusa.storage.settings import VectorType

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
            f"Leave --encoder, --pooling, --int8 and prompts out to use the index's own, or change it with "
            "`yusa reindex`."
        )


def require_same_vectors(encoder: SentenceEncoder, settings: Settings, index: Path, cache: Path) -> None:
    """Encodes the index's fixed texts once per runtime and compares them with the vectors stored when it was made.

    A runtime is a fingerprint, the forward pass that is about to be used and library versions; one that passed is
    remembered in `cache`.

    Raises:
        EncoderMismatchError: a cosine below 0.999 (broken drivers, a faulty kernel, a damaged cache).
    """
    import hashlib
    import platform

    from yusa.encoder.probes import check_probes

    runtime = {
        "fingerprint": encoder.fingerprint.to_dict(),
        "probes": hashlib.sha256(settings.probe_vectors.tobytes()).hexdigest(),
        "runtime": _runtime(encoder),
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


def checked(encoder: SentenceEncoder, settings: Settings, index: Path) -> SentenceEncoder:
    """The encoder, if it is the one of these settings.

    Raises:
        EncoderMismatchError: it is another, or gives other vectors.
    """
    from yusa.encoder.cache import cache_dir

    require_same_encoder(encoder, settings, index)
    require_same_vectors(encoder, settings, index, cache_dir())
    return encoder


def load_encoder(encoder: str | Path | SentenceEncoder, **options: Any) -> SentenceEncoder:
    """An encoder by name or directory; an encoder object is taken as it is.

    Raises:
        EncoderError: it cannot be loaded.
        UsageError: options for an object, which is loaded already.
    """
    if not isinstance(encoder, str | Path):
        if any(value is not None for value in options.values()):
            raise UsageError(
                "pooling, max_length, prompts, quantization and device belong to loading; the encoder given is loaded "
                "already"
            )
        return encoder
    from yusa.encoder import Encoder

    return Encoder.load(encoder, **options)


def require_cut(passage_tokens: int, overlap: int) -> None:
    """Raise UsageError unless passages can be cut so."""
    if not 0 <= overlap < passage_tokens:
        raise UsageError(
            f"overlap must be at least 0 and less than passage_tokens; got overlap {overlap}, "
            f"passage_tokens {passage_tokens}"
        )


def settings_for(
    encoder: SentenceEncoder, *, passage_tokens: int, overlap: int, vector_dtype: VectorType, analyzer: str
) -> Settings:
    """What an index remembers of an encoder, enough to load the same one again."""
    from yusa.encoder.probes import PROBE_IS_QUERY, PROBE_TEXTS, probe_vectors
    from yusa.storage import Settings

    identity = encoder.fingerprint
    options = {
        "pooling": identity.pooling,
        "max_length": identity.max_length,
        "prompts": {"query": identity.query_prompt, "document": identity.document_prompt},
        "normalize": identity.normalize,
    }
    if identity.quantization != "none":  # which a yusa of before knows nothing of
        options["quantization"] = identity.quantization
    return Settings(
        encoder=encoder.name,
        encoder_options=options,
        fingerprint=identity.to_dict(),
        provenance=encoder.provenance,
        dimension=encoder.dimension,
        passage_tokens=passage_tokens,
        overlap=overlap,
        vector_dtype=vector_dtype,
        analyzer=analyzer,
        probe_texts=PROBE_TEXTS,
        probe_is_query=PROBE_IS_QUERY,
        probe_vectors=probe_vectors(encoder),
    )


def _runtime(encoder: SentenceEncoder) -> dict[str, str]:
    """What turns texts into vectors here: yusa's own encoder names the forward pass that is about to be used."""
    runtime: dict[str, str] | None = getattr(encoder, "runtime", None)
    return runtime or {key: value for key, value in encoder.provenance.items() if key != "name"}


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False).encode()


def _remember(mark: Path) -> None:
    # A cache that cannot be written costs the check again next time, nothing else.
    with contextlib.suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


class CheckedEncoder:
    """The index's encoder: loaded on first use, by one thread, and then compared with the index.

    After a reindex, by whomever, it is loaded and compared anew; an encoder object of the caller's is refused then.
    """

    def __init__(self, store: Store, load: Callable[[Settings], SentenceEncoder]) -> None:
        self._store = store
        self._load = load
        self._lock = threading.Lock()
        self._loaded: tuple[Settings, SentenceEncoder] | None = None
        self._offered: tuple[Settings, Callable[[], SentenceEncoder]] | None = None

    @property
    def loaded(self) -> SentenceEncoder:
        loaded = self._loaded
        if loaded is None or loaded[0] is not self._store.settings:
            with self._lock:
                loaded, settings = self._loaded, self._store.settings
                if loaded is None or loaded[0] is not settings:
                    self._loaded = loaded = (settings, checked(self._made(settings), settings, self._store.path))
        return loaded[1]

    def offer(self, settings: Settings, load: Callable[[], SentenceEncoder]) -> None:
        """Load it so where the index is encoded with these settings, as it is going to be: from the switch on."""
        self._offered = (settings, load)

    def _made(self, settings: Settings) -> SentenceEncoder:
        offered = self._offered
        if offered is not None and offered[0].same_encoding(settings):
            return offered[1]()
        return self._load(settings)

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
