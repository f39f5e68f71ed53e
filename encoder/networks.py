"""Which network computes on a device: the fastest one there whose numbers are right."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING

from yusa.encoder.array_network import ArrayNetwork
from yusa.encoder.base import Pooling
from yusa.encoder.cache import remembered
from yusa.encoder.checkpoint import Checkpoint
from yusa.encoder.gate import Network as AnyOf
from yusa.encoder.gate import same_numbers
from yusa.encoder.native_network import NativeNetwork, available, library_file
from yusa.errors import EncoderError

if TYPE_CHECKING:
    import torch

    from yusa.encoder.network import Network
    from yusa.encoder.packed_network import PackedNetwork

    AnyNetwork = ArrayNetwork | NativeNetwork | Network | PackedNetwork

_log = logging.getLogger(__name__)


def best_network(
    checkpoint: Checkpoint, pooling: Pooling, reference: ArrayNetwork, *, device: str, dtype: str
) -> AnyNetwork:
    """The first of the candidates that agrees with the reference, which is the last of them; the others are logged."""
    for name, network in _candidates(checkpoint, device, dtype):
        why = (
            _native_remembered(network, reference, checkpoint, pooling)
            if isinstance(network, NativeNetwork)
            else _disagreement(network, reference, checkpoint, pooling, dtype)
        )
        if not why:
            return network
        _log.warning("%s on %s in %s is not used: %s", name, device, dtype, why)
    return reference


def int8_network(checkpoint: Checkpoint, pooling: Pooling, reference: ArrayNetwork) -> AnyNetwork:
    """Raises EncoderError where it does not run or is wrong: no other network gives the same vectors."""
    from yusa.encoder.int8_network import Int8Network

    try:
        network = Int8Network(checkpoint.architecture, checkpoint.tensors)
        why = _disagreement(network, reference, checkpoint, pooling, "int8")
    except (RuntimeError, AttributeError) as error:  # from a kernel, or where this torch has it no more
        why = (str(error).splitlines() or [type(error).__name__])[0]
    else:
        if not why:
            return network
    raise EncoderError(
        f"int8 cannot be used here: {why}. Leave it out; an index made with it can be changed with "
        "`yusa reindex --encoder`."
    )


def _candidates(checkpoint: Checkpoint, device: str, dtype: str) -> Iterator[tuple[str, AnyNetwork]]:
    """The fastest first."""
    architecture, tensors = checkpoint.architecture, checkpoint.tensors
    if device == "cpu" and dtype == "float32" and available() is None:
        yield "the native forward pass", NativeNetwork(architecture, tensors)
    import torch

    from yusa.encoder.body import Body
    from yusa.encoder.network import Network

    place, kind = torch.device(device), getattr(torch, dtype)

    def body_in(kind: torch.dtype) -> Body:
        return Body(architecture, tensors, device=place, dtype=kind)

    body = body_in(kind)
    if place.type == "cuda":
        from yusa.encoder.attention import varlen_attention
        from yusa.encoder.batching import GPU_TOKENS
        from yusa.encoder.packed_network import PackedNetwork

        attention = varlen_attention(place, kind, architecture.hidden // architecture.heads)
        if attention is not None:
            yield "packed attention", PackedNetwork(body, attention, GPU_TOKENS, body_in=body_in)
    yield "torch", Network(body)


def _disagreement(network: AnyOf, reference: AnyOf, checkpoint: Checkpoint, pooling: Pooling, dtype: str) -> str:
    """Why the network may not be used; nothing where it agrees."""
    try:
        found = same_numbers(network, reference, checkpoint.architecture, pooling, dtype=dtype)
    except RuntimeError as error:  # what torch raises where a kernel does not run on this device
        return (str(error).splitlines() or [type(error).__name__])[0]
    if found.enough:
        return ""
    return (
        f"its vectors differ from the reference's (lowest cosine {found.cosine:.6f}, "
        f"largest difference {found.difference:.1e})"
    )


def _native_remembered(
    network: NativeNetwork, reference: ArrayNetwork, checkpoint: Checkpoint, pooling: Pooling
) -> str:
    """`_disagreement`, asked once per library, weights and machine: the reference takes as long as twenty queries."""
    said = [checkpoint.body_digest, checkpoint.pooler_digest, pooling, platform.machine(), platform.processor()]
    key = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:24]
    answer = remembered(
        f"native-{key}",
        [library_file()],
        lambda: {"why": _disagreement(network, reference, checkpoint, pooling, "float32")},
        usable=lambda values: isinstance(values.get("why"), str),
    )
    return answer["why"]
