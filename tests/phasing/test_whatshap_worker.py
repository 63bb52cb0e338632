"""WhatsHap's solver in worker processes: the records of its command, and no process left behind."""

import gzip
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from odd_contigs import OddContig, records, write_inputs
from program import ROOT, is_running

from clair3.core import Source
from clair3.core.phasing import phase_alleles
from clair3.phasing import whatshap_worker
from clair3.phasing.phasers import PhasingError, WhatsHap, WhatsHapSolver, find_whatshap, open_whatshap
from clair3.phasing.whatshap_reads import PhaseAlleles, iter_templates
from clair3.phasing.whatshap_worker import UnsupportedVcfError, read_snps
from clair3.phasing.worker_pool import WorkerDiedError, WorkerPool
from clair3.util.process import run_program

RUNS = ("hifi_default", "deep_ont", "real_ont_hac5", "ont_cram")
MORE_RUNS = ("ont_hot", "hifi_hot", "deep_hifi", "real_hifi_chr20_bed", "real_nfcore_ont", "ont_pct", "ont_headtail")


@pytest.mark.parametrize("name", [*RUNS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_RUNS)])
def test_golden_contigs(checked, shared_data, tmp_path, name):
    folder = shared_data / "golden" / "runs" / name
    run = json.loads((folder / "run.json").read_text())
    expected = sorted(folder.glob("stages/phase_vcf/phased_*.vcf.gz"))
    assert expected
    with open_whatshap(None, shared_data / run["bam"], shared_data / run["ref"]) as whatshap:
        assert isinstance(whatshap, WhatsHapSolver)
        for path in expected:
            contig = path.name.removeprefix("phased_").removesuffix(".vcf.gz")
            given = tmp_path / f"{contig}.vcf"
            given.write_bytes(gzip.decompress(path.with_name(f"{contig}.vcf.gz").read_bytes()))
            whatshap.phase(contig, given, tmp_path / path.name)
            assert records(tmp_path / path.name) == records(path)
        assert len(whatshap.workers.idle) == 1


# --- odd reads, held against the command -------------------------------------------------------------------------


def compare_with_command(folder: Path, seeds: range) -> tuple[int, int]:
    """Phase odd contigs both ways; how many SNPs there were, and how many got a phase."""
    contigs = [OddContig(f"c{seed}", seed) for seed in seeds]
    bam, reference, header = write_inputs(folder, contigs)
    rows = {contig.name: contig.rows() for contig in contigs}
    everything, expected = folder / "all.vcf", folder / "expected.vcf"
    everything.write_text(header + "".join(f"{row}\n" for name in rows for row in rows[name]))
    options = ["--distrust-genotypes", "--ignore-read-groups", "--reference", reference, "--output", expected]
    code, stderr = run_program([*find_whatshap(), "phase", *options, everything, bam])
    assert code == 0, stderr
    found, answers = [], set()
    with open_whatshap(None, bam, reference) as whatshap:
        for contig in contigs:
            given, output = folder / "given.vcf", folder / "phased.vcf.gz"
            given.write_text(header + "".join(f"{row}\n" for row in rows[contig.name]))
            answers.add(whatshap._request("a test", contig=contig.name, vcf=given, output=output))
            found += records(output)
    assert answers == {whatshap_worker.DONE}
    for mine, row in zip(found, records(expected), strict=True):
        assert mine == row
    return len(found), sum("|" in row for row in found)


def test_odd_reads_as_the_command(checked, tmp_path):
    snps, phased = compare_with_command(tmp_path, range(60))
    assert snps > 500 and phased > 0.3 * snps


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 700, 200))
def test_more_odd_reads_as_the_command(checked, tmp_path, first):
    compare_with_command(tmp_path, range(first, first + 200))


def test_reads_without_bases_say_nothing(checked, tmp_path):
    """The command breaks off at them with a traceback."""
    contig = OddContig("c1", 4)
    bam, reference, header = write_inputs(tmp_path, [contig])
    for read in contig.reads:
        read["flag"], read["mapq"] = 0, 60
    shown = []
    for bare in (False, True):
        if bare:
            contig.reads[0]["seq"] = ""
        bam, reference, header = write_inputs(tmp_path, [contig])
        with Source(bam, reference) as source:
            alts = np.array([ord(alt) for alt in contig.snps.values()], np.uint8)
            shown.append(phase_alleles(source, "c1", np.array(list(contig.snps)), alts).names)
    assert contig.reads[0]["name"] in shown[0]
    assert sorted(shown[0]) == sorted([*shown[1], contig.reads[0]["name"]])
    given, output = tmp_path / "given.vcf", tmp_path / "phased.vcf"
    given.write_text(header + "".join(f"{row}\n" for row in contig.rows()))
    with open_whatshap(None, bam, reference) as whatshap:
        whatshap.phase("c1", given, output)
        with pytest.raises(PhasingError, match="phasing of c1 failed, exit code 1: .*not subscriptable"):
            whatshap.command.phase("c1", given, tmp_path / "command.vcf")
    assert len(records(output)) == len(contig.snps)


# --- what the command has to do ----------------------------------------------------------------------------------


