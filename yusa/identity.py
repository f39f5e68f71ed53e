"""The right encoder: an index is only ever added to and searched with the encoder that made it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yusa.encoder.base import Fingerprint, SentenceEncoder
from yusa.errors import EncoderMismatchError

if TYPE_CHECKING:
    from yusa.storage import Settings

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
