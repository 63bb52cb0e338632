"""Which version this is, and which Clair3 it stands in for."""

VERSION = "0.1.0"
"""Of this program; pyproject.toml reads it from here."""

COMPATIBLE_VERSION = "2.0.2"
"""The version of Clair3 whose command line and records these are."""
