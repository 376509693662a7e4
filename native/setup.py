"""The extension alone; everything else stands in pyproject.toml. It needs a C11 compiler and Python's headers, and none of OpenSSL's."""

import tomllib
from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).parent
SOURCES = ("module", "reading", "leaf", "json", "seal", "crc32c", "openssl", "prefilter", "sieves", "gist")
VERSION = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["project"]["version"]

setup(
    ext_modules=[
        Extension(
            "gatebook_speed",
            [f"src/{name}.c" for name in SOURCES],
            depends=[f"src/{path.name}" for path in sorted((HERE / "src").glob("*.h"))],
            define_macros=[("GATEBOOK_SPEED_VERSION", f'"{VERSION}"')],
            extra_compile_args=["-std=c11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
            libraries=["dl"],
        )
    ]
)
