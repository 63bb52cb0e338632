"""The whole program on the sample: same bytes however the work is cut, complete or absent, honest about what failed."""

import gzip
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import program
import pysam
import pytest
from golden_runs import PARITY

from clair3.calling import pipeline, stages, tasks
from clair3.config import CallingConfig, CandidateOptions
from clair3.errors import ClairError, CoreError
from clair3.inference.checkpoint import load_model, save_model
from clair3.model import Clair3_P


@pytest.fixture
def config(run_config) -> CallingConfig:
    """A run of the pileup stage."""
    return replace(run_config, pileup_only=True)


def call(config: CallingConfig, **changes) -> bytes:
    """The text of the VCF of a run with some options changed."""
    config = replace(config, **changes)
    config.output.mkdir(exist_ok=True, parents=True)
    return gzip.decompress(pipeline.call_variants(config).read_bytes())


def records(text: bytes) -> list[str]:
    return [line for line in text.decode().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("options", [{}, {"gvcf": True, "print_ref_calls": True}], ids=["default", "gvcf"])
def test_same_bytes_for_any_threads_and_chunks(config, options):
    whole = call(config, threads=1, **options)
    assert len(records(whole)) > 50
    for threads, chunk_size in ((1, 7_001), (2, 50_000), (2, 100_000), (5, 7_001), (5, 5_000_000)):
        assert call(config, threads=threads, chunk_size=chunk_size, **options) == whole, (threads, chunk_size)


@pytest.mark.parametrize("platform", ["ont", "hifi"])
@pytest.mark.parametrize("head_and_tail", [False, True])
def test_same_bytes_on_golden_reads(config, platform, head_and_tail):
    config = replace(
        config,
        bam=PARITY / "reads" / f"{platform}.bam",
        reference=PARITY / "reads" / "ref.fa",
        model_dir=PARITY / "models" / platform,
        include_all_ctgs=True,
        print_ref_calls=True,
        candidates=CandidateOptions(head_and_tail=head_and_tail),
    )
    whole = call(config, threads=1)
    assert records(whole)
    for threads, chunk_size in ((1, 50_000), (5, 5_000)):
        assert call(config, threads=threads, chunk_size=chunk_size) == whole, (threads, chunk_size)


@pytest.mark.parametrize("platform", ["ont", "hifi"])
def test_reads_that_share_a_name_count_each(run_config, tmp_path, caplog):
    """Records are those of the same reads with unique names, and a warning tells how many share one."""
    selection = replace(run_config.selection, var_pct_phasing=None)
    config = replace(run_config, ctg_names=("chr21",), selection=selection)
    unique = call(config, output=tmp_path / "unique")
    assert "the name of another read" not in caplog.text
    bam = tmp_path / "shared.bam"
    with pysam.AlignmentFile(str(config.bam)) as file, pysam.AlignmentFile(str(bam), "wb", template=file) as out:
        for i, read in enumerate(file.fetch("chr21")):
            read.query_name = f"read{i // 2}"
            out.write(read)
    pysam.index(str(bam))
    shared = call(config, output=tmp_path / "shared", bam=bam)
    assert records(shared) == records(unique)
    assert sum("\tF\t" in record for record in records(shared)) > 10
    (warning,) = [record.getMessage() for record in caplog.records if "the name of another read" in record.getMessage()]
    assert warning.startswith(f"{bam}: {(i + 1) // 2} reads have")


def test_bed_and_sites_do_not_depend_on_chunks(config, sample, tmp_path):
    bed = tmp_path / "targets.bed"
    bed.write_text("chr20\t1000\t9000\nchr20\t8000\t8500\nchr20\t40000\t40000\nchr21\t0\t100000\n")
    for options in ({"bed": bed}, {"sites": sample / "truth.vcf.gz", "candidates": CandidateOptions(2, 2, 0.0, 0.0)}):
        whole = call(config, print_ref_calls=True, **options)
        assert records(whole)
        assert call(config, print_ref_calls=True, chunk_size=3_000, **options) == whole


def test_the_vcf_can_be_read(config):
    call(config)
    with pysam.VariantFile(str(config.output / "pileup.vcf.gz")) as calls:
        assert list(calls.header.contigs) == ["chr20", "chr21"]
        assert list(calls.header.samples) == ["SAMPLE"]
        whole = [(row.contig, row.pos) for row in calls]
        assert whole == sorted(whole)
        assert [(row.contig, row.pos) for row in calls.fetch("chr21")] == [at for at in whole if at[0] == "chr21"]


def test_final_filters(config):
    """What --pileup_only leaves out and changes (spec/calling.md 8.4, C3 fixed)."""
    stage = gzip.decompress(pipeline.call_variants(replace(config, output=made(config.output)), False).read_bytes())
    alleles = [line.split("\t")[4] for line in records(stage)]
    assert 0 < alleles.count(".") < len(alleles)
    assert len(records(call(config))) == len(alleles) - alleles.count(".")
    assert len(records(call(config, print_ref_calls=True))) == len(alleles)
    quals = [float(line.split("\t")[5]) for line in records(stage) if line.split("\t")[4] != "."]
    limit = int(np.median(quals))
    low = [line.split("\t")[6] == "LowQual" for line in records(call(config, qual=limit))]
    assert low == [qual <= max(limit, 1.99) for qual in quals]
    genotypes = {line.split("\t")[9].split(":")[0] for line in records(call(config, haploid="sensitive"))}
    assert genotypes <= {"0", "1"} and "1" in genotypes


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_no_reads_in_the_contig(config):
    """Nothing to call is an ordinary outcome: header-complete, indexed VCFs."""
    made(config.output)
    pipeline.call_variants(replace(config, min_contig_size=100_000))
    for name in ("pileup.vcf.gz", "merge_output.vcf.gz"):
        with pysam.VariantFile(str(config.output / name)) as calls:
            assert list(calls) == [] and len(calls.header.contigs) == 2
        assert (config.output / f"{name}.tbi").exists()


def test_no_candidates(config):
    rule = CandidateOptions(min_coverage=10_000)
    assert records(call(config, candidates=rule)) == []
    assert (config.output / "pileup.vcf.gz.tbi").exists()


def test_a_failing_chunk_fails_the_run(config, monkeypatch):
    """No file under a final name, and the region in the message."""
    good = stages.iter_pileup

    def fails_once(source, chunk, *rest):
        if chunk.contig == "chr21":
            raise CoreError(f"{source.name} {chunk.region}: made to fail")
        return good(source, chunk, *rest)

    call(config)
    monkeypatch.setattr(stages, "iter_pileup", fails_once)
    with pytest.raises(CoreError, match="chr21:1-10000: made to fail"):
        call(config, chunk_size=10_000)
    assert sorted(path.name for path in config.output.iterdir()) == [".clair3.lock", "log", "run_clair3.log", "tmp"]


@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "stale"])
def test_the_merge_checks_every_result(config, monkeypatch, damage):
    chunks = []
    write = tasks.Ledger.write

    def spoil(self, chunk, called):
        result = write(self, chunk, called)
        path = self.path(chunk)
        if not chunks and result.records:
            chunks.append(chunk)
            text = path.read_text()
            if damage == "missing":
                path.unlink()
            elif damage == "cut":
                path.write_text(text[: text.rindex("\n", 0, -1) + 1])
            elif damage == "changed":
                path.write_text(text[:-3] + "9" + text[-2:])
            else:
                path.write_text(text.replace(self.digest, "0" * 16))
        return result

    monkeypatch.setattr(tasks.Ledger, "write", spoil)
    with pytest.raises(tasks.LedgerError, match="run again"):
        call(config, threads=1)
    assert not list(config.output.glob("*.vcf.gz*"))