def snp_row(pos=5, ref="A", alt="G", keys="GT:DP", sample="0/1:9", contig="c1"):
    return f"{contig}\t{pos}\t.\t{ref}\t{alt}\t9\tPASS\tP\t{keys}\t{sample}\n"


@pytest.mark.parametrize(
    "rows",
    [
        snp_row(contig="c2"),
        snp_row(ref="AC"),
        snp_row(alt="GT"),
        snp_row(alt="C,G"),
        snp_row(alt="*"),
        snp_row(alt="."),
        snp_row(sample="1/1:9"),
        snp_row(sample="0|1:9"),
        snp_row(sample="./.:9"),
        snp_row(keys="GT:PL", sample="0/1:9,0,9"),
        snp_row(6) + snp_row(5),
        snp_row(5) + snp_row(5),
    ],
)
def test_files_that_are_not_for_the_solver(tmp_path, rows):
    path = tmp_path / "given.vcf"
    path.write_text("##fileformat=VCFv4.2\n" + snp_row(2) + rows)
    with pytest.raises(UnsupportedVcfError):
        read_snps(path, "c1")


def test_snps_are_read(tmp_path):
    path = tmp_path / "given.vcf"
    path.write_text("##fileformat=VCFv4.2\n" + snp_row(2) + snp_row(7, alt="T", sample="1/0:9"))
    pos, alts = read_snps(path, "c1")
    assert pos.tolist() == [1, 6] and bytes(alts) == b"GT"


@pytest.fixture
def odd(tmp_path) -> tuple[Path, Path, Path, OddContig]:
    """BAM, FASTA, VCF of a contig with reads and SNPs, and the contig."""
    contig = OddContig("c1", 2)
    assert contig.reads and len(contig.snps) > 10
    bam, reference, header = write_inputs(tmp_path, [contig])
    given = tmp_path / "given.vcf"
    given.write_text(header + "".join(f"{row}\n" for row in contig.rows()))
    return bam, reference, given, contig


def test_the_command_does_the_rest(checked, odd, tmp_path):
    """Phased rows in the input, and phasing that trusts genotypes."""
    bam, reference, given, _ = odd
    given.write_text(given.read_text().replace("0/1:17", "0|1:17", 1))
    with open_whatshap(None, bam, reference) as whatshap:
        for trust in (False, True):
            mine, theirs = tmp_path / "mine.vcf.gz", tmp_path / "theirs.vcf.gz"
            whatshap.phase("c1", given, mine, trust)
            whatshap.command.phase("c1", given, theirs, trust)
            assert records(mine) == records(theirs)
            assert len(whatshap.workers.idle) == 1  # one request, which it refused
    assert sorted(path.name for path in tmp_path.iterdir() if "unfinished" in path.name) == []


def test_when_the_solver_is_used(odd, tmp_path, monkeypatch):
    bam, reference, *_ = odd
    program = tmp_path / "whatshap"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with open_whatshap(str(program), bam, reference) as whatshap:
        assert whatshap == WhatsHap((str(program),), bam, reference, whatshap.cancelled)
    for found, kind in (("2.5", WhatsHap), ("2.8", WhatsHapSolver), ("2.80", WhatsHap)):
        monkeypatch.setattr(whatshap_worker, "version", lambda name, found=found: found)
        for given in (None, "whatshap"):
            with open_whatshap(given, bam, reference) as whatshap:
                assert type(whatshap) is kind


def test_names_that_repeat(tmp_path):
    """One name is one template: two alignments are joined where they do not differ, more are left out."""
    ref = "ACGTACGTACGTACGTACGTACGTACGTACGT"
    alts = {4: "C", 8: "G", 12: "T", 16: "G"}
    kinds = [("one", "ra--"), ("two", "ra--"), ("two", "-ra-"), ("six", "a-r-"), ("six", "ra-a"), ("many", "rr--")] + [
        ("many", "rr--")
    ] * 2
    alleles = PhaseAlleles(
        names=[name for name, _ in kinds],
        mapq=np.arange(20, 20 + len(kinds), dtype=np.uint8),
        pos=np.array([5, 9, 3, 7, 8, 1, 1, 1]),
        first=np.concatenate([[0], np.cumsum([len(text.replace("-", "")) for _, text in kinds])]),
        snp=np.array([k for _, text in kinds for k, letter in enumerate(text) if letter != "-"], np.int32),
        allele=np.array(["ra".index(letter) for _, text in kinds for letter in text if letter != "-"], np.uint8),
    )
    assert len(ref) > max(alts)
    assert list(iter_templates(alleles)) == [
        ("one", 20, 5, [(0, 0), (1, 1)]),
        ("two", 22, 3, [(0, 0), (2, 1)]),
        ("six", 24, 7, [(1, 1), (2, 0), (3, 1)]),
    ]


# --- the processes -----------------------------------------------------------------------------------------------


