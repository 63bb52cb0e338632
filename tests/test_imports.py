"""Imports go one way, as [tool.importlinter] in pyproject.toml says, and only clair3.core imports the C core."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="import-linter is not installed")

ROOT = Path(__file__).resolve().parents[1]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint_imports(folder: Path) -> subprocess.CompletedProcess:
    """Hold the package in a folder against the contracts of the pyproject.toml there."""
    command = [sys.executable, "-c", LINT, "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_imports_go_down():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "module, text, reason",
    [
        ("util/upward.py", "import clair3.cli.main\n", "clair3.util.upward -> clair3.cli.main"),
        ("cli/backward.py", "from clair3.legacy import options\n", "clair3.cli.backward -> clair3.legacy"),
        ("unlisted.py", "", "clair3.unlisted"),
    ],
)
def test_upward_imports_and_unlisted_modules_are_found(tmp_path, module, text, reason):
    shutil.copytree(ROOT / "clair3", tmp_path / "clair3", ignore=lambda folder, names: {
        name for name in names if not (name.endswith(".py") or (Path(folder) / name).is_dir())
    })  # fmt: skip
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "clair3" / module).write_text(text)
    done = lint_imports(tmp_path)
    assert done.returncode == 1 and reason in " ".join(done.stdout.split()), done.stdout


def imports_extension(source: str) -> bool:
    """Whether a module imports the compiled C core; import-linter does not see compiled modules."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            if node.module == "clair3.core._core" or "_core" in {alias.name for alias in node.names}:
                return True
        elif isinstance(node, ast.Import) and "clair3.core._core" in {alias.name for alias in node.names}:
            return True
    return False


@pytest.mark.parametrize(
    "source", ["from clair3.core._core import lib", "from clair3.core import _core", "import clair3.core._core as c"]
)
def test_imports_of_the_extension_are_seen(source):
    assert imports_extension(source)


def test_one_module_imports_the_extension():
    modules = (ROOT / "clair3").rglob("*.py")
    importers = [path.relative_to(ROOT).as_posix() for path in modules if imports_extension(path.read_text())]
    assert importers == ["clair3/core/__init__.py"]
