"""`yusa backup`, `restore` and `reindex`, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from stubs import StubEncoder

import yusa
from yusa.encoder import Encoder
from yusa.service.cli import cli

ENCODERS = {"first": StubEncoder(16, name="first", seed="1"), "second": StubEncoder(24, name="second", seed="2")}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an index of three documents; encoders are loaded by name."""
    monkeypatch.setattr(Encoder, "load", lambda name, **_: ENCODERS[name])
    monkeypatch.chdir(tmp_path)
    with yusa.create("yusa-index", encoder="first") as index:
        index.add([{"id": f"d{n}", "text": f"바다 {n}"} for n in range(3)])
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(one) for one in arguments], catch_exceptions=False)


def _encoder() -> str:
    return str(json.loads(run("stats", "--json").stdout)["settings"]["encoder"])


def test_reindex_rollback_and_discard(home: Path) -> None:
    result = run("reindex", "--encoder", "second")
    assert result.exit_code == 0, result.output
    assert "answered with second now; 3 documents, 3 passages" in result.stdout
    assert _encoder() == "second"
    assert "rollback" in run("stats").stdout
    assert "to first; `yusa reindex --discard` would free" in run("stats").stdout
    assert json.loads(run("search", "바다 1", "--format", "json").stdout)[0]["id"] == "d1"

    report = json.loads(run("reindex", "--rollback", "--json").stdout)
    assert (report["encoder"], report["documents"], report["interrupted"]) == ("first", 0, False)
    assert _encoder() == "first"
    assert run("reindex", "--discard").stdout.startswith("discarded")
    assert "nothing to discard" in run("reindex", "--discard").stdout
    result = run("reindex", "--rollback")
    assert (result.exit_code, "no previous encoding" in result.stderr) == (1, True)


def test_reindex_wants_one_thing(home: Path) -> None:
    for arguments in ((), ("--rollback", "--discard"), ("--encoder", "second", "--rollback")):
        result = run("reindex", *arguments)
        assert (result.exit_code, "or --rollback, or --discard" in result.stderr) == (2, True)
    result = run("reindex", "--encoder", "first")
    assert (result.exit_code, "with first now; 0 documents" in result.stdout) == (0, True)


def test_passages_are_cut_anew(home: Path) -> None:
    assert run("reindex", "--passage-tokens", "40").exit_code == 0
    settings = json.loads(run("stats", "--json").stdout)["settings"]
    assert (settings["encoder"], settings["passage_tokens"], settings["overlap"]) == ("first", 40, 5)


def test_an_unfinished_reindex_is_shown(home: Path) -> None:
    from yusa.identity import settings_for

    with yusa.open("yusa-index") as index:
        new = settings_for(
            ENCODERS["second"], passage_tokens=64, overlap=0, vector_dtype="float16", analyzer="standard"
        )
        with index._store.reindex(new):
            pass
    assert "second is under way, 3 documents left" in run("stats").stdout
    result = run("reindex", "--encoder", "second")
    assert (result.exit_code, "a reindex with second is under way" in result.stderr) == (1, True)
    assert run("reindex", "--encoder", "second", "--passage-tokens", "64", "--overlap", "0").exit_code == 0
    assert _encoder() == "second"


def test_restore(home: Path) -> None:
    result = run("backup", "yusa-index/saved")
    assert (result.exit_code, "lies inside the index" in result.stderr) == (1, True)
    assert run("backup", "saved").exit_code == 0
    assert run("delete", "d1").exit_code == 0
    result = run("restore", "saved")
    assert (result.exit_code, "with --replace, which puts it aside" in result.stderr) == (1, True)
    result = run("restore", "saved", "--replace")
    assert result.exit_code == 0
    assert "yusa-index holds what saved holds" in result.stderr
    assert json.loads(run("stats", "--json").stdout)["documents"] == 3
    aside = [path for path in home.iterdir() if path.name.startswith("yusa-index.replaced-")]
    assert [json.loads(run("stats", "--json", "-i", path).stdout)["documents"] for path in aside] == [2]
    answer = json.loads(run("restore", "saved/index.db", "-i", "elsewhere", "--json").stdout)
    assert answer == {"index": "elsewhere", "replaced": None}
    assert run("search", "바다 1", "-i", "elsewhere").exit_code == 0
    result = run("restore", "nowhere", "-i", "new")
    assert (result.exit_code, "no backup at nowhere" in result.stderr) == (1, True)


@pytest.mark.parametrize("arguments", [("index", ""), ("stats", "-i", ""), ("backup", ""), ("restore", "")])
def test_an_empty_path_is_not_this_folder(home: Path, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.exit_code, "a variable that is not set" in result.stderr) == (2, True)
