"""Fixtures shared by all tests."""

from pathlib import Path

import pytest

from scripts import make_sample

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of golden data beside the project; tests that need it skip without it."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("golden data not found: ../shared/data is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Path:
    """The README's sample: reads.bam, ref.fa, truth.vcf.gz and model/ with seeded random weights."""
    folder = tmp_path_factory.mktemp("sample")
    make_sample.make_reads(folder)
    make_sample.make_model(folder / "model")
    return folder
