from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

import pytest

from yusa.indexer import Rejected, Row, Skipped, read
from yusa.indexer.folder import Found, walk
from yusa.storage import Store

T = TypeVar("T")


def _make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}")


def _found(root: Path, *globs: str) -> list[str]:
    return [item.relative for item in walk(root, globs) if isinstance(item, Found)]


def test_files_come_sorted_and_recursively(folder: Path) -> None:
    _make(folder, "b.txt", "a/z.txt", "a/b/c.md", "가/나.txt", "a.txt")
    assert _found(folder) == ["a/b/c.md", "a/z.txt", "a.txt", "b.txt", "가/나.txt"]


def test_folders_may_be_as_deep_as_paths_are_long(folder: Path) -> None:
    _make(folder, "a/" * 600 + "deep.txt", "b.txt")
    assert _found(folder) == ["a/" * 600 + "deep.txt", "b.txt"]


def test_hidden_files_and_indexes_are_left_out(folder: Path, store: Store) -> None:
    _make(folder, ".hidden.txt", ".git/x.txt", "a.txt", "other/index.db", "other/b.txt")
    shutil.copytree(store.path, folder / "my-index")
    _make(folder / "my-index", "notes.txt")
    store.backup(folder / "my-backup")
    assert _found(folder) == ["a.txt", "other/b.txt", "other/index.db"]
    assert _found(folder / "my-index") == []


def test_gitignore_with_nested_ones_and_negation(folder: Path) -> None:
    _make(
        folder,
        "a.log",
        "keep.log",
        "build/x.txt",
        "sub/a.log",
        "sub/b.tmp",
        "sub/deep/b.tmp",
        "sub/only/x.txt",
        "x/only/y.txt",
    )
    (folder / ".gitignore").write_text("*.log\n!keep.log\nbuild/\n")
    (folder / "sub" / ".gitignore").write_text("*.tmp\n!a.log\n/only\n")
    (folder / "sub" / "deep" / ".gitignore").write_text("!b.tmp\n")
    assert _found(folder) == ["keep.log", "sub/a.log", "sub/deep/b.tmp", "x/only/y.txt"]


def test_gitignore_of_the_repository_above(tmp_path: Path) -> None:
    _make(tmp_path, "repo/docs/a.txt", "repo/docs/_build/b.txt", "repo/out/c.txt")
    (tmp_path / ".gitignore").write_text("*.txt\n")
    (tmp_path / "repo" / ".gitignore").write_text("docs/_build\nout/\n")
    everything = ["_build/b.txt", "a.txt"]
    assert _found(tmp_path / "repo" / "docs") == everything  # without a repository nothing above counts
    (tmp_path / "repo" / ".git").mkdir()
    assert _found(tmp_path / "repo" / "docs") == ["a.txt"]
    assert _found(tmp_path / "repo" / "out") == ["c.txt"]  # asked for by name


def test_a_bad_gitignore_pattern_costs_only_itself(folder: Path) -> None:
    _make(folder, "a.txt", "b.log")
    (folder / ".gitignore").write_text("!\n*.log\n")
    assert _found(folder) == ["a.txt"]


def test_globs(folder: Path) -> None:
    _make(folder, "a.txt", "b.md", "docs/c.md", "docs/sub/d.txt")
    assert _found(folder, "*.md") == ["b.md", "docs/c.md"]
    assert _found(folder, "docs/**/*.txt", "/b.md") == ["b.md", "docs/sub/d.txt"]


def test_links(folder: Path, tmp_path: Path) -> None:
    _make(folder, "sub/a.txt")
    _make(tmp_path, "elsewhere/e.txt")
    (folder / "sub" / "loop").symlink_to(folder)
    (folder / "out").symlink_to(tmp_path / "elsewhere")
    (folder / "file.txt").symlink_to(tmp_path / "elsewhere" / "e.txt")
    (folder / "dead.txt").symlink_to(tmp_path / "nothing")
    items = list(walk(folder, ()))
    assert [item.relative for item in items if isinstance(item, Found)] == ["file.txt", "sub/a.txt"]
    assert [(Path(item.path).name, item.reason) for item in items if isinstance(item, Skipped)] == [
        ("dead.txt", "the link leads nowhere (No such file or directory)"),
        ("out", "a link to a folder"),
        ("loop", "a link to a folder"),
    ]


def test_the_source_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    _make(folder, "a.txt")
    (tmp_path / "link").symlink_to(folder)
    [source] = read(tmp_path / "link")
    assert source.name == folder.as_posix()
    assert [item.document.id for item in source if isinstance(item, Row)] == ["a.txt"]


def test_unknown_kinds_and_special_files_are_skipped(folder: Path) -> None:
    _make(folder, "a.xyz", "noext", "b.txt")
    os.mkfifo(folder / "pipe.txt")
    [source] = read(folder)
    items = list(source)
    assert [item.document.id for item in items if isinstance(item, Row)] == ["b.txt"]
    assert [item.reason for item in items if isinstance(item, Skipped)] == [
        "files of kind .xyz are not read",
        "files of kind without suffix are not read",
        "not a regular file",
    ]
    assert source.complete


