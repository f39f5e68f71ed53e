"""Reading safetensors with NumPy: the package as the oracle, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from yusa.encoder.tensor_file import TensorFile


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_it_reads_what_the_package_wrote(tmp_path: Path, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    stored = {
        "matrix": torch.randn(5, 7, generator=generator).to(dtype),
        "scalar": torch.tensor(2.5, dtype=dtype),
        "nothing": torch.empty(0, 3, dtype=dtype),
        "이름": torch.randn(3, generator=generator).to(dtype),
    }
    save_file(stored, tmp_path / "file", metadata={"format": "pt"})
    found = TensorFile(tmp_path / "file")
    assert set(found) == set(stored)
    for name, tensor in stored.items():
        assert found.shape(name) == tuple(tensor.shape) == found[name].shape
        expected = (tensor.float() if dtype == torch.bfloat16 else tensor).numpy()
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].dtype == expected.dtype


def test_arrays_are_the_file_in_memory_and_never_change_it(tmp_path: Path) -> None:
    save_file({"weights": torch.ones(1000)}, tmp_path / "file")
    before = (tmp_path / "file").read_bytes()
    array = TensorFile(tmp_path / "file")["weights"]
    assert not array.flags.owndata
    array[:] = 7
    assert (tmp_path / "file").read_bytes() == before


def test_values_at_an_odd_place_are_copied(tmp_path: Path) -> None:
    header = json.dumps({"odd": {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]}}).encode()
    values = np.array([1.5, -2.0], dtype="<f4")
    (tmp_path / "file").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" + values.tobytes())
    array = TensorFile(tmp_path / "file")["odd"]
    assert array.flags.aligned
    np.testing.assert_array_equal(array, values)


def test_other_kinds_are_listed_but_not_read(tmp_path: Path) -> None:
    save_file({"ids": torch.arange(3)}, tmp_path / "file")
    found = TensorFile(tmp_path / "file")
    assert found.dtype("ids") == "I64"
    with pytest.raises(ValueError, match="ids holds I64"):
        found["ids"]


def entry(**changes: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ([], "no JSON object"),
        ({"a": 3}, "describes a wrongly"),
        ({"a": entry(shape="x")}, "describes a wrongly"),
        ({"a": entry(data_offsets=[0, 12])}, "does not lie within"),
        ({"a": entry(data_offsets=[-4, 4])}, "does not lie within"),
        ({"a": entry(data_offsets=[8, 0])}, "does not lie within"),
        ({"a": entry(shape=[-1, -2])}, "does not lie within"),
        ({"a": entry(shape=[3])}, "has 8 bytes for 3 values"),
        ({"a": entry(dtype="F16")}, "has 8 bytes for 2 values"),
    ],
)
def test_headers_that_cannot_be_right(tmp_path: Path, header: object, message: str) -> None:
    text = json.dumps(header).encode()
    (tmp_path / "file").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(ValueError, match=message):
        TensorFile(tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"\x10", bytes(8), b"\xff" * 8, b"\xff" * 64, (1000).to_bytes(8, "little")])
def test_files_that_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=r"bytes|longer than the file|JSON|decode|Expecting"):
        TensorFile(tmp_path / "file")
