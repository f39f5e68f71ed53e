"""sentence-transformers and plain transformers, asked over standard input; run by `benchmarks.encode` in the
environment that has them. Imports nothing of yusa.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from sentence_transformers import SentenceTransformer


class Peers:
    """What it is asked to do, one method each."""

    def __init__(self) -> None:
        self._models: dict[str, tuple[Any, Any, Any]] = {}
        self._texts: list[str] = []
        self._vectors: dict[str, Any] = {}

    def about(self) -> dict[str, Any]:
        names = ("sentence-transformers", "transformers", "tokenizers", "torch")
        return {**{name: version(name) for name in names}, "threads": torch.get_num_threads()}

    def load(self, directory: str, device: str, dtypes: list[str]) -> dict[str, Any]:
        """Load a checkpoint in each of these dtypes in the place of what was loaded."""
        self._models.clear()
        started = time.perf_counter()
        for dtype in dtypes:
            kind = {"dtype": getattr(torch, dtype)}
            whole = SentenceTransformer(directory, device=device, model_kwargs=kind)
            body = transformers.AutoModel.from_pretrained(directory, **kind).to(device).eval()
            self._models[dtype] = (whole, body, transformers.AutoTokenizer.from_pretrained(directory))
        attention = str(body.config._attn_implementation)
        return {"seconds": time.perf_counter() - started, "attention": attention, "limit": whole.max_seq_length}

    def texts(self, path: str) -> dict[str, Any]:
        self._texts = json.loads(Path(path).read_text("utf-8"))
        return {"texts": len(self._texts)}

    def sentence_transformers(self, dtype: str, batch: int | None) -> dict[str, Any]:
        """Seconds of `SentenceTransformer.encode`; without `batch` as it is called by default, and its vectors kept."""
        model = self._models[dtype][0]
        given = {} if batch is None else {"batch_size": batch}
        started = time.perf_counter()
        vectors = model.encode(self._texts, **given)
        seconds = time.perf_counter() - started
        if batch is None:
            self._vectors[dtype] = vectors
        return {"seconds": seconds}

    def transformers(self, dtype: str, batch: int, sort: bool, pooling: str) -> dict[str, Any]:
        """Seconds of the model called as its documentation shows: padded batches, attention mask, mean or first token.

        With `sort` all texts are tokenized first and taken in the order of their lengths in tokens.
        """
        whole, model, tokenizer = self._models[dtype]
        started = time.perf_counter()
        with torch.inference_mode():
            found: list[Any] = [None] * len(self._texts)
            encoded = tokenizer(self._texts, truncation=True, max_length=whole.max_seq_length)
            lengths = [len(ids) for ids in encoded["input_ids"]]
            order = sorted(range(len(lengths)), key=lengths.__getitem__) if sort else list(range(len(lengths)))
            for start in range(0, len(order), batch):
                rows = order[start : start + batch]
                some = {key: [values[row] for row in rows] for key, values in encoded.items()}
                given = tokenizer.pad(some, return_tensors="pt").to(model.device)
                hidden = model(**given).last_hidden_state
                if pooling == "cls":
                    pooled = hidden[:, 0]
                else:
                    mask = given["attention_mask"].unsqueeze(-1).to(hidden.dtype)
                    pooled = (hidden * mask).sum(1) / mask.sum(1)
                vectors = torch.nn.functional.normalize(pooled, dim=-1).float().cpu().numpy()
                for row, vector in zip(rows, vectors, strict=True):
                    found[row] = vector
        np.stack(found)
        return {"seconds": time.perf_counter() - started}

    def save(self, dtype: str, path: str) -> dict[str, Any]:
        """Write the vectors of the last default run of sentence-transformers in this dtype."""
        np.save(path, np.asarray(self._vectors[dtype], dtype=np.float32))
        return {}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # Whatever a library prints must not stand among the answers
    peers = Peers()
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(getattr(peers, request.pop("do"))(**request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
