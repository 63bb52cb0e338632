"""The C core under AddressSanitizer and UBSan: its own tests again, in a copy of the project built with both."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from examples import EXAMPLES_DIVISOR

from clair3.util.process import cpu_count

pytestmark = [pytest.mark.slow, pytest.mark.sanitizers]

ROOT = Path(__file__).resolve().parents[2]
NOT_HERE = "not speed and not slow"
"""The long runs of these tests are more of the same reads."""
COPIED = ("clair3", "preprocess", "shared", "scripts", "tests", "env", "setup.py", "pyproject.toml", "README.md")


def library(name: str) -> str:
    """Path of a runtime library of gcc."""
    path = subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not os.path.isabs(path):
        pytest.skip(f"gcc has no {name} here")
    return os.path.realpath(path)


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory) -> Path:
    """A copy of the project whose extension is built with the sanitizers."""
    if not sys.platform.startswith("linux") or not shutil.which("gcc"):
        pytest.skip("needs gcc on Linux")
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("sanitized")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in (*COPIED, "LICENSE", "run_clair3.sh"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("*.so", "__pycache__", "build"))
        else:
            shutil.copy(source, checkout / name)
    if (shared := ROOT.parent / "shared").is_dir():
        (folder / "shared").symlink_to(shared)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=checkout,
        env={**os.environ, "CLAIR3_SANITIZE": "1"},
        check=True,
        capture_output=True,
    )
    return checkout


def run(checkout: Path, *command: str) -> subprocess.CompletedProcess:
    """Run Python in the copy with the sanitizers' runtime loaded first."""
    env = {
        **os.environ,
        "LD_PRELOAD": f"{library('libasan.so')} {library('libubsan.so')}",
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",  # Python itself never frees all
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "PYTHONMALLOC": "malloc",
        EXAMPLES_DIVISOR: "5",
    }
    return subprocess.run([sys.executable, *command], cwd=checkout, env=env, capture_output=True, text=True)


CHECKED = (
    *("features/test_ilmn_full_alignment", "legacy/test_realignment_reads", "core/test_short_read_pileup"),
    *("core/test_core_full_alignment", "features/test_full_alignment", "core/test_core", "simulate/test_simulate"),
    *("io/test_damage", "core/test_realignment", "io/test_gvcf", "core/test_core_phasing", "core/test_haplotypes"),
)
"""Names of test files, those that take long first."""


def test_core_under_sanitizers(sanitized):
    """One process a file, as many at a time as there are cores: the sanitizers make everything several times slower."""

    def check(name: str) -> subprocess.CompletedProcess:
        options = ("-q", "-s", "-p", "no:cacheprovider", "-k", NOT_HERE)
        return run(sanitized, "-m", "pytest", *options, f"tests/{name}.py")

    with ThreadPoolExecutor(cpu_count()) as pool:
        for name, done in zip(CHECKED, pool.map(check, CHECKED), strict=True):
            assert done.returncode == 0, f"{name}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
            assert " passed" in done.stdout, name


def test_the_sanitizers_are_on(sanitized):
    """A deliberate misuse is caught, so the test above can fail."""
    code = """
from clair3.core import ffi, lib
bases, lengths = ffi.new("char[]", 4), ffi.new("int32_t[]", [99])
lib.c3_allele_order(bases, lengths, 1, ffi.new("int32_t[2]"), ffi.new("int32_t *"))
"""
    done = run(sanitized, "-c", code)
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr
