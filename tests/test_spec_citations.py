"""Every rule of docs/spec that code, tests and docs cite is there (docs/spec/README.md says how rules are cited)."""

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "docs" / "spec"
SUFFIXES = {".py", ".c", ".h", ".md", ".sh", ".toml", ".yaml", ".yml"}
SKIPPED = {"build", "dist", "__pycache__"}
NUMBERED_PAGES = ("calling", "cli", "models", "performance")
"""Pages whose sections have no letters."""

SPACE = r"(?:[ \t]*\n[ \t]*(?:[#*]+[ \t]+)?|[ \t]+)"
"""A blank, or the end of a line and what leads in the next line of a comment."""

NUMBER = r"(?:E-[BKN]\d+|\d+ [A-G]\d+|[A-G](?:\.\d+)+|[A-G] ?\d+|\d+(?:\.\d+)*|[A-G])\b"
PAGE = r"\b(features|calling|cli|models|training|performance)\.md`?"
CITATION = re.compile(rf"{PAGE}{SPACE}({NUMBER}(?:(?:,{SPACE}no\. |,{SPACE}|{SPACE}and{SPACE}| ?- ?){NUMBER})*)")
ANY_PAGE = re.compile(PAGE)

DOTTED = re.compile(r"(?<![\w.])[A-G](?:\.\d+)+\b")
ENGINE_QUIRK = re.compile(r"\bE-[BKN]\d+\b")
QUIRKS = re.compile(r"\(([A-G]\d+(?:(?:, | and | - )[A-G]\d+)*)[),;]")
PLAIN = re.compile(r"(?<! in)(?<! else)(?<=[a-z]) \((\d\d?\.\d\d?(?:(?:, | - )\d\d?\.\d\d?)*)\)")
SECTION = re.compile(r"\bsections? (\d+(?:\.\d+)*|[A-G](?:\.\d+)*)\b")
SHORT_PAGE = re.compile(r"\((calling|cli|training) ([A-G]\.?\d+|\d+(?:\.\d+)*)\b")


class Citation(NamedTuple):
    """A rule number of a page, as cited in a line of a file."""

    place: str
    page: str
    number: str


@cache
def rule_numbers(page: str) -> frozenset[str]:
    """The numbers under which rules of a page of docs/spec can be cited; none for a page that is not there.

    Those of its headings (B, B.5, 6.3); of items of lists and rows of tables, behind that of the heading they stand
    under (C.13.2, 9.12); of quirks alone and behind their section (A7, 15 A7, E-K1); of rows under a heading of one
    letter also without the dot (F3).
    """
    path, numbers, section = SPEC / f"{page}.md", set(), ""
    for line in path.read_text().splitlines() if path.is_file() else ():
        if found := re.match(r"#+ ([A-G](?:\.\d+)*|\d+(?:\.\d+)*)\.? ", line):
            section = found[1]
            numbers.add(section)
        elif found := re.match(r" {0,3}(?:(\d+)\. |\| (\d+) \|)", line):
            item = found[1] or found[2]
            numbers.add(f"{section}.{item}")
            if section.isalpha():
                numbers.add(section + item)
        elif found := re.match(r"(?:\* |\| )([A-GKN]\d+) ", line):
            chapter = section.partition(".")[0]
            numbers |= {found[1], f"{chapter}-{found[1]}"} if chapter.isalpha() else {found[1], f"{chapter} {found[1]}"}
    return frozenset(numbers)


def is_rule(page: str, number: str) -> bool:
    """Whether a page has a rule of this number, however it is spaced."""
    spaced = re.sub(r"^([A-G]) (?=\d)", r"\1", number)
    return spaced in rule_numbers(page)


