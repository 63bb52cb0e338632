"""Builds the C core; everything else stands in pyproject.toml."""

from setuptools import setup

setup(cffi_modules=["clair3/core/build.py:ffibuilder"])
