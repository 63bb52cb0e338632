"""A new platform is one entry of clair3.platforms: no other module names one."""

import ast
from pathlib import Path

import pytest

from clair3.platforms import PLATFORMS

ROOT = Path(__file__).resolve().parents[1]


def named_platforms(source: str) -> list[tuple[int, str]]:
    """Line and value of each string literal of a module that is the name of a platform."""
    literals = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return [(node.lineno, node.value) for node in literals if node.value in tuple(PLATFORMS)]


@pytest.mark.parametrize("source", ["if platform == 'ont': pass", "PRESETS = {'hifi': 1}", "def f(x='ilmn'): pass"])
def test_names_are_seen(source):
    assert len(named_platforms(source)) == 1


def test_only_one_module_names_platforms():
    modules = [path for path in (ROOT / "clair3").rglob("*.py") if path.name != "platforms.py"]
    assert len(modules) > 100
    assert {path.name: named for path in modules if (named := named_platforms(path.read_text()))} == {}
