"""The cache: built once and whole, even by two processes; digests remembered until a file changes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from yusa.encoder import Encoder, cache
from yusa.encoder import checkpoint as checkpoint_module
from yusa.errors import EncoderError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("YUSA_CACHE", str(tmp_path / "own"))
    return tmp_path / "own"


def test_the_cache_is_where_the_environment_or_the_platform_says(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache.cache_dir() == own_cache
    monkeypatch.setenv("YUSA_CACHE", "~/elsewhere")
    assert cache.cache_dir() == Path.home() / "elsewhere"
    monkeypatch.delenv("YUSA_CACHE")
    assert cache.cache_dir().name == "yusa"


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("yes", True), ("", False), ("0", False), ("False", False)]
)
def test_offline(value: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YUSA_OFFLINE", value)
    assert cache.offline() is expected
    monkeypatch.delenv("YUSA_OFFLINE")
    assert not cache.offline()


def test_two_builders_at_once_leave_one_whole_directory(own_cache: Path) -> None:
    together = threading.Barrier(2)
    built: list[Path] = []

    def build(into: Path) -> None:
        together.wait()  # both are building now: neither saw the other's result
        (into / "sub").mkdir()
        (into / "sub" / "file").write_text(into.name, "utf-8")
        built.append(into)

    target = own_cache / "models" / "one"
    threads = [threading.Thread(target=cache.build_once, args=(target, build)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 2
    assert [path.name for path in target.parent.iterdir()] == ["one"]
    assert (target / "sub" / "file").read_text("utf-8") in {path.name for path in built}
    assert cache.build_once(target, build) == target
    assert len(built) == 2, "what is there is not built again"


def test_a_build_that_fails_leaves_nothing(own_cache: Path) -> None:
    def build(into: Path) -> None:
        (into / "half").write_text("x", "utf-8")
        raise EncoderError("not a checkpoint")

    with pytest.raises(EncoderError, match="not a checkpoint"):
        cache.build_once(own_cache / "models" / "one", build)
    assert list((own_cache / "models").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(own_cache: Path) -> None:
    own_cache.write_text("a file stands here", "utf-8")
    with pytest.raises(EncoderError, match=r"cannot write .*models.* set YUSA_CACHE to another directory"):
        cache.build_once(own_cache / "models" / "one", lambda _: None)


def test_digests_are_remembered_until_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    calls: list[int] = []

    def compute() -> dict[str, str]:
        calls.append(1)
        return {"digest": file.read_text("utf-8")}

    assert cache.remembered("test", [file], compute) == cache.remembered("test", [file], compute) == {"digest": "one"}
    assert len(calls) == 1
    stat = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert cache.remembered("test", [file], compute) == {"digest": "two"}
    replacement = tmp_path / "replacement"
    replacement.write_bytes(b"six")
    os.utime(replacement, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    replacement.replace(file)
    assert cache.remembered("test", [file], compute) == {"digest": "six"}, "same path, size and time, another inode"


def test_a_memory_that_cannot_be_used_is_no_error(own_cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    cache.remembered("test", [file], lambda: {"digest": "one"})
    (memory,) = (own_cache / "digests").iterdir()
    memory.write_text("{", "utf-8")
    assert cache.remembered("test", [file], lambda: {"digest": "again"}) == {"digest": "again"}
    for path in (own_cache / "digests").iterdir():
        path.unlink()
    (own_cache / "digests").rmdir()
    (own_cache / "digests").write_text("in the way", "utf-8")
    assert cache.remembered("test", [file], lambda: {"digest": "one"}) == {"digest": "one"}


def test_a_second_load_hashes_nothing(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Encoder.load(tiny_bert).fingerprint

    def forbidden(tensors: object) -> dict[str, str]:
        raise AssertionError("hashed again")

    monkeypatch.setattr(checkpoint_module, "_digests", forbidden)
    assert Encoder.load(tiny_bert).fingerprint == first
