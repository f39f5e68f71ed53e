"""The one part of yusa that is compiled; everything else about the package is in pyproject.toml."""

from setuptools import Extension, setup

NATIVE = "yusa/encoder/native"

setup(
    ext_modules=[
        # No Python module but plain C, loaded with ctypes (encoder/native_network.py). Optional: where there is no
        # compiler yusa is installed without it and computes in NumPy and torch.
        Extension(
            "yusa.encoder._forward",
            sources=[f"{NATIVE}/forward.c"],
            depends=[f"{NATIVE}/simd.h", f"{NATIVE}/team.h"],
            extra_compile_args=["-std=gnu11", "-O3"],
            extra_link_args=["-pthread"],
            optional=True,
        )
    ]
)
