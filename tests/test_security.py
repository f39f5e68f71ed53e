"""What a hostile file, id or query can do: nothing. And what the code itself never does."""

from __future__ import annotations

import ast
import gzip
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from searching import make_searcher, new_store, put
from storing import check_against, filled, make_entries, open_store
from stubs import StubEncoder

import yusa
from yusa.errors import FilterError, InputError, UsageError
from yusa.search import datasets
from yusa.search.datasets import load_dataset
from yusa.storage import files, parts, postings, publish
from yusa.storage.files import DamagedFileError

ROOT = Path(__file__).parents[1]
ROOMS = ("encoder", "indexer", "search", "service", "storage", "text", "yusa")
PICKLING = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "jsonpickle"}


def _name(node: ast.expr) -> str:
    """`torch.load` of the expression that is called."""
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _true(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


def _harm(source: str) -> Iterator[str]:
    """What runs code that stands in data, or a shell."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or "", *(f"{node.module}.{name}" for name in modules)]
            yield from (name for name in modules if PICKLING & set(name.split(".")))
        elif isinstance(node, ast.Attribute) and node.attr in PICKLING:
            yield _name(node)
        elif isinstance(node, ast.Call):
            name = _name(node.func)
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            if name in ("eval", "exec", "__import__", "os.system", "os.popen") or name.startswith("yaml."):
                yield name
            if name == "torch.load" and not _true(keywords.get("weights_only", ast.Constant(False))):
                yield name
            if "allow_pickle" in keywords or "trust_remote_code" in keywords:
                yield name
            if "shell" in keywords or name in ("np.load", "numpy.load"):
                yield name


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib as j",
        "from torch.serialization import pickle",
        "x = torch.serialization.pickle.loads(b)",
        "eval(text)",
        "exec(text)",
        "yaml.load(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=given)",
        "np.load(path)",
        "numpy.fromfile(path, allow_pickle=True)",
        "subprocess.run(line, shell=True)",
        "os.system(line)",
    ],
)
def test_what_is_looked_for_is_found(source: str) -> None:
    assert list(_harm(source))


def test_no_code_stands_in_data_and_no_shell_is_called() -> None:
    modules = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    assert len(modules) > 100
    found = [(str(path.relative_to(ROOT)), harm) for path in modules for harm in _harm(path.read_text("utf-8"))]
    assert found == []


# SQL

BACKSLASH = "\\"
HOSTILE = [
    "'; DROP TABLE document; --",
    "' OR '1'='1",
    '" OR 1=1 --',
    "%",
    "_",
    "\\",
    "?1",
    ":id",
    "%(id)s",
    "{0}",
    "a\nb; DELETE FROM passage",
    "');ATTACH DATABASE 'x.db' AS x;--",
    "\u2019; --",
]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def test_hostile_strings_are_only_strings(tmp_path: Path) -> None:
    plain = {"id": "plain", "text": "plain text", "note": "nothing"}
    index = yusa.create(tmp_path / "index", encoder=StubEncoder())
    index.add([plain])
    expected = {"plain"}
    for number, text in enumerate(HOSTILE):
        id = text.replace("\n", " ")
        row = {"id": id, "text": f"word{number} {text}", "title": text, "note": text, text: [text, number]}
        report = index.add([row], source=text)
        assert (report.added, report.rejected) == (1, 0), text
        expected.add(id)
        assert index.get(id).metadata == {"note": text, text: [text, number]}
        field = '"' + text.replace('"', '""') + '"'
        for where in (
            f"note = {_quoted(text)}",
            f"{field} = {number}",
            f"{field} = {_quoted(text)}",
            f"id = {_quoted(id)}",
            f"title in ({_quoted(text)}, 'x')",
            f"source = {_quoted(text)}",
            f"note like {_quoted(''.join(f'{BACKSLASH}{c}' for c in text))}",
        ):
            assert {hit.id for hit in index.search("plain", where=where)} == {id}, where
        assert index.facets("note", where=f"id = {_quoted(id)}") == [(text, 1)]
        assert dict(index.facets(text))[text] == 1
        assert dict(index.facets("source"))[text] == 1
        assert index.search(text, literal=True, mode="dense")
        index.search(f"word{number} {text}", mode="lexical", literal=True)
        with pytest.raises(UsageError):
            index.tune({"mode": text})
    index.tune({"rerank": HOSTILE[0]})
    assert index.tuned() == {"rerank": HOSTILE[0]}
    index.tune({})
    for text in HOSTILE:
        assert index.delete([text.replace("\n", " ")]) == [text.replace("\n", " ")]
    assert index.stats().documents == 1
    assert index.get("plain").text == "plain text"
    assert index.verify(deep=True).problems == ()


@pytest.mark.parametrize("where", ["1=1; DROP TABLE document", "note = '' UNION SELECT 1", "note = 'x' -- y", "a = ?"])
def test_what_would_be_sql_is_no_filter(tmp_path: Path, where: str) -> None:
    index = yusa.create(tmp_path / "index", encoder=StubEncoder())
    with pytest.raises(FilterError):
        index.search("x", where=where)


# Paths

ODD_IDS = [
    "../../outside",
    "/etc/passwd",
    "..",
    ".",
    "C:\\windows\\system32",
    "\\\\host\\share",
    "~root/x",
    "$(touch executed)",
    "`touch executed`",
    "a/b/c",
    "-rf",
    "CON",
    "..\u2215up",
    "\u202egpj.exe",
]
REFUSED_IDS = ["a\0b", "new\nline", "x" * (64 << 10), "../" * (32 << 10), "\ud800", " \t ".strip("\t") + "\u3000"]


def test_ids_are_never_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "deep" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    index = yusa.create("index", encoder=StubEncoder())
    rows = [{"id": id, "text": f"text number {number}"} for number, id in enumerate(ODD_IDS + REFUSED_IDS)]
    report = index.add(rows, rejects=Path("rejects.jsonl"))
    assert report.added == len(ODD_IDS)
    assert report.rejected == len(REFUSED_IDS)
    assert [json.loads(line)["line"] for line in Path("rejects.jsonl").read_text("utf-8").splitlines()] == list(
        range(len(ODD_IDS) + 1, len(rows) + 1)
    )
    for number, id in enumerate(ODD_IDS):
        assert index.get(id).text == f"text number {number}"
        assert index.search(f"text number {number}", top_k=1, where=f"id = {_quoted(id)}")[0].id == id
    index.compact()
    index.backup("copy")
    assert sorted(index.delete(ODD_IDS)) == sorted(ODD_IDS)
    outside = [path for path in tmp_path.rglob("*") if work not in path.parents and path not in (work, work.parent)]
    assert outside == []
    assert sorted(path.name for path in work.iterdir()) == ["copy", "index", "rejects.jsonl"]
    own = {"index.db", "index.db-wal", "index.db-shm", "writer.lock", "segments"}
    assert {path.name for path in (work / "index").iterdir()} <= own


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
@pytest.mark.parametrize("mask", [0o077, 0o027, 0o022])
def test_files_are_as_private_as_the_umask_says(tmp_path: Path, mask: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "TAIL_LIMIT", 10)
    old = os.umask(mask)
    try:
        store = filled(tmp_path / "index", range(30), batch=10)
        assert store.stats().segments > 0
        store.backup(tmp_path / "copy")
        store.close()
    finally:
        os.umask(old)
    made = [path for name in ("index", "copy") for path in [tmp_path / name, *(tmp_path / name).rglob("*")]]
    assert {"index.db", "writer.lock", "segments"} <= {path.name for path in made}
    assert [path.name for path in made if stat.S_IMODE(path.stat().st_mode) & mask] == []


# Segment files


@pytest.fixture
def opened_files(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The content of every file that FAISS or the reader of postings is given."""
    read: list[bytes] = []
    read_index, map_block = parts._read_index, postings.map_block

    def reading(path: Path) -> Any:
        read.append(path.read_bytes())
        return read_index(path)

    def mapping(path: Path) -> Any:
        read.append(path.read_bytes())
        return map_block(path)

    monkeypatch.setattr(parts, "_read_index", reading)
    monkeypatch.setattr("yusa.storage.lexicon.map_block", mapping)
    return read


def test_a_segment_file_of_another_index_is_never_opened(
    tmp_path: Path, opened_files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "TAIL_LIMIT", 10)
    mine, other = (filled(tmp_path / name, range(start, start + 30)) for name, start in (("mine", 0), ("other", 30)))
    model = {entry.document.id: entry for entry in make_entries(range(30))}
    check_against(mine, model)
    assert opened_files
    mine.close()
    other.close()
    swapped = set()
    for path in sorted((tmp_path / "mine" / "segments").iterdir()):
        foreign = (tmp_path / "other" / "segments" / path.name).read_bytes()
        if path.suffix in (".faiss", ".postings"):
            assert foreign != path.read_bytes()
            assert len(foreign) == path.stat().st_size
            swapped.add(foreign)
            path.write_bytes(foreign)
    assert len(swapped) == 2
    opened_files.clear()
    again = open_store(tmp_path / "mine")
    check_against(again, model)
    assert not swapped & set(opened_files)
    with again.write() as writer:
        writer.delete([])
    check_against(again, model)
    assert again.verify(deep=True).repairable == ()
    assert opened_files
    assert not swapped & set(opened_files)
    again.close()


def test_a_file_that_the_database_does_not_name_is_never_opened(
    tmp_path: Path, opened_files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "TAIL_LIMIT", 10)
    filled(tmp_path / "index", range(30)).close()
    segments = tmp_path / "index" / "segments"
    for suffix in ("faiss", "ids", "owners", "postings"):
        (segments / f"000099.{suffix}").write_bytes(b"hostile")
    again = open_store(tmp_path / "index")
    opened_files.clear()
    check_against(again, {entry.document.id: entry for entry in make_entries(range(30))})
    assert opened_files
    assert b"hostile" not in opened_files
    with again.write() as writer:
        writer.delete([])
    assert not list(segments.glob("000099.*"))
    again.close()


def test_a_checksum_is_looked_at_before_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "x.faiss"
    path.write_bytes(b"right")
    verified = files.Verified("id")
    expected = files.FileSum(5, "0" * 64)
    for again in (False, True):
        with pytest.raises(DamagedFileError, match="checksum"):
            verified.check(path, expected, again=again)


# Bombs


def _bomb(path: Path, line: bytes, times: int) -> None:
    with gzip.open(path, "wb") as file:
        for _ in range(times):
            file.write(line)


@pytest.mark.parametrize("score", ["+-5", "9" * 5000, "1.5", "²"])
def test_a_score_that_is_no_whole_number_is_refused_by_name(tmp_path: Path, score: str) -> None:
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "question"}\n', "utf-8")
    (tmp_path / "qrels.tsv").write_text(f"q\td\t1\nq\te\t{score}\n", "utf-8")
    with pytest.raises(InputError, match=r"qrels\.tsv:2 is not"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("name", ["queries.jsonl.gz", "qrels.tsv.gz"])
def test_a_packed_file_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "MOST_BYTES", 1 << 20)
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "question"}\n', "utf-8")
    (tmp_path / "qrels.tsv").write_text("q\td\t1\n", "utf-8")
    assert load_dataset(tmp_path).questions == {"q": "question"}
    (tmp_path / name.removesuffix(".gz")).unlink()
    _bomb(tmp_path / name, b" " * (1 << 16), 40)
    assert (tmp_path / name).stat().st_size < 1 << 13
    with pytest.raises(InputError, match="more than 1 MiB, unpacked"):
        load_dataset(tmp_path)


def test_deeply_nested_questions_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text("[" * 200_000 + "\n", "utf-8")
    (tmp_path / "qrels.tsv").write_text("q\td\t1\n", "utf-8")
    with pytest.raises(InputError, match=r"queries\.jsonl:1 is not JSON"):
        load_dataset(tmp_path)


def test_a_query_of_a_megabyte_is_answered(tmp_path: Path) -> None:
    store = new_store(tmp_path / "index")
    put(store, {"a": ["사과와 배"]})
    searcher = make_searcher(store)
    for piece in ("사과 ", "사과", "學校", "a1", "a-1 ", "a*", "“", '" ', "\u0301\u0323", "\u200b"):
        searcher.search(["사과" + piece * 100_000], mode="lexical")
    store.close()
