"""What installing yusa puts into an environment, and what importing it costs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import yusa

ROOT = Path(__file__).parents[2]
ROOMS = {"text", "encoder", "storage", "indexer", "search", "training", "service"}
HEAVY = {"torch", "transformers", "tokenizers", "faiss", "sqlalchemy", "alembic", "huggingface_hub", "pyarrow", "rich"}


def test_the_names_of_the_front_door() -> None:
    assert sorted(yusa.__all__) == yusa.__all__
    assert dir(yusa) == yusa.__all__
    for name in yusa.__all__:
        assert getattr(yusa, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'embed'"):
        _ = yusa.embed


@pytest.mark.parametrize("statement", ["import yusa", "from yusa.service.cli import main"])
def test_nothing_heavy_is_imported_on_the_way_in(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint(*sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_file_imports_a_room_by_its_bare_name() -> None:
    files = [
        path
        for folder in [*sorted(ROOMS), "tests", "benchmarks", "demo", "yusa"]
        if (ROOT / folder).is_dir()
        for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(files) > 40
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names = [node.module or ""]
            assert not ROOMS & {name.partition(".")[0] for name in names}, f"{path} imports {names}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    pytest.importorskip("setuptools.build_meta")
    code = "import sys, setuptools.build_meta as b; print(b.build_wheel(sys.argv[1]))"
    source = tmp_path_factory.mktemp("source")
    subprocess.run(["git", "-C", str(ROOT), "checkout-index", "-a", f"--prefix={source}{os.sep}"], check=True)
    subprocess.run([sys.executable, "-c", code, str(target)], cwd=source, check=True, capture_output=True)
    (built,) = target.glob("*.whl")
    return built


def test_the_wheel_holds_yusa_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"yusa"}
    assert not [name for name in names if name.endswith((".c", ".h"))]
    for wanted in ["yusa/py.typed", "yusa/index.py", "yusa/storage/tables.py", "yusa/encoder/base.py"]:
        assert wanted in names
    assert any(name.startswith("yusa/storage/migrations/versions/") for name in names)


def test_the_wheel_holds_the_native_forward_pass_where_there_is_a_c_compiler(wheel: Path, tmp_path: Path) -> None:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    source = tmp_path / "program.c"
    source.write_text("#include <pthread.h>\n#include <stdlib.h>\nint main(void) { return 0; }\n")
    try:
        subprocess.run([*compiler, "-pthread", source, "-o", tmp_path / "program"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no C compiler that works")
    with zipfile.ZipFile(wheel) as archive:
        assert [name for name in archive.namelist() if name.startswith("yusa/encoder/_forward.")]
