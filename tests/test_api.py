"""The Python API: what the command line gives, as values and errors, in a process that belongs to somebody else
(docs/api.md)."""

import gzip
import hashlib
import json
import logging
import os
import pty
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import program
import pysam
import pytest
import torch

import clair3
from clair3.errors import ClairError, ConfigError, InputError, UsageError
from clair3.inference import checkpoint
from clair3.inference.predictor import Predictor

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "tests" / "data" / "sample"
QUICK = {"pileup_only": True, "ctg_name": "chr21", "threads": 2}


def python(code: str, cwd: Path, **streams) -> subprocess.CompletedProcess:
    """Run a script as a user does, in a process without the tests' own limits of threads."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, text=True, check=False, **streams)


@pytest.fixture
def quick(sample, tmp_path):
    """Makes a short call of the small sample into a folder of that name, with further options."""

    def call(name: str = "out", **options) -> clair3.CallResult:
        given = {"model": sample / "model", "platform": "ont", "output": tmp_path / name} | QUICK | options
        return clair3.call(sample / "reads.bam", sample / "ref.fa", **given)

    return call


def unpacked(path: Path) -> bytes:
    """The text of a VCF without the line that says how it was made."""
    return re.sub(rb"##cmdline=.*\n", b"", gzip.decompress(path.read_bytes()))


# Importing


def test_import_loads_nothing_heavy(tmp_path):
    code = "import clair3, sys; print(sorted({'torch', 'numpy', 'pysam', 'tqdm', 'clair3.cli'} & set(sys.modules)))"
    assert python(code, tmp_path, capture_output=True).stdout == "[]\n"


def test_names():
    assert set(clair3.__all__) <= set(dir(clair3))
    assert all(getattr(clair3, name) is not None for name in clair3.__all__)
    with pytest.raises(AttributeError, match="no attribute 'cal'"):
        _ = clair3.cal


def test_type_hints_are_published():
    assert (Path(clair3.__file__).parent / "py.typed").is_file()
    assert '"clair3" = ["py.typed"]' in (ROOT / "pyproject.toml").read_text()


# Calling


def test_call_gives_what_the_command_gives(tmp_path):
    """All stages, with every optional file: the same files, the same text in them, the same words in the log."""
    (tmp_path / "some.bed").write_text("chr20\t40000\t54000\n")
    options = {
        "threads": 2, "bed_fn": tmp_path / "some.bed", "gvcf": True, "qual": 17, "enable_phasing": True,
        "use_whatshap_for_final_output_haplotagging": True,
    }  # fmt: skip
    bam, ref = SAMPLE / "ont.bam", SAMPLE / "ref.fa"
    result = clair3.call(bam, ref, model="ont", platform="ont", output=tmp_path / "api", **options)
    given = {"bam_fn": bam, "ref_fn": ref, "model_path": "ont", "platform": "ont", "output": tmp_path / "cli"} | options
    done = program.clair3("run", *(f"--{name}={'yes' if value is True else value}" for name, value in given.items()))
    assert done.returncode == 0, done.stderr

    folders = tmp_path / "api", tmp_path / "cli"
    names = [sorted(path.relative_to(folder) for path in folder.rglob("*")) for folder in folders]
    assert names[0] == names[1]
    for name in ("pileup.vcf.gz", "full_alignment.vcf.gz", "merge_output.vcf.gz", "merge_output.gvcf.gz"):
        assert unpacked(folders[0] / name) == unpacked(folders[1] / name)
    assert rows(folders[0] / "phased_merge_output.vcf.gz") == rows(folders[1] / "phased_merge_output.vcf.gz")
    assert reads(folders[0] / "phased_output.bam") == reads(folders[1] / "phased_output.bam")
    for name in ("run_clair3.log", *(f"log/{path.name}" for path in (folders[1] / "log").iterdir())):
        assert words(folders[0] / name) == words(folders[1] / name)

    merged = rows(result.vcf)
    passed = [row for row in merged if row[6] == "PASS"]
    snps = [row for row in passed if {len(row[3]), *map(len, row[4].split(","))} == {1}]
    assert 0 < len(snps) < len(passed) < len(merged)
    assert result.vcf == tmp_path / "api" / "merge_output.vcf.gz"
    assert result.gvcf == tmp_path / "api" / "merge_output.gvcf.gz"
    assert result.phased_vcf == tmp_path / "api" / "phased_merge_output.vcf.gz"
    assert result.haplotagged_bam == tmp_path / "api" / "phased_output.bam"
    assert result.counts == {
        "records": len(merged), "pass": len(passed), "snp": len(snps), "indel": len(passed) - len(snps)
    }  # fmt: skip
    assert result.records_per_contig == {"chr20": len(merged)}
    folder = Path(clair3.__file__).parent / "data" / "default_models" / "ont"
    digests = [hashlib.sha256((folder / f"{kind}.pt").read_bytes()).hexdigest() for kind in NETWORKS]
    assert [result.model.pileup_sha256, result.model.full_alignment_sha256] == digests
    assert (result.model.name, result.model.folder) == ("ont", folder)
    assert result.version == clair3.__version__
    assert result.seconds > 0


NETWORKS = ("pileup", "full_alignment")


def rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in unpacked(path).decode().splitlines() if not line.startswith("#")]


def reads(path: Path) -> list[str]:
    with pysam.AlignmentFile(str(path)) as file:
        return [read.to_string() for read in file]


def words(path: Path) -> list[str]:
    """The lines of a log without seconds, memory and the name of the output folder; threads may change their order."""
    return sorted(re.sub(r"\d+\.\d+ (s|GB)|/(api|cli)\b", "", path.read_text()).splitlines())


def test_files_not_asked_for_are_none(quick, tmp_path):
    result = quick()
    assert result.vcf == tmp_path / "out" / "pileup.vcf.gz"
    assert result.gvcf is result.phased_vcf is result.haplotagged_bam is None
    assert result.counts["records"] == len(rows(result.vcf)) > 0


def test_header_has_the_command_that_does_the_same(quick, sample, tmp_path):
    result = quick(ctg_name=["chr21", "chr20"])
    line = next(line for line in gzip.decompress(result.vcf.read_bytes()).decode().split("\n") if "##cmdline" in line)
    assert line == (
        f"##cmdline=clair3 run --bam_fn={sample}/reads.bam --ref_fn={sample}/ref.fa --platform=ont "
        f"--model_path={sample}/model --output={tmp_path}/out --pileup_only=yes --ctg_name=chr21,chr20 --threads=2"
    )


WRONG = [
    ({"min_coverag": 4}, ConfigError, r"no option min_coverag; did you mean min_coverage\?"),
    ({"bam_fn": "x.bam"}, ConfigError, r"no option bam_fn; did you mean bam\?"),
    ({"modell": "ont"}, ConfigError, r"no option modell; did you mean model\?"),
    ({"help": True}, ConfigError, "no option help"),
    ({"version": True}, ConfigError, "no option version"),
    ({"qual": 2.5}, UsageError, "--qual.*invalid int value: '2.5'"),
    ({"gvcf": "perhaps"}, UsageError, "--gvcf.*'perhaps' is neither yes"),
    ({"platform": "sanger"}, UsageError, "--platform.*invalid choice: 'sanger'"),
    ({"bed_fn": ""}, UsageError, "--bed_fn.*empty"),
]


@pytest.mark.parametrize("options, kind, message", WRONG, ids=[next(iter(options)) for options, _, _ in WRONG])
def test_wrong_options_are_errors_before_anything_is_written(quick, tmp_path, options, kind, message):
    with pytest.raises(kind, match=message):
        quick(**options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options, kind, message",
    [
        ({"threads": 0}, ConfigError, "--threads=0"),
        ({"snp_min_af": 2}, ConfigError, "out of range"),
        ({"bed_fn": "missing.bed"}, InputError, "missing.bed"),
        ({"model": "no_such_model"}, InputError, "no_such_model"),
    ],
)
def test_what_a_run_refuses_is_an_error(quick, options, kind, message):
    with pytest.raises(kind, match=message):
        quick(**options)


def test_missing_and_damaged_reads(quick, sample, tmp_path):
    with pytest.raises(InputError, match=r"missing\.bam"):
        clair3.call(tmp_path / "missing.bam", sample / "ref.fa", platform="ont", output=tmp_path / "out")
    (tmp_path / "cut.bam").write_bytes((sample / "reads.bam").read_bytes()[:100_000])
    (tmp_path / "cut.bam.bai").write_bytes((sample / "reads.bam.bai").read_bytes())
    with pytest.raises(ClairError, match=r"cut\.bam"):
        clair3.call(tmp_path / "cut.bam", sample / "ref.fa", platform="ont", output=tmp_path / "out", threads=1)
    assert not list((tmp_path / "out").glob("*.vcf.gz"))


def test_output_that_cannot_be_a_folder(quick, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="out: cannot write"):
        quick()


# The caller's process


class Kept(logging.Handler):
    """A handler that keeps the messages it gets."""

    def __init__(self):
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def callers_logging():
    """Handlers of a program on the root and on the logger of the package; the level of the program is INFO."""
    root, package = logging.getLogger(), logging.getLogger("clair3")
    handlers, levels = (Kept(), Kept()), (root.level, package.level)
    root.addHandler(handlers[0])
    package.addHandler(handlers[1])
    root.setLevel(logging.INFO)
    package.setLevel(logging.NOTSET)
    yield handlers
    root.removeHandler(handlers[0])
    package.removeHandler(handlers[1])
    root.setLevel(levels[0])
    package.setLevel(levels[1])


@pytest.fixture
def two_torch_threads():
    """A program that lets torch use two threads, unlike the runs of these tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def process_state() -> dict:
    """What belongs to the caller."""
    loggers = {name: logging.getLogger(name) for name in ("", "clair3")}
    return {
        "handlers": {name: logger.handlers[:] for name, logger in loggers.items()},
        "levels": {name: (logger.level, logger.propagate) for name, logger in loggers.items()},
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)],
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "torch": (torch.get_num_threads(), in_new_thread(torch.get_num_threads)),
        "htslib": pysam.get_verbosity(),
    }


