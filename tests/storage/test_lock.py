"""One writer at a time, in one process and in many."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from storing import check_against, filled, make_entries, make_entry, open_store

from yusa.errors import IndexLockedError, StorageError
from yusa.storage import lock
from yusa.storage.lock import writer_lock

_HOLD = """
import sys
from pathlib import Path
from yusa.storage.lock import writer_lock
with writer_lock(Path(sys.argv[1]), wait=0):
    print("held", flush=True)
    sys.stdin.readline()
print("released", flush=True)
"""


def _holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told_the_holder(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(5))
    with _holder(store.path) as process:
        with pytest.raises(IndexLockedError, match=rf"process {process.pid} on .* is writing to it"), store.write():
            pass
        with pytest.raises(IndexLockedError, match=str(process.pid)):
            store.compact()
        check_against(store, {entry.document.id: entry for entry in make_entries(range(5))})
        process.communicate("\n")
    with store.write() as writer:
        writer.put([make_entry("after")])
    store.close()


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(5))
    with _holder(store.path) as process:
        process.kill()
        process.wait()
    assert str(process.pid) in (store.path / "writer.lock").read_text(encoding="utf-8")
    with store.write() as writer:
        assert str(os.getpid()) in (store.path / "writer.lock").read_text(encoding="utf-8")
        writer.put([make_entry("after")])
    assert (store.path / "writer.lock").read_text(encoding="utf-8") == ""
    store.close()


def test_waiting_for_another_writer(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(5))
    with _holder(store.path) as process:
        waiting = threading.Thread(target=process.communicate, args=("\n",))
        waiting.start()
        with store.write(wait=30) as writer:
            writer.put([make_entry("after")])
        waiting.join()
        assert process.returncode == 0
    store.close()


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(5))
    other = open_store(store.path)
    with store.write() as writer:
        for second in (store, other):
            with pytest.raises(IndexLockedError, match=f"process {os.getpid()} "), second.write():
                pass
        writer.put([make_entry("in")])
    failures: list[BaseException] = []

    def put(number: int) -> None:
        try:
            with (store if number % 2 else other).write(wait=60) as changes:
                changes.put([make_entry(f"t{number}")])
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with store.read() as view:
        assert view.document_count() == 5 + 1 + 8
    other.close()
    store.close()


def test_who_has_taken_the_lock_but_not_written_its_name_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "writer.lock").touch()
    taken, told, hold = threading.Event(), threading.Event(), threading.Event()
    name_holder = lock._name_holder

    def late(path: Path) -> None:
        taken.set()
        told.wait(60)
        name_holder(path)
        hold.wait(60)

    def hold_it() -> None:
        with writer_lock(tmp_path, wait=0):
            pass

    look = lock._holder

    def looked(path: Path) -> str | None:
        found = look(path)
        told.set()
        return found

    monkeypatch.setattr(lock, "_name_holder", late)
    monkeypatch.setattr(lock, "_holder", looked)
    holder = threading.Thread(target=hold_it)
    holder.start()
    assert taken.wait(60)
    with pytest.raises(IndexLockedError) as refused, writer_lock(tmp_path, wait=0):
        pass
    hold.set()
    holder.join()
    assert f"process {os.getpid()} on " in str(refused.value)


@pytest.mark.parametrize("content", ["", "no json", "[]", "{}"])
def test_an_unreadable_holder_is_just_another_process(tmp_path: Path, content: str) -> None:
    with writer_lock(tmp_path, wait=0):
        (tmp_path / "writer.lock").write_text(content, encoding="utf-8")
        with pytest.raises(IndexLockedError, match="another process is writing"), writer_lock(tmp_path, wait=0):
            pass


def test_a_lock_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "writer.lock").mkdir()
    message = r"writer\.lock cannot be locked .* Check that you may write"
    with pytest.raises(StorageError, match=message), writer_lock(tmp_path, wait=0):
        pass


def test_a_holder_that_cannot_be_named_holds_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, *arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with writer_lock(tmp_path, wait=0), pytest.raises(IndexLockedError), writer_lock(tmp_path, wait=0):
        pass
