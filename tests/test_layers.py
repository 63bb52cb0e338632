"""Imports go one way, low to high, without cycles (docs/developing.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("shared", "clair3.task", "clair3.core", "preprocess", "clair3")
"""Low to high; a module may import its own layer and those before it. Doors come last."""
DISPATCHER = "clair3.__main__"
DOOR_LINES = 50
NOT_IMPORTED = ("clair3.core.build",)
"""Run by setuptools, not by the program."""


def is_door(name: str) -> bool:
    """Doors are the dispatcher and the modules with CamelCase names (docs/developing.md)."""
    return name == DISPATCHER or name.rpartition(".")[2][:1].isupper()


def modules() -> dict[str, Path]:
    """Every module of the packages by its dotted name."""
    found = {}
    for folder in ("shared", "preprocess", "clair3"):
        for path in (ROOT / folder).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path
    return found


def imports(name: str, path: Path, known: set[str]) -> set[str]:
    """The modules of ours that a module imports, also inside functions and through import_module("...")."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            found |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
    return (found & known) - {name}


def layer(name: str) -> int:
    """Number of the layer with the longest matching name."""
    if is_door(name):
        return len(LAYERS)
    matching = [prefix for prefix in LAYERS if f"{name}.".startswith(f"{prefix}.")]
    return LAYERS.index(max(matching, key=len))


KNOWN = modules()
IMPORTS = {name: imports(name, path, set(KNOWN)) for name, path in KNOWN.items()}


def test_the_packages_are_seen():
    assert {"shared.errors", "clair3.core", "clair3.stages", "preprocess.pileup"} <= set(KNOWN)
    assert "clair3.stages" in IMPORTS["clair3.calling"]


@pytest.mark.parametrize("name", sorted(set(KNOWN) - set(NOT_IMPORTED)))
def test_imports_go_down(name):
    upward = {other for other in IMPORTS[name] if layer(other) > layer(name) and other != "clair3"}
    assert not upward


def test_nothing_imports_a_door():
    assert not [name for name, found in IMPORTS.items() if any(map(is_door, found))]


def test_doors_are_thin():
    doors = [name for name in KNOWN if is_door(name) and name != DISPATCHER]
    assert "preprocess.SortVcf" in doors
    too_long = {name: lines for name in doors if (lines := len(KNOWN[name].read_text().splitlines())) > DOOR_LINES}
    assert not too_long


def test_no_cycles():
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path, name])
        if name in done:
            return
        path.append(name)
        for other in IMPORTS[name] - {"clair3", "shared", "preprocess"}:
            visit(other)
        done.add(path.pop())

    for name in KNOWN:
        visit(name)


def test_only_the_core_imports_the_extension():
    users = [name for name, path in KNOWN.items() if "core._core" in path.read_text()]
    assert sorted(users) == ["clair3.core", "clair3.core.build"]
