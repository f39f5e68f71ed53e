"""The seam between encoders and everything that uses one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Pooling = Literal["mean", "cls", "pooler"]
Quantization = Literal["none", "int8"]
_SHOWN = 40
EncodeProgress = Callable[[int, int], None]
"""Called with (texts, tokens) finished since the last call."""
Done = Callable[[NDArray[np.int64], int], None]
"""Called by a network with the rows it finished and their tokens."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """An encoder's identity: two encoders with equal fingerprints give the same vectors, on any device.

    Attributes:
        weights: SHA-256 over the tensors' names, shapes and float32 values.
        tokenizer: SHA-256 over what decides the ids of a text.
        max_length: in tokens, special tokens included.
        quantization: "none" or "int8".
    """

    weights: str
    tokenizer: str
    pooling: str
    query_prompt: str
    document_prompt: str
    max_length: int
    normalize: bool
    quantization: str = "none"

    def to_dict(self) -> dict[str, str | int | bool]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, str | int | bool]) -> Fingerprint:
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in values.items() if k in known})  # type: ignore[arg-type]

    def differences(self, other: Fingerprint) -> list[str]:
        """The parts in which `other` differs, each as "part (this value, other value)"."""
        return [
            f"{f.name} ({_shown(getattr(self, f.name))} and {_shown(getattr(other, f.name))})"
            for f in fields(self)
            if getattr(self, f.name) != getattr(other, f.name)
        ]


def _shown(value: str | int | bool) -> str:
    """A value for people; of a digest its beginning."""
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…'"


class SentenceEncoder(Protocol):
    """What the index needs of an encoder. `yusa.Encoder` is one; tests bring a stub."""

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    @property
    def fingerprint(self) -> Fingerprint: ...

    @property
    def provenance(self) -> dict[str, str]:
        """Shown, never compared: name, revision, device, dtype, versions."""

    @property
    def document_budget(self) -> int:
        """Tokens a document's text may have without truncation: max_length less special tokens and document prompt."""

    def token_starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """For each text the starts of its tokens in code points, without special tokens, prompt or truncation."""

    def encode_documents(self, texts: Sequence[str], *, progress: EncodeProgress | None = None) -> NDArray[np.float32]:
        """float32 (len(texts), dimension), rows in the order of `texts`."""

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (len(texts), dimension), rows in the order of `texts`."""
