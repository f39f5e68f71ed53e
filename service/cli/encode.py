"""`yusa encode`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from yusa.errors import UsageError
from yusa.service.cli import options
from yusa.service.cli.console import print_json_line, say, stdin_lines, valid_text, working

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from yusa.encoder.base import Pooling, Quantization
    from yusa.encoder.encoder import Encoder

TEXTS_AT_ONCE = 256


@options.command("encode", example='yusa encode "안녕하세요" "하이!" --encoder beomi/kcbert-base --pooling pooler')
@click.argument("texts", metavar="[TEXT...|-]", nargs=-1)
@options.new_encoder
@options.pooling
@options.max_length
@options.int8
@options.device
@click.option("--query", is_flag=True, help="Encode as queries, with the prompt of queries.")
@click.option("--tokens", is_flag=True, help="One vector per token, with its place in the text.")
@click.option("--features", is_flag=True, help="input_ids, token_type_ids and attention_mask, padded to --max-length.")
def encode(
    texts: tuple[str, ...],
    encoder: str | None,
    pooling: Pooling | None,
    max_length: int | None,
    quantization: Quantization | None,
    device: str | None,
    query: bool,
    tokens: bool,
    features: bool,
) -> None:
    """Encode each TEXT, or with - each line of standard input, and print one line of JSON for each.

    A line holds the text and its vector; with --tokens its tokens, with --features what the network is given.
    """
    if query + tokens + features > 1:
        raise UsageError("--query, --tokens and --features exclude each other; choose one")
    if not texts and sys.stdin.isatty():
        raise UsageError("no text to encode; give texts, or - and lines on standard input")
    lines = stdin_lines() if texts in ((), ("-",)) else iter([valid_text(text, "a text") for text in texts])

    from yusa.encoder import Encoder
    from yusa.opening import DEFAULT_ENCODER

    name = encoder or DEFAULT_ENCODER
    with working(f"loading {name} …"):
        loaded = Encoder.load(
            name,
            pooling=pooling,
            max_length=None if features else max_length,
            device=device,
            quantization=quantization,
        )
    if loaded.quantization_loss is not None:
        say(str(loaded.quantization_loss))
    while batch := list(islice(lines, TEXTS_AT_ONCE)):
        if tokens:
            rows = _tokens(loaded, batch)
        elif features:
            rows = _features(loaded, batch, max_length)
        else:
            vectors = loaded.encode_queries(batch) if query else loaded.encode_documents(batch)
            rows = ({"vector": _numbers(vector)} for vector in vectors)
        for text, row in zip(batch, rows, strict=True):
            print_json_line({"text": text, **row})


def _tokens(encoder: Encoder, texts: list[str]) -> Iterator[dict[str, Any]]:
    for result in encoder.encode_tokens(texts):
        yield {
            "tokens": [
                {"token": token, "start": int(start), "end": int(end), "vector": _numbers(vector)}
                for token, (start, end), vector in zip(result.tokens, result.offsets, result.vectors, strict=True)
            ]
        }


def _features(encoder: Encoder, texts: list[str], max_length: int | None) -> Iterator[dict[str, Any]]:
    features = encoder.features(texts, max_length=max_length)
    for row in range(len(texts)):
        yield {name: getattr(features, name)[row].tolist() for name in features._fields}


def _numbers(vector: NDArray[np.float32]) -> list[float]:
    # The shortest decimal that gives the same float32 back, instead of the float64 nearest to it.
    return [float(str(value)) for value in vector]
