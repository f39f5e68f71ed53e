"""What int8 loses: the cosines between its vectors and float32's, measured on a few fixed texts."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.base import Fingerprint
from yusa.encoder.cache import remembered
from yusa.encoder.probes import PROBE_TEXTS

LOSS_TEXTS: tuple[str, ...] = (
    *PROBE_TEXTS,
    "비 오는 날",
    "지루한 영화였지만 음악은 좋았다.",
    "서울에서 부산까지 기차로 얼마나 걸리나요?",
    "이 가게는 국물이 진하고 반찬이 정갈해서 부모님을 모시고 다시 가고 싶습니다.",
    "정부는 내년부터 전기차 보조금을 줄이고 충전소를 더 짓겠다고 밝혔다. 업계는 판매가 줄 것을 걱정한다.",
    "weather tomorrow",
    "How do I change a flat tyre on a bicycle?",
    "The film was slow and far too long, but I would watch the last scene again.",
    "A class statement defines a class object; the names bound in its body become attributes.",
    "Interest rates rose for the third time this year, and banks passed the increase on to borrowers within a week.",
    "서버가 timeout 오류를 내면 log 파일에서 request id를 먼저 찾으세요.",
    "Error 0x80070057: the parameter is incorrect",
)


@dataclass(frozen=True, slots=True)
class QuantizationLoss:
    """How far quantised vectors are from float32's.

    Attributes:
        lowest, mean: cosine.
        texts: how many were compared.
    """

    lowest: float
    mean: float
    texts: int

    def __str__(self) -> str:
        # Cut, not rounded: "at least" must be true.
        least = np.floor(self.lowest * 10_000) / 10_000
        return (
            f"int8: cosine to float32 at least {least:.4f}, {self.mean:.4f} in the mean, over {self.texts} texts; "
            "another identity than float32"
        )


def quantization_loss(
    fingerprint: Fingerprint,
    quantized: Callable[[Sequence[str]], NDArray[np.float32]],
    reference: Callable[[Sequence[str]], NDArray[np.float32]],
) -> QuantizationLoss:
    """Encode LOSS_TEXTS both ways and compare; asked once per fingerprint and torch, then remembered in the cache."""

    def measured() -> dict[str, str]:
        ours, theirs = (encode(LOSS_TEXTS).astype(np.float64) for encode in (quantized, reference))
        norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        cosines = (ours * theirs).sum(axis=1) / np.maximum(norms, 1e-12)
        return {"lowest": repr(float(cosines.min())), "mean": repr(float(cosines.mean()))}

    asked = [fingerprint.to_dict(), LOSS_TEXTS, importlib.metadata.version("torch")]
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    values = remembered(f"loss-{key[:40]}", [], measured, usable=lambda found: {"lowest", "mean"} <= found.keys())
    return QuantizationLoss(float(values["lowest"]), float(values["mean"]), len(LOSS_TEXTS))
