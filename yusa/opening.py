"""Making, opening and restoring an index."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from yusa.encoder.base import Pooling, Quantization, SentenceEncoder
from yusa.errors import EncoderError, EncoderMismatchError, UsageError
from yusa.identity import load_encoder, require_cut, require_same_encoder, settings_for
from yusa.index import Index
from yusa.storage import Settings, Store
from yusa.text.analyzer import load_analyzer

DEFAULT_ENCODER = "multilingual-e5-small"
DEFAULT_PASSAGE_TOKENS = 256
DEFAULT_OVERLAP = 32


def create(
    path: str | Path,
    *,
    encoder: str | Path | SentenceEncoder = DEFAULT_ENCODER,
    pooling: Pooling | None = None,
    max_length: int | None = None,
    prompts: Mapping[str, str] | None = None,
    device: str | None = None,
    quantization: Quantization | None = None,
    passage_tokens: int = DEFAULT_PASSAGE_TOKENS,
    overlap: int = DEFAULT_OVERLAP,
    vector_dtype: Literal["float16", "float32"] = "float16",
    analyzer: str = "standard",
) -> Index:
    """Makes a new, empty index in the directory `path` and opens it.

    Args:
        encoder: a packaged model, a directory, a hub name, or an encoder object.
        prompts: texts put in front of every "query" and every "document".
        quantization: "int8" encodes in 8-bit integers on x86 CPUs, a corpus with a large model faster, with vectors a
            little off float32's: `stats` and the encoder's `quantization_loss` say how much. It is another encoder than
            "none", the default.
        passage_tokens: the most tokens of a passage; less where the encoder allows less.
        overlap: tokens of whole sentences that a passage repeats from the one before it.
        analyzer: what keyword search compares: "standard", or "kiwi" with Korean morphemes (extra `kiwi`, slower).

    Raises:
        IndexExistsError: `path` holds an index already.
        EncoderError: the encoder cannot be loaded or does not have this pooling or quantization.
        UsageError: `passage_tokens`, `overlap`, `vector_dtype` or `analyzer` make no sense.
        MissingDependencyError: the analyzer's package is not installed.
    """
    path = Path(path)
    require_cut(passage_tokens, overlap)
    if vector_dtype not in ("float16", "float32"):
        raise UsageError(f"vector_dtype must be 'float16' or 'float32', not {vector_dtype!r}")
    load_analyzer(analyzer)
    Store.require_free(path)
    loaded = load_encoder(
        encoder, pooling=pooling, max_length=max_length, prompts=prompts, device=device, quantization=quantization
    )
    settings = settings_for(
        loaded, passage_tokens=passage_tokens, overlap=overlap, vector_dtype=vector_dtype, analyzer=analyzer
    )

    def load(wanted: Settings) -> SentenceEncoder:
        if wanted.same_encoding(settings) or not isinstance(encoder, str | Path):
            return loaded
        return load_encoder(wanted.encoder, **wanted.encoder_options, device=device)

    return Index(Store.create(path, settings, load_analyzer), load)


def open(
    path: str | Path,
    *,
    encoder: str | Path | SentenceEncoder | None = None,
    pooling: Pooling | None = None,
    max_length: int | None = None,
    prompts: Mapping[str, str] | None = None,
    device: str | None = None,
    quantization: Quantization | None = None,
) -> Index:
    """Opens the index in the directory `path`.

    The encoder is loaded when it is first needed; without `encoder` it is the one the index was made with, and after a
    reindex by another process the new one. An encoder object is compared with the index at once, a name when it is
    loaded.

    Raises:
        IndexNotFoundError: there is no index at `path`.
        IndexFormatError: a newer yusa wrote it, or it is damaged.
        EncoderMismatchError: the encoder given is not the index's.
    """
    store = Store.open(Path(path), load_analyzer)
    if encoder is not None and not isinstance(encoder, str | Path):
        given = encoder
        try:
            require_same_encoder(given, store.settings, store.path)
        except EncoderMismatchError:
            store.close()
            raise
        return Index(store, lambda _: given)
    asked = {"pooling": pooling, "max_length": max_length, "prompts": prompts, "quantization": quantization}
    asked = {key: value for key, value in asked.items() if value is not None}

    def load(settings: Settings) -> SentenceEncoder:
        name = settings.encoder if encoder is None else encoder
        try:
            return load_encoder(name, **{**settings.encoder_options, **asked}, device=device)
        except EncoderError:
            if encoder is None:
                raise
            # Another encoder may not have the stored pooling or length; the comparison says so better than the loader.
            kept = {key: value for key, value in settings.encoder_options.items() if key == "quantization"}
            return load_encoder(name, **{**kept, **asked}, device=device)

    return Index(store, load)


def restore(source: str | Path, path: str | Path, *, replace: bool = False) -> Path | None:
    """Makes an index at `path` from a backup, or from the one file `index.db` of it.

    Args:
        replace: an index that stands at `path` is put aside, under a name that comes back.

    Raises:
        IndexNotFoundError: there is no backup at `source`.
        IndexFormatError: the backup is damaged, of a newer yusa, or none.
        IndexExistsError: `path` holds an index and `replace` is not given, or something else.
        IndexLockedError: the index to be replaced is being written.
    """
    from yusa.storage.restore import restore as restore_files

    return restore_files(Path(source), Path(path), replace=replace)
