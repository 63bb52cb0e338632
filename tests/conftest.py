"""Fixtures shared by all tests."""

import sys
from importlib.metadata import version
from pathlib import Path

from clair3.util.process import limit_library_threads

limit_library_threads()  # as the command line does, before NumPy and torch are loaded

import pytest  # noqa: E402
import small_sample  # noqa: E402
from hypothesis import settings  # noqa: E402

from clair3.config import CallingConfig, CandidateOptions, SelectionOptions  # noqa: E402
from clair3.phasing.whatshap_worker import CHECKED  # noqa: E402
from clair3.platforms import PLATFORMS  # noqa: E402

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent


LONGEST = ("test_sanitizers.py", "test_docs_training.py", "test_whole_pipeline.py", "test_workflow.py")
"""Test files that take minutes: begun first, so that no process works at one of them alone at the end."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Letters that no file can hold, in what a test has said, would end the processes that share the tests."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of golden data beside the project; tests that need it skip without it."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("golden data not found: ../shared/data is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def sample_reads(tmp_path_factory) -> Path:
    """A folder with the reads of the small sample: reads.bam, ref.fa, truth.vcf.gz, confident.bed."""
    folder = tmp_path_factory.mktemp("sample")
    small_sample.make_reads(folder)
    return folder


@pytest.fixture(scope="session")
def sample(sample_reads) -> Path:
    """The small sample: its reads, and model/ with seeded random weights."""
    small_sample.make_model(sample_reads / "model")
    return sample_reads


@pytest.fixture(scope="session")
def short_sample(tmp_path_factory, sample) -> Path:
    """A folder with pairs of short reads of another genome, as sample has them; the model is the same."""
    folder = tmp_path_factory.mktemp("short_sample")
    small_sample.make_reads(folder, small_sample.PAIRS)
    (folder / "model").symlink_to(sample / "model")
    return folder


@pytest.fixture
def platform() -> str:
    """What run_config calls; a test that is for others too has it as a parameter."""
    return "ont"


@pytest.fixture
def run_config(platform, request, tmp_path) -> CallingConfig:
    """A run of all stages on the sample with two threads, into an empty folder."""
    short_reads = PLATFORMS[platform].short_reads
    sample = request.getfixturevalue("short_sample" if short_reads else "sample")
    return CallingConfig(
        bam=sample / "reads.bam",
        reference=sample / "ref.fa",
        model_dir=sample / "model",
        threads=2,
        platform=platform,
        output=tmp_path / "out",
        candidates=CandidateOptions(short_read_rules=short_reads),
        selection=SelectionOptions(0.95, 0.95, 0.95),  # an untrained network is seldom sure of anything
        command_line="run_clair3.sh",
    )


@pytest.fixture
def training_config(tmp_path):
    """Makes the configuration of a small training run into an empty folder."""
    from clair3.training.trainer.config import TrainingConfig

    def make(**values) -> TrainingConfig:
        defaults = {
            "platform": "hifi", "bins": tmp_path / "bins", "prefix": tmp_path / "out" / "small", "kind": "pileup",
            "heads": 2, "epochs": 2, "batch": 100, "device": "cpu", "threads": 1, "plots": False, "workers": 0,
        }  # fmt: skip
        return TrainingConfig(**(defaults | values))

    return make


@pytest.fixture
def checked():
    """The installed WhatsHap is one that the solver is used with."""
    if (found := version("whatshap")) not in CHECKED:
        pytest.skip(f"WhatsHap {found} is installed; the solver was compared with {', '.join(CHECKED)}")


@pytest.fixture
def program(tmp_path):
    """An executable Python script with this text; its arguments are the list `args`."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\nimport os, sys, time\nargs = sys.argv[1:]\n{text}")
        path.chmod(0o755)
        return path

    return write
