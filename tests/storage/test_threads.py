"""A search leaves the calling thread's OpenMP as it was."""

from __future__ import annotations

import faiss
import numpy as np
import torch

from yusa.storage.parts import Part, add_rows, new_index, rows_of


def test_a_search_does_not_take_threads_from_torch() -> None:
    index = new_index(8, "float32")
    add_rows(index, np.ones((5, 8), dtype=np.float32))
    ids = np.arange(5, dtype=np.int64)
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    try:
        asked = torch.get_num_threads()
        part = Part(ids, ids, rows_of(index, "float32"), index)
        scores, _ = part.search(np.ones((1, 8), dtype=np.float32), 2, None)
        assert scores.shape == (1, 2)
        assert (faiss.omp_get_max_threads(), torch.get_num_threads()) == (3, asked)
    finally:
        faiss.omp_set_num_threads(before)
