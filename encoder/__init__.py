"""Text to vectors: checkpoints, tokenizing, the forward pass, pooling, fingerprints. Knows nothing of storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yusa.encoder.base import EncodeProgress, Fingerprint, Pooling, SentenceEncoder

if TYPE_CHECKING:
    from yusa.encoder.cross_encoder import CrossEncoder
    from yusa.encoder.encoder import Encoder, Features, TokenVectors

__all__ = [
    "CrossEncoder",
    "EncodeProgress",
    "Encoder",
    "Features",
    "Fingerprint",
    "Pooling",
    "SentenceEncoder",
    "TokenVectors",
]


def __getattr__(name: str) -> Any:
    # Lazy, because these bring torch, which `yusa --help` must not wait for.
    if name in ("Encoder", "Features", "TokenVectors"):
        from yusa.encoder import encoder

        return getattr(encoder, name)
    if name == "CrossEncoder":
        from yusa.encoder.cross_encoder import CrossEncoder

        return CrossEncoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