def iter_sources() -> Iterator[tuple[str, str]]:
    """Path relative to the checkout and text of every file that may cite a rule, but for this one."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in SKIPPED)
        for path in (Path(folder, name) for name in sorted(files)):
            if path.suffix in SUFFIXES and path != Path(__file__).resolve():
                yield str(path.relative_to(ROOT)), path.read_text()


SOURCES = dict(iter_sources())


def find_citations(name: str, text: str) -> Iterator[Citation]:
    """The rules that a text cites by page and number."""
    for found in CITATION.finditer(text):
        place = f"{name}:{text.count(chr(10), 0, found.start()) + 1}"
        listed = re.sub(rf",{SPACE}no\. ", ".", found[2])
        for number in re.findall(NUMBER, listed):
            yield Citation(place, found[1], number)


def find_numbers_alone(name: str, text: str) -> Iterator[Citation]:
    """Rules cited by number alone, with the pages that may have it: of spec pages the page itself, else those that the
    file cites, or any when it cites none."""
    cited = set(ANY_PAGE.findall(text))
    own = {Path(name).stem} if Path(name).parts[:2] == ("docs", "spec") else set()

    def among(*pages: str) -> str:
        return " ".join(sorted(own | (cited & set(pages)) or pages))

    for found in ENGINE_QUIRK.finditer(text):
        yield Citation(name, "features", found[0])
    for found in DOTTED.finditer(text):
        yield Citation(name, among("features", "training"), found[0])
    for found in QUIRKS.finditer(text):
        for number in re.findall(NUMBER, found[1]):
            yield Citation(name, among("features", "calling", "training"), number)
    for found in SHORT_PAGE.finditer(text):
        yield Citation(name, found[1], found[2])
    if cited:
        for found in SECTION.finditer(text):
            yield Citation(name, " ".join(sorted(own | cited)), found[1])
    for found in PLAIN.finditer(text) if cited & set(NUMBERED_PAGES) else ():
        for number in re.findall(NUMBER, found[1]):
            yield Citation(name, among(*NUMBERED_PAGES), number)


def unresolved(citations: Iterator[Citation]) -> list[Citation]:
    """Those for which no named page has a rule."""
    return [one for one in citations if not any(is_rule(page, one.number) for page in one.page.split())]


def test_cited_rules_are_there():
    citations = [one for name, text in SOURCES.items() for one in find_citations(name, text)]
    assert unresolved(citations) == []
    assert len(citations) > 200
    assert {one.page for one in citations} == {"features", "calling", "cli", "models", "training", "performance"}


def test_rules_cited_by_number_alone_are_there():
    citations = [one for name, text in SOURCES.items() for one in find_numbers_alone(name, text)]
    assert unresolved(citations) == []
    assert len(citations) > 100


@pytest.mark.parametrize(
    "text, numbers",
    [
        ("(spec/features.md B.5)", ["B.5"]),
        ("spec/cli.md 2.5, 9.4).", ["2.5", "9.4"]),
        ("# one (spec/models.md 1-4 and 8).", ["1", "4", "8"]),
        ("(spec/calling.md 2.3 - 3.5). Letters", ["2.3", "3.5"]),
        ("spec/cli.md 3, no. 12).", ["3.12"]),
        ("calling.md 15 C4", ["15 C4"]),
        ("calling.md C10)", ["C10"]),
        ("features.md E-K1", ["E-K1"]),
        ("training.md F 13", ["F 13"]),
        ("(spec/cli.md 8, CheckExitCode)", ["8"]),
        ("in spec/features.md\n * C.5, C.6", ["C.5", "C.6"]),
        ("in spec/features.md\n    # C.5,\n    # C.6", ["C.5", "C.6"]),
        ("the page docs/training.md says more", []),
    ],
)
def test_forms_of_citations(text, numbers):
    citations = list(find_citations("x.py", text))
    assert [one.number for one in citations] == numbers
    assert unresolved(citations) == []


@pytest.mark.parametrize(
    "text",
    ["spec/features.md B.99", "spec/features.md C.13.99", "spec/cli.md 9.21", "calling.md 14", "calling.md 15 C14",
     "calling.md 3.6", "spec/training.md D", "training.md F31", "features.md E-K99", "spec/performance.md 5",
     "spec/cli.md 3, no. 17"],
)  # fmt: skip
def test_a_rule_that_is_not_there_is_found(text):
    assert len(unresolved(find_citations("x.py", text))) == 1


@pytest.mark.parametrize(
    "text",
    ["(E-K99)", "spec/features.md B (B.99)", "(A13)", "(cli 9.21)", "spec/training.md A (C.13)",
     "spec/calling.md 6, as told (6.9)", "spec/models.md 1, see section 15"],
)  # fmt: skip
def test_a_number_alone_that_is_not_there_is_found(text):
    assert len(unresolved(find_numbers_alone("x.py", text))) == 1


def test_citations_name_the_folder():
    """docs/ has a models.md and a training.md of its own."""
    bare = [
        f"{name}: {found[0]}"
        for name, text in SOURCES.items()
        if not name.startswith("docs/spec")
        for found in CITATION.finditer(text)
        if not text[: found.start()].endswith("spec/")
    ]
    assert bare == []


def test_pages_outside_the_repository_are_not_cited():
    notes = "design" + ".md"
    assert [name for name, text in SOURCES.items() if notes in text] == []


@pytest.mark.parametrize("page", sorted(path.stem for path in SPEC.glob("*.md")))
def test_pages_are_well_formed(page):
    """Headings have numbers of their own, and every row of a table has the cells of its first."""
    text = re.sub(r"(?s)```.*?```", "", (SPEC / f"{page}.md").read_text())
    headings = re.findall(r"(?m)^#+ ([A-G](?:\.\d+)*|\d+(?:\.\d+)*)\.? ", text)
    assert len(headings) == len(set(headings))
    for table in re.findall(r"(?m)(?:^[ \t]*\|.*\n)+", text):
        rows = [re.findall(r"(?<!\\)\|", row) for row in table.splitlines()]
        assert {len(row) for row in rows} == {len(rows[0])}, table
        assert re.fullmatch(r"[ \t]*(\|\s*:?-+:?\s*)+\|", table.splitlines()[1]), table