def test_a_full_disk_ends_the_run(config, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ClairError, match="No space left on device"):
        call(config)
    assert not list(config.output.glob("*.vcf.gz*")) and not list(config.output.rglob("*.partial"))


def test_a_pileup_model_with_four_heads(config, sample, tmp_path):
    """Trained with --add_indel_length; what the decoder does not read changes nothing."""
    (tmp_path / "model").mkdir()
    shutil.copy(sample / "model" / "full_alignment.pt", tmp_path / "model")
    two = load_model(sample / "model" / "pileup.pt", "pileup")
    four = Clair3_P(heads=4)
    added, unexpected = four.load_state_dict(two.state_dict(), strict=False)
    assert added and not unexpected
    save_model(four, tmp_path / "model" / "pileup.pt")
    expected = call(config)
    assert len(records(expected)) > 50
    assert call(config, model_dir=tmp_path / "model") == expected


def start(config: CallingConfig, *more: str) -> subprocess.Popen:
    return program.start(config, "--pileup_only", *more, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


def wait_for_work(run: subprocess.Popen, config: CallingConfig):
    """Return when the workers compute: the first rows are written."""
    rows = config.output / "tmp" / "pileup_output"
    while run.poll() is None and not list(rows.glob("*.vcf")):
        time.sleep(0.05)
    assert run.poll() is None


@pytest.mark.parametrize("after", [0.05, 0.2, 0.4])
def test_interrupted_while_libraries_load(config, after):
    """The signal waits for the end of the import; it is neither lost nor an abort."""
    run = start(config, "--threads=1")
    for line in run.stderr:
        if "1/7" in line:
            break
    time.sleep(after)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=30)
    assert run.returncode == 130 and errors.splitlines()[-1] == "[ERROR] interrupted"


def test_interrupted_twice(config):
    """An impatient second Ctrl-C ends the process at once, without an abort."""
    run = start(config, "--threads=2", "--snp_min_af=0.005", "--indel_min_af=0.005", "--chunk_size=2000")
    wait_for_work(run, config)
    run.send_signal(signal.SIGINT)
    time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=5) in (130, -signal.SIGINT)  # the second may meet Python on its way out
    assert not list(config.output.glob("*.vcf.gz"))


@pytest.mark.parametrize("how, word, code", [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "terminated", 143)])
def test_interrupted(config, how, word, code):
    """Ctrl-C and SIGTERM stop within a second and leave nothing under a final name."""
    # almost every column is a candidate
    run = start(config, "--threads=1", "--snp_min_af=0.005", "--indel_min_af=0.005", "--chunk_size=10000")
    wait_for_work(run, config)
    run.send_signal(how)
    began = time.monotonic()
    _, errors = run.communicate(timeout=30)
    assert time.monotonic() - began < 3 * max(1, os.getloadavg()[0])  # a second on an idle machine
    assert run.returncode == code
    assert errors.splitlines()[-1] == f"[ERROR] {word}"
    assert "Traceback" not in errors
    assert not list(config.output.glob("*.vcf.gz*"))


def test_threads_are_not_exceeded(config):
    """With one thread the program never computes on two processors at once, libraries included."""
    began = time.monotonic()
    run = start(config, "--threads=1", "--snp_min_af=0.02", "--chunk_size=5000")
    run.stderr.read()
    _, status, usage = os.wait4(run.pid, 0)
    seconds = time.monotonic() - began
    assert status == 0 and records(gzip.decompress((config.output / "pileup.vcf.gz").read_bytes()))
    assert usage.ru_utime + usage.ru_stime <= 1.1 * seconds