def _within(seconds: float, work: Callable[[], T], release: Callable[[], None]) -> T:
    """What `work` gives, in a thread, so that one that waits for ever fails the test and does not hang it."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            return future.result(timeout=seconds)
        finally:
            if not future.done():
                release()


def _write_to(pipe: Path) -> Callable[[], None]:
    def write() -> None:
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))

    return write


@pytest.mark.parametrize("place", [".", "sub", ".."])
def test_a_gitignore_that_is_a_pipe_or_a_device_is_no_gitignore(folder: Path, place: str) -> None:
    _make(folder, "a.txt", "sub/b.txt")
    (folder.parent / ".git").mkdir()
    pipe = folder / place / ".gitignore"
    os.mkfifo(pipe)
    assert _within(20, lambda: _found(folder), _write_to(pipe)) == ["a.txt", "sub/b.txt"]
    pipe.unlink()
    pipe.symlink_to("/dev/zero")
    assert _found(folder) == ["a.txt", "sub/b.txt"]


def test_a_file_that_becomes_a_pipe_before_it_is_opened_is_not_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make(folder, "a.txt", "b.jsonl", "c.txt")

    def swapped(root: Path, globs: Sequence[str]) -> Iterator[Found | Rejected | Skipped]:
        for item in walk(root, globs):
            if isinstance(item, Found) and item.relative != "a.txt":
                item.path.unlink()
                os.mkfifo(item.path)
            yield item

    monkeypatch.setattr("yusa.indexer.paths.walk", swapped)
    [source] = read(folder)

    def release() -> None:
        _write_to(folder / "b.jsonl")()
        _write_to(folder / "c.txt")()

    items = _within(20, lambda: list(source), release)
    assert [item.document.id for item in items if isinstance(item, Row)] == ["a.txt"]
    assert [item.reason for item in items if isinstance(item, Rejected)] == ["cannot be read: not a regular file"] * 2
    assert not source.complete


def test_a_folder_that_changes_while_it_is_read_costs_only_what_is_gone(folder: Path) -> None:
    _make(folder, "a.txt", "b.txt", "c/d.txt", "e/f.txt", "g.txt", "h.txt")
    [source] = read(folder)
    items = iter(source)
    first = next(items)
    (folder / "b.txt").unlink()
    shutil.rmtree(folder / "c")
    shutil.rmtree(folder / "e")
    (folder / "e").write_text("now a file", "utf-8")
    (folder / "g.txt").unlink()
    (folder / "g.txt").mkdir()
    rest = list(items)
    assert isinstance(first, Row)
    assert [item.document.id for item in rest if isinstance(item, Row)] == ["h.txt"]
    assert [(Path(item.path).name, item.reason) for item in rest if isinstance(item, Skipped)] == [
        ("b.txt", "it vanished while the folder was read"),
        ("c", "it vanished while the folder was read"),
        ("e", "files of kind without suffix are not read"),
    ]


def test_what_may_not_even_be_looked_at_is_rejected_and_not_taken_for_gone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder that may be listed and not entered; permissions do not bind root, so it is imitated."""
    _make(folder, "a.txt", "b.txt")
    real = os.scandir

    class Entry:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name = entry.name

        def stat(self) -> os.stat_result:
            raise PermissionError(13, "Permission denied")

        def is_symlink(self) -> bool:
            return False

    def scandir(path: Path) -> object:
        return nullcontext([Entry(entry) for entry in real(path)])

    monkeypatch.setattr(os, "scandir", scandir)
    [source] = read(folder)
    items = list(source)
    assert [item.reason for item in items if isinstance(item, Rejected)] == ["cannot be read: Permission denied"] * 2
    assert not source.complete


@pytest.mark.parametrize("denied", ["sub", "sub/b.txt"])
def test_permission_denied_is_rejected_and_the_rest_goes_in(
    folder: Path, denied: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions do not bind root, so the operating system's answer is imitated."""
    _make(folder, "a.txt", "sub/b.txt", "z.txt")
    refused = folder / denied
    real_open, real_scandir = os.open, os.scandir

    def deny(path: Path) -> None:
        if Path(path) == refused:
            raise PermissionError(13, "Permission denied", str(path))

    def open_(path: Path, flags: int) -> int:
        deny(path)
        return real_open(path, flags)

    def scandir(path: Path) -> object:
        deny(path)
        return real_scandir(path)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "scandir", scandir)
    [source] = read(folder)
    items = list(source)
    assert [item.document.id for item in items if isinstance(item, Row)] == ["a.txt", "z.txt"]
    [rejected] = [item for item in items if isinstance(item, Rejected)]
    assert rejected.file == str(refused)
    assert "cannot be read: Permission denied" in rejected.reason
    assert not source.complete


def test_a_source_that_may_not_be_entered_is_rejected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make(folder, "a.txt")

    def deny(path: object, *_: object, **__: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    [source] = read(folder)
    monkeypatch.setattr(Path, "exists", deny)
    monkeypatch.setattr(os, "scandir", deny)
    [rejected] = source
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "the folder cannot be read: Permission denied"
    assert not source.complete


def test_a_name_that_is_not_unicode_is_rejected(folder: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("text")
    _make(folder, "b.txt")
    [source] = read(folder)
    items = list(source)
    assert [item.document.id for item in items if isinstance(item, Row)] == ["b.txt"]
    assert [item.reason for item in items if isinstance(item, Rejected)] == [
        "the id 'caf\\udce9.txt' is not valid Unicode: rename it"
    ]