def test_a_worker_that_fails_says_why(checked, odd, tmp_path):
    bam, reference, given, _ = odd
    cut = tmp_path / "cut.bam"
    cut.write_bytes(bam.read_bytes()[:-40])
    (tmp_path / "cut.bam.bai").write_bytes(Path(f"{bam}.bai").read_bytes())
    with open_whatshap(None, cut, reference) as whatshap:
        with pytest.raises(PhasingError, match=r"^phasing of c1 failed, exit code 1: .*cut\.bam: is truncated"):
            whatshap.phase("c1", given, tmp_path / "phased.vcf.gz")
        assert whatshap.workers.idle == []
    assert not list(tmp_path.glob("*phased*"))


def write_worker(tmp_path: Path, text: str) -> list[str]:
    """Return the command of a worker with this body, in which `pipe` is its last argument."""
    path = tmp_path / "worker.py"
    path.write_text(f"import os, signal, sys, time\npipe = int(sys.argv[1])\n{text}\n")
    return [sys.executable, str(path)]


CRASHES = [
    ("os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal 11: no message"),
    ("sys.stdin.readline(); os.abort()", "ended by signal 6: no message"),
    ("sys.exit('no\\nmemory')", r"exit code 1: no \| memory"),
    ("sys.stdin.readline(); sys.stderr.write('x' * 500_000); os.close(1); time.sleep(0.5)", "it wrote no result: x+$"),
]


@pytest.mark.parametrize("text, message", CRASHES)
def test_a_crash_is_an_error(odd, tmp_path, text, message):
    bam, reference, given, _ = odd
    workers = WorkerPool(write_worker(tmp_path, text))
    whatshap = WhatsHapSolver(WhatsHap(("false",), bam, reference), workers)
    for _ in range(2):  # each contig gets a process
        with pytest.raises(PhasingError, match=f"^phasing of c1 failed, {message}"):
            whatshap.phase("c1", given, tmp_path / "phased.vcf.gz")
    assert workers.idle == [] and not (tmp_path / "phased.vcf.gz").exists()


ECHO = "for line in sys.stdin: print(os.getpid(), line, end='', flush=True)"


def wait_until(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_workers_are_used_again_and_end(tmp_path):
    pool = WorkerPool(write_worker(tmp_path, ECHO))
    answers = [pool.request(f"task {i}").split(" ", 1) for i in range(3)]
    assert [answer[1] for answer in answers] == ["task 0", "task 1", "task 2"]
    (pid,) = {int(answer[0]) for answer in answers}
    threads = [threading.Thread(target=pool.request, args=("x",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pids = {one.process.pid for one in pool.idle}
    assert pid in pids and len(pids) <= 4
    pool.close()
    assert not any(map(is_running, pids))


def test_cancelling_ends_a_worker(tmp_path):
    pool, polls = WorkerPool(write_worker(tmp_path, "time.sleep(60)")), []
    began = time.monotonic()
    with pytest.raises(WorkerDiedError) as ended:
        pool.request("x", lambda: polls.append(1) or len(polls) > 2)
    assert ended.value.code == -signal.SIGKILL and time.monotonic() - began < 10


def test_a_worker_ends_with_a_killed_run(tmp_path):
    """Also while a library keeps the interpreter to itself, as the solver does for minutes."""
    busy = "import ctypes\nexit_with_parent(pipe)\nsys.stdout.write(f'{os.getpid()}\\n'); sys.stdout.flush()\n"
    argv = write_worker(
        tmp_path, f"sys.path.insert(0, {str(ROOT)!r})\nfrom clair3.core.parent_watchdog import exit_with_parent\n{busy}"
    )
    Path(argv[1]).write_text(Path(argv[1]).read_text() + "ctypes.PyDLL(None).sleep(60)\n")
    run = "import sys\nfrom clair3.phasing.worker_pool import WorkerProcess\none = WorkerProcess(sys.argv[1:])\n"
    run += "print(one.process.stdout.readline().decode(), flush=True)\nsys.stdin.read()\n"
    parent = subprocess.Popen(
        [sys.executable, "-c", run, *argv], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pid = int(parent.stdout.readline())
    assert is_running(pid)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not is_running(pid))


def test_the_worker_is_light(checked, odd, tmp_path):
    """It loads neither torch nor anything of the networks, and signals to all processes leave it to its run."""
    bam, reference, given, _ = odd
    code = """
import json, os, signal, sys
import clair3.phasing.whatshap_worker as solver
answer = solver.phase(*sys.argv[1:])
signal.signal(signal.SIGTERM, signal.SIG_DFL)
print(answer, sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "scipy", "pandas", "h5py"}))
"""
    files = [str(path) for path in (given, tmp_path / "phased.vcf", bam, reference)]
    done = subprocess.run([sys.executable, "-c", code, "c1", *files], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "done []\n", done.stderr
    with open_whatshap(None, bam, reference) as whatshap:
        whatshap.phase("c1", given, tmp_path / "phased.vcf")
        (worker,) = whatshap.workers.idle
        for number in (signal.SIGINT, signal.SIGTERM):
            worker.process.send_signal(number)
        whatshap.phase("c1", given, tmp_path / "again.vcf")
        assert whatshap.workers.idle == [worker]
    assert (tmp_path / "phased.vcf").read_text() == (tmp_path / "again.vcf").read_text()
    assert not is_running(worker.process.pid)
