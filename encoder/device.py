"""Where a model runs and in which number format."""

from __future__ import annotations

import importlib.metadata
import os

import torch

from yusa.errors import EncoderError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def device_of(name: str | None) -> torch.device:
    """The device named, else YUSA_DEVICE, else cuda where there is one, else cpu.

    Raises:
        EncoderError: it cannot be used.
    """
    name = name or os.environ.get("YUSA_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise EncoderError(
            f"the device {name!r} cannot be used: {reason}. Choose cpu, or cuda where there is one."
        ) from error
    return device


def dtype_of(name: str | None, device: torch.device) -> str:
    """The dtype named, a key of DTYPES, else float32 on a CPU and float16 elsewhere.

    Raises:
        EncoderError: there is no such dtype.
    """
    name = name or ("float32" if device.type == "cpu" else "float16")
    if name not in DTYPES:
        raise EncoderError(f"there is no dtype {name!r} for encoders. Choose one of {', '.join(DTYPES)}.")
    return name


def provenance_of(name: str, revision: str, device: torch.device, dtype: str) -> dict[str, str]:
    """What computed a result: shown, never compared."""
    card = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return {
        "name": name,
        "revision": revision,
        "device": f"{device}{card}",
        "dtype": dtype,
        "torch": torch.__version__,
        "tokenizers": importlib.metadata.version("tokenizers"),
    }
