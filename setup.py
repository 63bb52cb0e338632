"""Builds the C core, and leaves the entry scripts of a checkout out of packages; all else stands in pyproject.toml."""

import shutil

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py


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


class BuildPackage(build_py):
    """build_py without clair3/CallVarBam.py and the like: v2.0.2's paths of commands, for use in a checkout only."""

    def find_package_modules(self, package, package_dir):
        modules = super().find_package_modules(package, package_dir)
        return [module for module in modules if not (package == "clair3" and module[1][0].isupper())]


setup(
    cffi_modules=["clair3/core/build.py:ffibuilder"],
    cmdclass={"build_ext": BuildCore, "build_py": BuildPackage},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},  # the extension uses the stable ABI
)
