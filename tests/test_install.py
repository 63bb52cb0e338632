"""Installing: as an isolated wheel with htslib from either place, without a compiler, without the extension."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pysam
import pytest

from clair3.cli.main import main as clair3
from clair3.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
IGNORED = shutil.ignore_patterns(
    "*.so", "__pycache__", "build", "*.egg-info", ".venv", ".venv-tf", ".git", "demo", ".*_cache", ".hypothesis"
)


def pip(*arguments, **environment) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def copy_of_checkout(folder: Path) -> Path:
    """A copy of the project as a clean clone has it."""
    return Path(shutil.copytree(ROOT, folder, ignore=IGNORED))


@pytest.fixture
def checkout(tmp_path) -> Path:
    return copy_of_checkout(tmp_path / "checkout")


CALL = """
import sys
from pathlib import Path
import numpy as np
from clair3 import core
from clair3.config import CandidateOptions
from clair3.records import Region
source = core.Source(sys.argv[1], sys.argv[2])
found = core.pileup(source, Region("chr20", 0, 60_000), CandidateOptions(), np.array([[0, 60_000]]))
print(core.__file__, len(found), core.htslib_path(), sep="\\n")
"""


@pytest.mark.slow
def test_wheel(checkout, sample_reads, tmp_path):
    """A wheel built in isolation with the htslib of pysam, installed elsewhere, reads BAM through that."""
    data = ("models.json", "default_models/one/model.json", "default_models/one/pileup.pt")
    for name in data[1:]:
        (checkout / "clair3" / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / "clair3" / "data" / name).write_text("{}")
    built = pip("wheel", "--no-deps", "-w", tmp_path, checkout, CLAIR3_HTSLIB="pysam")
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    (wheel,) = tmp_path.glob("clair3_torch-*.whl")
    target = tmp_path / "site"
    installed = pip("install", "-q", "--no-deps", "--target", target, wheel, f"pysam=={pysam.__version__}")
    assert installed.returncode == 0, installed.stderr[-2000:]
    command = [sys.executable, "-c", CALL, str(sample_reads / "reads.bam"), str(sample_reads / "ref.fa")]
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    where, found, used = done.stdout.splitlines()
    assert Path(where).is_relative_to(target)
    assert int(found) > 50
    assert all((target / "clair3" / "data" / name).is_file() for name in data)
    assert Path(used).name.startswith("libchtslib")
    assert {"clair3", "clair3.py", "clair3-convert-tf", "run_clair3.py", "run_clair3.sh"} <= {
        path.name for path in (target / "bin").iterdir()
    }
    (extension,) = (target / "clair3" / "core").glob("_core*.so")  # finds its library by its own path, too
    alone = subprocess.run([sys.executable, "-c", f"import ctypes; ctypes.CDLL({str(extension)!r})"], cwd=tmp_path)
    assert alone.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="names of wheels and libraries of Linux")
def test_wheel_with_its_own_htslib(checkout, tmp_path):
    """What scripts/build_wheel.sh builds is for every Python, and calls the sample outside the checkout without a
    compiler."""
    if subprocess.run(["pkg-config", "--exists", "htslib"]).returncode:
        pytest.skip("no htslib known to pkg-config here")
    command = ["bash", checkout / "scripts" / "build_wheel.sh", tmp_path / "dist"]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    (sdist,), (wheel,) = ((tmp_path / "dist").glob(pattern) for pattern in ("*.tar.gz", "*.whl"))
    assert re.fullmatch(r"clair3_torch-[\d.]+-cp310-abi3-manylinux_\d+_\d+_\w+\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as files:
        assert {name.split("/")[0] for name in files.namelist()} == {
            *("clair3", "clair3_torch.libs"),
            *(f"clair3_torch-{VERSION}.{kind}" for kind in ("data", "dist-info")),
        }
    with tarfile.open(sdist) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    assert {
        "docs/spec/features.md",
        "tests/conftest.py",
        "tests/helpers/small_sample.py",
        "env/constraints.txt",
    } <= names
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n")
    binaries = tmp_path / "venv" / "bin"
    environment = {"PATH": f"{binaries}:/usr/bin:/bin", "CC": "no-such-cc", "HOME": str(tmp_path)}
    command = [binaries / "python", "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", wheel]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    reads = ROOT / "tests" / "data" / "sample"
    words = [f"--bam_fn={reads / 'ont.bam'}", f"--ref_fn={reads / 'ref.fa'}", "--platform=ont", "--threads=1"]
    for program in (["run_clair3.sh"], ["python", binaries / "clair3.py", "run"]):
        output = tmp_path / Path(program[-1]).name
        done = subprocess.run(
            ["/usr/bin/env", *program, *words, f"--output={output}"],
            capture_output=True, text=True, cwd=tmp_path, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        with pysam.VariantFile(str(output / "merge_output.vcf.gz")) as vcf:
            assert sum(1 for _ in vcf) > 100
    code = "import clair3.core as core; print(core.__file__, core.htslib_path(), sep='\\n')"
    said = subprocess.check_output([binaries / "python", "-c", code], text=True, cwd=tmp_path, env=environment)
    module, library = map(Path, said.splitlines())
    assert module.is_relative_to(site) and library.parent.name == "clair3_torch.libs" and "libhts" in library.name


def test_the_package_holds_no_entry_scripts(checkout, tmp_path):
    """What is installed is clair3 alone, without the paths of v2.0.2's commands in it."""
    command = [sys.executable, "setup.py", "-q", "build_py", f"--build-lib={tmp_path / 'lib'}"]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True)
    built = [path.relative_to(tmp_path / "lib") for path in (tmp_path / "lib").rglob("*.py")]
    assert {path.parts[0] for path in built} == {"clair3"}
    assert [path.name for path in built if path.name[0].isupper()] == []
    assert Path("clair3/cli/main.py") in built


