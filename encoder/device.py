"""Where a model runs and in which number format."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from yusa.errors import EncoderError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "float16", "bfloat16")


def asked_device(name: str | None) -> str | None:
    """The device named, else YUSA_DEVICE; None where the choice is yusa's."""
    return name or os.environ.get("YUSA_DEVICE") or None


def device_of(name: str | None) -> torch.device:
    """The device named, else YUSA_DEVICE, else cuda where there is one, else cpu.

    Raises:
        EncoderError: it cannot be used.
    """
    import torch

    name = asked_device(name) or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise EncoderError(
            f"the device {name!r} cannot be used: {reason}. Choose cpu, or cuda where there is one."
        ) from error
    return device


def may_have_cuda() -> bool:
    """Whether torch must be imported to know that there is no CUDA device."""
    if sys.platform == "darwin" or importlib.metadata.version("torch").endswith("+cpu"):
        return False
    # The driver's device files; /dev/dxg is that of Windows Subsystem for Linux.
    return sys.platform != "linux" or any(Path(file).exists() for file in ("/dev/nvidiactl", "/dev/dxg"))


def dtype_of(name: str | None, device: str) -> str:
    """The dtype named, one of DTYPES, else float32 on a CPU and float16 elsewhere.

    Raises:
        EncoderError: there is no such dtype.
    """
    name = name or ("float32" if device.startswith("cpu") else "float16")
    if name not in DTYPES:
        raise EncoderError(f"there is no dtype {name!r} for encoders. Choose one of {', '.join(DTYPES)}.")
    return name


def provenance_of(name: str, revision: str, device: str, dtype: str) -> dict[str, str]:
    """What computed a result: shown, never compared."""
    card = ""
    if device.startswith("cuda"):
        import torch

        card = f" ({torch.cuda.get_device_name(device)})"
    return {
        "name": name,
        "revision": revision,
        "device": f"{device}{card}",
        "dtype": dtype,
        "torch": importlib.metadata.version("torch"),
        "tokenizers": importlib.metadata.version("tokenizers"),
    }