def in_new_thread(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def test_process_is_as_before(quick, callers_logging, two_torch_threads, monkeypatch, tmp_path):
    """After a run, a refusal of an option, a missing file, and a failure in the middle."""
    monkeypatch.setenv("REF_PATH", "/somewhere")
    before = process_state()
    quick()
    assert process_state() == before
    (tmp_path / "bad.bed").write_text("chr21\t20\t10\n")
    for options, where in (({"var_pct_full": 2}, "options"), ({"bed_fn": tmp_path / "bad.bed"}, "inputs")):
        with pytest.raises(ClairError):
            quick(where, **options)
        assert process_state() == before
    with monkeypatch.context() as patch:
        patch.setattr("clair3.calling.stages.call_tasks", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            quick("middle")
    assert process_state() == before


def test_callers_handlers_get_messages_of_their_level(quick, callers_logging, tmp_path):
    quick()
    for handler in callers_logging:
        messages = [record.getMessage() for record in handler.records if record.name.startswith("clair3")]
        assert sum("1/7 Call variants" in message for message in messages) == 1
        assert all(record.levelno >= logging.INFO for record in handler.records)
    log = (tmp_path / "out" / "run_clair3.log").read_text()
    assert "[INFO] 1/7 Call variants" in log
    assert "[DEBUG] chr21:" in (tmp_path / "out" / "log" / "1_call_var_bam_pileup.log").read_text()


def test_messages_of_the_program_stay_out_of_the_log(quick, tmp_path, monkeypatch):
    from clair3.api import calling

    def summarise(*arguments):
        logging.getLogger("__main__").error("of the program")
        logging.getLogger("clair3.here").error("of the run")
        return original(*arguments)

    original = calling.summarise
    monkeypatch.setattr(calling, "summarise", summarise)
    quick()
    log = (tmp_path / "out" / "run_clair3.log").read_text()
    assert "of the run" in log
    assert "of the program" not in log


def test_nothing_is_printed_even_on_a_terminal(sample, tmp_path):
    """A run with warnings, in a program without any logging, in its main module without a guard."""
    code = (
        "import clair3\n"
        f"clair3.call({str(sample / 'reads.bam')!r}, {str(sample / 'ref.fa')!r}, platform='ont', output='out',\n"
        f"            model={str(sample / 'model')!r}, threads=1, ctg_name='chr21', chunk_num=3)\n"
    )
    terminal, end = pty.openpty()
    try:
        done = python(code, tmp_path, stdout=end, stderr=end)
        os.set_blocking(terminal, False)
        with pytest.raises(BlockingIOError):
            raise AssertionError(os.read(terminal, 10_000).decode())
    finally:
        os.close(terminal)
        os.close(end)
    assert done.returncode == 0
    assert "[WARNING] --chunk_num=3" in (tmp_path / "out" / "run_clair3.log").read_text()


def test_two_threads_call_at_once(quick, tmp_path):
    """Each has its own files and log, and an error of one is no matter of the others."""
    quick("alone")
    (tmp_path / "bad.bed").write_text("chr21\t20\t10\n")
    options = {
        "first": {"ctg_name": "chr21"},
        "second": {"ctg_name": "chr20"},
        "broken": {"bed_fn": tmp_path / "bad.bed"},
    }
    with ThreadPoolExecutor(3) as pool:
        futures = {name: pool.submit(quick, name, **given) for name, given in options.items()}
        with pytest.raises(InputError, match=r"bad\.bed"):
            futures["broken"].result()
        results = {name: futures[name].result() for name in ("first", "second")}
    assert unpacked(results["first"].vcf) == unpacked(tmp_path / "alone" / "pileup.vcf.gz")
    assert {name: list(result.records_per_contig) for name, result in results.items()} == {
        "first": ["chr21"], "second": ["chr20"]
    }  # fmt: skip
    for name in results:
        log = (tmp_path / name / "run_clair3.log").read_text()
        assert log.count("Finish calling") == 1
        assert f"OUTPUT FOLDER: {tmp_path / name}\n" in log


# Evaluation


def test_evaluate_gives_what_the_command_writes(tmp_path):
    """Calls are the truth with some records left out and some made heterozygous."""
    calls = tmp_path / "calls.vcf"
    lines = gzip.decompress((SAMPLE / "truth.vcf.gz").read_bytes()).decode().splitlines(keepends=True)
    header, body = ([line for line in lines if line.startswith("#") == flag] for flag in (True, False))
    body = [re.sub(r"\t1[/|]1", "\t0/1", line) if i % 3 else line for i, line in enumerate(body) if i % 5]
    calls.write_text("".join([header[0], f"##reference={SAMPLE / 'ref.fa'}\n", *header[1:], *body]))
    files = [calls, SAMPLE / "truth.vcf.gz", SAMPLE / "confident.bed", SAMPLE / "ref.fa"]
    done = program.clair3("evaluate", *files, f"--json={tmp_path / 'figures.json'}", "--all_records")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())

    found = clair3.evaluate(*files, all_records=True)
    assert json.loads(json.dumps(found.figures)) == figures
    for name, score in (("SNP", found.snp), ("indel", found.indel), ("all", found.all)):
        values = figures["strata"]["type"][name]
        assert (score.tp, score.tp_calls, score.fp, score.fn, score.genotype_errors) == tuple(
            values[key] for key in ("tp_truth", "tp_calls", "fp", "fn", "genotype_errors")
        )
        assert (score.precision, score.recall, score.f1) == (values["precision"], values["recall"], values["f1"])
        assert min(score.tp, score.fp, score.fn, score.genotype_errors) > 0

    everywhere = clair3.evaluate(*files[:2], all_records=True)  # regions and reference not given
    truths = sum(not line.startswith("#") for line in lines)
    assert everywhere.all.tp + everywhere.all.fn == truths >= found.all.tp + found.all.fn


def test_evaluate_without_a_reference(tmp_path):
    with pytest.raises(InputError, match="names no reference that is here"):
        clair3.evaluate(SAMPLE / "truth.vcf.gz", SAMPLE / "truth.vcf.gz")
    with pytest.raises(InputError, match=r"missing\.vcf"):
        clair3.evaluate(tmp_path / "missing.vcf", SAMPLE / "truth.vcf.gz", ref=SAMPLE / "ref.fa")


# Networks


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    """Random tensors of both networks; more than one worker takes at a time."""
    rng = np.random.default_rng(20)
    full = rng.integers(-100, 100, (40, 89, 33, 8)).astype(np.int8)
    full[::2, :30] = full[::2, 60:] = 0  # empty rows, which the predictor leaves out
    return {"pileup": rng.integers(-40, 40, (560, 33, 18)).astype(np.int32), "full_alignment": full}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("threads", [1, 3])
def test_predict_gives_the_bits_of_a_run(sample, tensors, kind, threads, two_torch_threads):
    before = torch.get_num_threads(), in_new_thread(torch.get_num_threads)
    found = clair3.load_model(sample / "model", threads=threads).predict(tensors[kind])
    assert (torch.get_num_threads(), in_new_thread(torch.get_num_threads)) == before
    torch.set_num_threads(1)
    expected = Predictor(checkpoint.load_model(sample / "model" / f"{kind}.pt", kind))(tensors[kind])
    assert found.dtype == np.float32
    assert np.array_equal(found.view(np.int32), expected.view(np.int32))


def test_predict_from_several_threads(sample, tensors):
    model = clair3.load_model(str(sample / "model"))
    expected = model.predict(tensors["pileup"])
    parts = [tensors["pileup"][start : start + 100] for start in range(0, 560, 100)]
    with ThreadPoolExecutor(3) as pool:
        assert np.array_equal(np.concatenate(list(pool.map(model.predict, parts))), expected)


def test_predict_nothing(sample):
    model = clair3.load_model(sample / "model")
    assert model.predict(np.empty((0, 33, 18), np.int32)).shape[0] == 0
    assert model.predict(np.empty((0, 89, 33, 8), np.int8)).shape == (0, 90)


def test_model_of_the_package_by_name():
    model = clair3.load_model("ont")
    assert model.files.name == "ont"
    assert model.files.pileup_sha256 == hashlib.sha256((model.files.folder / "pileup.pt").read_bytes()).hexdigest()
    assert model.predict(np.zeros((1, 33, 18), np.int32)).shape == (1, 24)
    assert not model.pileup.training
    assert not model.full_alignment.training


@pytest.mark.parametrize(
    "shape, dtype",
    [((2, 33, 18), np.float32), ((2, 33, 17), np.int32), ((33, 18), np.int32), ((2, 89, 33, 9), np.int8)],
)
def test_other_tensors_are_refused(sample, shape, dtype):
    with pytest.raises(ConfigError, match=r"expected \(n, 33, 18\) int32"):
        clair3.load_model(sample / "model").predict(np.zeros(shape, dtype))


@pytest.mark.parametrize(
    "name, options, kind, message",
    [
        ("no_such_model", {}, InputError, "Model path not found"),
        ("auto", {}, ConfigError, "give a name or a folder"),
        ("ont", {"device": "abacus"}, ConfigError, "abacus"),
        ("ont", {"device": "cuda:99"}, ConfigError, "cuda"),
        ("ont", {"threads": 0}, ConfigError, "threads"),
        ("ont", {"conv_padding": "wide"}, ConfigError, "wide"),
    ],
)
def test_models_that_cannot_be_loaded(name, options, kind, message):
    with pytest.raises(kind, match=message):
        clair3.load_model(name, **options)


def test_damaged_model(sample, tmp_path):
    for kind in NETWORKS:
        (tmp_path / f"{kind}.pt").write_bytes((sample / "model" / f"{kind}.pt").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"pileup\.pt"):
        clair3.load_model(tmp_path)


# The page


def test_examples_of_the_page(tmp_path):
    (tmp_path / "sample").symlink_to(SAMPLE)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "api.md").read_text(), re.M | re.S)
    assert len(blocks) == 5
    done = python("\n".join(blocks), tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == str(tmp_path / "calls" / "merge_output.vcf.gz")
    assert said[1].startswith("{'records': 2")
    assert all(float(number) > 0.9 for number in said[3].split())  # precision and recall of SNPs, F1 of indels
    assert "call() has no option min_coverag; did you mean min_coverage?" in said
    assert "(10, 24) (4, 90)" in said[-1]
    assert "INFO:clair3.calling.pipeline:1/7 Call variants using pileup model" in done.stderr
