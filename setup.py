"""Builds the C core; everything else stands in pyproject.toml."""

import shutil

from setuptools import setup
from setuptools.command.build_ext import build_ext


class BuildCore(build_ext):
    """build_ext that says in one sentence what is missing."""

    def build_extensions(self):
        compiler = self.compiler.compiler_so[0]
        if shutil.which(compiler) is None:
            raise SystemExit(
                f"clair3-torch needs a C compiler and found no {compiler}: install one "
                "(Debian, Ubuntu: apt install gcc; macOS: xcode-select --install) and install again"
            )
        super().build_extensions()


setup(cffi_modules=["clair3/core/build.py:ffibuilder"], cmdclass={"build_ext": BuildCore})