@pytest.mark.slow
def test_no_compiler(checkout):
    """One sentence says what is missing."""
    built = pip(
        "install", "--no-deps", "--no-build-isolation", "--target", checkout / "site", checkout, CC="no-such-cc"
    )
    assert built.returncode != 0
    assert "needs a C compiler and found no no-such-cc" in built.stdout + built.stderr


def test_no_extension(checkout, sample):
    """The program without its C core ends with one line that tells how to build it."""
    options = [
        f"--bam_fn={sample / 'reads.bam'}",
        f"--ref_fn={sample / 'ref.fa'}",
        f"--model_path={sample / 'model'}",
        f"--output={checkout / 'out'}",
    ]
    command = [sys.executable, "-m", "clair3", "run", *options, "--platform=ont", "--threads=1", "--pileup_only"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=checkout)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("[ERROR]")]
    assert "the C core is not built" in line and "pip install" in line
    assert "Traceback" not in done.stderr
    assert not list((checkout / "out").glob("*.vcf.gz"))


def test_wrapper_without_the_command(tmp_path):
    """run_clair3.sh says how to install when nothing is installed."""
    shutil.copy(ROOT / "run_clair3.sh", tmp_path)
    done = subprocess.run(
        ["bash", tmp_path / "run_clair3.sh", "--help"], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}
    )
    assert done.returncode == 1
    assert "not installed" in done.stderr and "pip install" in done.stderr


def test_version(capsys):
    clair3(["--version"])
    assert capsys.readouterr().out == f"clair3-torch {VERSION}, compatible with Clair3 v2.0.2\n"


@pytest.mark.parametrize("script", ["run_clair3.py", "clair3.py"])
def test_scripts_in_the_checkout(script, tmp_path):
    """They work from any folder."""
    more = ["run"] if script == "clair3.py" else []
    command = [sys.executable, ROOT / "scripts" / script, *more, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Clair3 v2.0.2\n")


@pytest.mark.parametrize(
    "words, code, out, err",
    [
        ([], 0, "pileup", ""),
        (["--help"], 0, "run", ""),
        (["Nothing"], 1, "", "[ERROR] Submodule Nothing not found."),
    ],
)
def test_dispatcher(capsys, words, code, out, err):
    try:
        clair3(words)
        found = 0
    except SystemExit as stop:
        found = stop.code
    printed = capsys.readouterr()
    assert found == code and out in printed.out and err in printed.err
