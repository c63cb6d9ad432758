"""Builds the extension; where that is not possible, fedtrack goes on in Python."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "fedtrack_speedups._spool_base",
            sources=["src/fedtrack_speedups/_spool_base.c"],
            depends=["src/fedtrack_speedups/_encode.h", "src/fedtrack_speedups/_plain.h"],
            extra_compile_args=["-O2"],
            py_limited_api=True,
            optional=True,  # no compiler: the package is installed all the same, and says that it holds nothing
        )
    ]
)
