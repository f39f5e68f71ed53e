from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from tiny import Run, write_rows

from yusa.encoder import native_network
from yusa.service.cli import doctor


def checks(output: str) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(output)["checks"]}


def test_a_sound_installation(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("doctor")
    assert result.exit_code == 0, result.output
    for part in (
        "Python",
        "torch",
        "faiss-cpu",
        "SQLite",
        "native forward pass",
        "model cache",
        "multilingual-e5-small",
        "none at yusa-index",
    ):
        assert part in result.stdout
    found = checks(run("doctor", "--json").stdout)
    assert {check["status"] for check in found.values()} <= {"ok", "note"}
    assert "cpu" in found["device"]["detail"] or "cuda" in found["device"]["detail"]
    assert "YUSA_OFFLINE is set" in found["hub"]["detail"]


def test_an_index_is_looked_at(run: Run, made: Path, encoder: Path) -> None:
    found = checks(run("doctor", "-i", made, "--json").stdout)
    assert "5 documents, 5 passages" in found["index"]["detail"]
    assert str(encoder) in found["encoder of the index"]["detail"]
    assert found["verify"]["status"] == "ok"
    assert "pooling of the index" not in found


def test_an_index_that_is_named_must_be_there(run: Run, tmp_path: Path) -> None:
    result = run("doctor", "-i", tmp_path / "nowhere", "--json")
    assert result.exit_code == 1
    assert checks(result.stdout)["index"]["status"] == "problem"


def test_a_damaged_index_is_a_problem(run: Run, own: Path) -> None:
    for file in own.glob("index.db*"):
        file.write_bytes(b"not a database" * 1000)
    result = run("doctor", "-i", own, "--json")
    assert result.exit_code == 1
    assert checks(result.stdout)["index"]["status"] == "problem"


def test_a_pooler_is_worth_a_note(run: Run, tmp_path: Path, encoder: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"id": "a", "text": "비 가 왔다"}])
    index = tmp_path / "index"
    assert run("index", rows, "-i", index, "--encoder", encoder, "--pooling", "pooler").exit_code == 0
    result = run("doctor", "-i", index, "--json")
    assert result.exit_code == 0
    note = checks(result.stdout)["pooling of the index"]
    assert note["status"] == "note"
    assert "poor measure" in note["detail"]


@pytest.mark.parametrize(
    ("version", "status"), [((3, 40, 1), "note"), ((3, 51, 2), "note"), ((3, 51, 3), "ok"), ((3, 52, 0), "ok")]
)
def test_old_sqlite_is_named(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], status: str) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    monkeypatch.setattr(sqlite3, "sqlite_version", ".".join(map(str, version)))
    check = doctor._sqlite()
    assert check.status == status
    assert ("WAL-reset" in check.detail) == (status == "note")


def test_a_package_that_cannot_be_imported_is_a_problem(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    def broken(name: str) -> None:
        raise ImportError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(doctor, "import_module", broken)
    result = run("doctor", "--json")
    assert result.exit_code == 1
    assert "cannot open shared object file" in checks(result.stdout)["torch"]["detail"]


def test_a_device_that_does_not_work_is_a_problem(run: Run) -> None:
    result = run("doctor", "--json", env={"YUSA_DEVICE": "abacus"})
    assert result.exit_code == 1
    assert checks(result.stdout)["device"]["status"] == "problem"


def test_where_the_native_forward_pass_is_missing_it_says_so_and_is_well(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_network, "available", lambda: "it was not built")
    result = run("doctor", "--json")
    found = checks(result.stdout)["native forward pass"]
    assert (found["status"], result.exit_code) == ("note", 0)
    assert found["detail"].startswith("it was not built. Texts are encoded on the CPU by NumPy and torch")
