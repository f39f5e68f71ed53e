from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from yusa.indexer import Rejected, Row, Skipped, read
from yusa.indexer.folder import Found, walk
from yusa.storage import Store


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


@pytest.mark.parametrize("denied", ["sub", "sub/b.txt"])
def test_permission_denied_is_rejected_and_the_rest_goes_in(
    folder: Path, denied: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions do not bind root, so the operating system's answer is imitated."""
    _make(folder, "a.txt", "sub/b.txt", "z.txt")
    refused = folder / denied
    real_open, real_scandir = Path.open, os.scandir

    def deny(path: Path) -> None:
        if Path(path) == refused:
            raise PermissionError(13, "Permission denied", str(path))

    def open_(path: Path, *args: object, **options: object) -> object:
        deny(path)
        return real_open(path, *args, **options)  # type: ignore[call-overload]

    def scandir(path: Path) -> object:
        deny(path)
        return real_scandir(path)

    monkeypatch.setattr(Path, "open", open_)
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
