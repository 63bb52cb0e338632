"""Each row of docs/differences.md names a test, and that test is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CITED = re.compile(r"`(test_\w+\.py)(?:::(\w+))?")


def find_missing(text: str) -> list[str]:
    """Return the tests that a text names as `test_x.py::test_y` and that are not in tests/, by file or beginning."""
    sources: dict[str, str] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        sources[path.name] = sources.get(path.name, "") + path.read_text()
    missing = []
    for file, name in CITED.findall(text):
        if file not in sources or (name and not re.search(rf"^(def )?{name}", sources[file], re.M)):
            missing.append(f"{file}::{name}")
    return missing


def test_tests_of_the_differences_are_there():
    text = (ROOT / "docs" / "differences.md").read_text()
    assert len(CITED.findall(text)) > 50
    assert find_missing(text) == []


@pytest.mark.parametrize("text", ["`test_nothing.py`", "`test_docs_differences.py::test_that_nobody_wrote`"])
def test_missing_tests_are_seen(text):
    assert len(find_missing(text)) == 1
