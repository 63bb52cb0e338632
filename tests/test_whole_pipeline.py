"""All stages together: same bytes however the work is cut, interrupted and resumed; failures leave nothing."""

import gzip
import os
import random
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import program
import pysam
import pytest
import small_sample
import torch
from golden_runs import PARITY

from clair3.calling import phasing, pipeline, selection, stages
from clair3.config import LONGPHASE, CallingConfig, CandidateOptions, SelectionOptions
from clair3.errors import CoreError
from clair3.inference.checkpoint import read_checkpoint
from clair3.phasing import whatshap_worker
from clair3.phasing.phasers import PhasingError, WhatsHapSolver, find_whatshap
from clair3.util import log

FINAL = ("pileup.vcf.gz", "full_alignment.vcf.gz", "merge_output.vcf.gz", "merge_output.gvcf.gz")


@pytest.fixture
def config(run_config) -> CallingConfig:
    """A run of all stages with a gVCF."""
    return replace(run_config, gvcf=True)


def call(config: CallingConfig, **changes) -> dict[str, bytes]:
    """The text of the final files of a run with some options changed."""
    config = replace(config, **changes)
    config.output.mkdir(exist_ok=True, parents=True)
    pipeline.call_variants(config)
    return outputs(config.output)


def outputs(folder: Path) -> dict[str, bytes]:
    """The final files that are there, without their command line."""
    texts = {name: gzip.decompress((folder / name).read_bytes()) for name in FINAL if (folder / name).exists()}
    return {
        name: b"\n".join(line for line in text.split(b"\n") if not line.startswith(b"##cmdline"))
        for name, text in texts.items()
    }


BOTH = pytest.mark.parametrize("platform", ["ont", "ilmn"])
"""Long reads and short ones, which have features of their own."""


@BOTH
def test_all_files_can_be_read(config):
    call(config)
    for name in FINAL:
        with pysam.VariantFile(str(config.output / name)) as rows:
            places = [(row.contig, row.pos) for row in rows]
            assert places == sorted(places) and places
            assert [(row.contig, row.pos) for row in rows.fetch("chr21")] == [at for at in places if at[0] == "chr21"]


@pytest.mark.parametrize("platform", ["ilmn"])
@pytest.mark.parametrize(
    "flag, some", [(0, True), (0x3, True), (0x1, False), (0x9, False), (0x400, True), (0x100, False)],
    ids=["single", "pair", "not proper", "mate unmapped", "duplicate", "secondary"],
)  # fmt: skip
def test_short_reads_that_count(config, tmp_path, flag, some, caplog):
    """Reads alone do, too; without any that counts the result is an empty VCF (spec/features.md A.2), and a warning."""
    path = tmp_path / "reads.bam"
    with pysam.AlignmentFile(str(config.bam)) as reads, pysam.AlignmentFile(str(path), "wb", template=reads) as made:
        for number, read in enumerate(reads.fetch("chr21")):
            read.flag, read.query_name = flag | read.flag & 0x10, f"{read.query_name}/{number if flag == 0 else ''}"
            made.write(read)
    pysam.index(str(path))
    found = call(config, bam=path, gvcf=False)
    rows = {name: [row for row in text.split(b"\n") if row[:1] not in (b"#", b"")] for name, text in found.items()}
    assert all(bool(listed) == some for listed in rows.values())
    assert ("none of the first" in caplog.text) == (not some)
    assert set(rows) == ({*FINAL[:3]} if some else {FINAL[0], FINAL[2]})


@BOTH
def test_linked_reads_are_told(config, platform, tmp_path, caplog):
    """v2.0.2 has WhatsHap tag short reads, which looks at BX; those of long reads say nothing there either."""
    path = tmp_path / "reads.bam"
    with pysam.AlignmentFile(str(config.bam)) as reads, pysam.AlignmentFile(str(path), "wb", template=reads) as made:
        for read in reads.fetch("chr21"):
            read.set_tag("BX", "A01-1")
            made.write(read)
    pysam.index(str(path))
    call(config, bam=path, gvcf=False)
    told = [record.getMessage() for record in caplog.records if "linked reads" in record.getMessage()]
    text = "linked reads (tag BX); here only the pair of a read tells its haplotype, v2.0.2 also uses BX"
    assert told == ([f"{path}: {text}"] if platform == "ilmn" else [])
    caplog.clear()
    call(config, gvcf=False)
    assert "linked reads" not in caplog.text


@pytest.mark.parametrize("platform", ["ilmn"])
def test_blocks_of_short_reads(config, monkeypatch):
    """Reads on the border of two blocks are realigned for both; each position is called for one of them."""
    whole = call(config, gvcf=False)
    monkeypatch.setattr(selection, "BLOCK_SIZE", 40)
    parts = call(config, gvcf=False, threads=4)
    assert len(list((config.output / "tmp" / "full_alignment_output").iterdir())) > 3
    places = []
    for text in (whole, parts):
        rows = [row.split(b"\t") for row in text["full_alignment.vcf.gz"].split(b"\n") if row[:1] not in (b"#", b"")]
        places.append([(row[0], int(row[1])) for row in rows])
    assert places[1] == sorted(set(places[1])) and len(set(places[0]) ^ set(places[1])) < 0.1 * len(places[0])
    assert call(config, gvcf=False, chunk_size=7_001, threads=1) == parts


@pytest.mark.parametrize("platform", ["ilmn"])
def test_realigned_reads_that_show_nothing(config, monkeypatch):
    """Without a single row of full alignment the calls are those of the pileup (spec/cli.md 6.1)."""
    monkeypatch.setattr(stages, "iter_realigned", lambda *arguments: iter(()))
    call(config, gvcf=False)
    places = []
    for name in ("pileup.vcf.gz", "merge_output.vcf.gz"):
        with pysam.VariantFile(str(config.output / name)) as rows:
            places.append([(row.contig, row.pos) for row in rows if row.alts])
    assert places[0] == places[1] != []


def test_each_stage_has_its_log(config):
    log.setup()
    call(config, final_phaser="whatshap", haplotag=True)
    logs = {path.name: path.read_text() for path in (config.output / "log").iterdir()}
    assert "[DEBUG] chr20:1-60000: " in logs["1_call_var_bam_pileup.log"]
    assert "whatshap" in logs["3_phase.log"]
    assert "records in" in logs["7_merge_vcf.log"]
    assert re.search(r"phased_output\.bam in \d+\.\d\d s", logs["8_phase_vcf_output.log"])
    story = (config.output / "run_clair3.log").read_text()
    assert "DEBUG" not in story and re.search(r"Total time of the run: \d+\.\d\d s\n.*Finish calling", story)


@BOTH
def test_same_bytes_for_any_threads_and_chunks(config):
    whole = call(config, threads=1)
    assert set(whole) == set(FINAL)
    for threads, chunk_size in ((2, 50_000), (4, 100_000), (4, 7_001)):
        assert call(config, threads=threads, chunk_size=chunk_size) == whole, (threads, chunk_size)
    assert call(config, resume=True) == whole


LONG = CandidateOptions(short_read_rules=True, max_indel_length=100_000)
SNPS = CandidateOptions(short_read_rules=True, snp_only=True, head_and_tail=True, min_coverage=4, min_mapq=20)


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["ilmn"])
@pytest.mark.parametrize(
    "changes",
    [
        {"print_ref_calls": True, "keep_iupac_bases": True, "haploid": "precise"},
        {"haploid": "sensitive", "enable_long_indel": True, "candidates": LONG},
        {"candidates": SNPS, "selection": SelectionOptions(0.95, 0.95, None), "haplotype_tags": True, "qual": 9},
        {"pileup_only": True, "gvcf": False},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_options_of_short_reads(config, changes):
    whole = call(config, threads=1, **changes)
    assert call(config, threads=4, chunk_size=7_001, **changes) == whole
    for text in whole.values():
        assert any(line and not line.startswith(b"#") for line in text.split(b"\n"))


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["ont", "hifi", "ilmn"])
@pytest.mark.parametrize("data, chunk_sizes", [("parity", (5_000, 20_000)), ("deep", (2_501, 7_000))])
def test_same_bytes_on_golden_reads(request, config, data, chunk_sizes, platform):
    """VCF and gVCF for 1, 2 and 4 workers, chunks that are whole contigs or cut them, and resumed."""
    kind = "ont" if platform == "ont" else "hifi"
    if data == "parity":
        reads, model = PARITY / "reads", PARITY / "models" / kind
    else:
        shared_data = request.getfixturevalue("shared_data")
        reads, model = shared_data / "sim" / data, shared_data / "models" / f"{kind}_sim"
    config = replace(
        config,
        bam=reads / f"{platform}.bam",
        reference=reads / "ref.fa",
        model_dir=model,
        include_all_ctgs=True,
        print_ref_calls=True,
    )
    whole = call(config, threads=1)
    assert set(whole) == set(FINAL)
    rows = config.output / "tmp" / "pileup_output"
    contigs = len(list(rows.glob("*.vcf")))
    for threads, chunk_size in zip((2, 4), chunk_sizes, strict=True):
        assert call(config, threads=threads, chunk_size=chunk_size) == whole, (threads, chunk_size)
        assert len(list(rows.glob("*.vcf"))) > contigs
    for stage in ("pileup", "full_alignment"):
        for row in sorted((config.output / "tmp" / f"{stage}_output").glob("*.vcf"))[::2]:
            row.unlink()
    assert call(config, resume=True, chunk_size=chunk_sizes[-1]) == whole


@BOTH
def test_resume_does_only_what_is_left(config, monkeypatch):
    whole = call(config, chunk_size=10_000)
    done = []
    called = stages.Caller.__call__
    monkeypatch.setattr(
        stages.Caller,
        "__call__",
        lambda self, tasks: done.extend(task.name for task in tasks) or called(self, tasks),
    )
    assert call(config, chunk_size=10_000, resume=True) == whole
    assert done == []
    row = config.output / "tmp" / "pileup_output" / "pileup_chr20_3.vcf"
    row.write_text(row.read_text().replace("chr20", "chr21", 1))  # damaged: done again
    assert call(config, chunk_size=10_000, resume=True) == whole
    assert done == ["chr20_3"]
    row.with_suffix(".evidence").unlink()
    assert call(config, chunk_size=10_000, resume=True) == whole
    assert done == ["chr20_3"] * 2


@pytest.mark.parametrize(
    "changes, pileup, full",
    [
        ({"selection": SelectionOptions(1.0, 1.0, 0.7)}, False, True),
        (
            {"candidates": CandidateOptions(min_mapq=7)},
            True,
            True,
        ),
        ({"keep_iupac_bases": True}, True, True),
        ({"qual": 20}, False, False),
    ],
    ids=["selection", "candidates", "decoding", "final filter"],
)
def test_what_a_change_invalidates(config, monkeypatch, changes, pileup, full):
    call(config)
    done = set()
    called = stages.Caller.__call__
    monkeypatch.setattr(stages.Caller, "__call__", lambda self, tasks: done.add(self.kind) or called(self, tasks))
    fresh = call(replace(config, output=config.output.with_name("fresh")), **changes)
    done.clear()
    assert call(config, resume=True, **changes) == fresh
    assert ("pileup" in done, "full_alignment" in done) == (pileup, full)


@pytest.mark.parametrize(
    "changed, redone",
    [
        ("reads", {"pileup", "phasing", "full_alignment"}),
        ("reference", {"pileup", "phasing", "full_alignment"}),
        ("pileup model", {"pileup"}),
        ("version", {"pileup", "phasing", "full_alignment"}),
        ("version of WhatsHap", {"phasing"}),
    ],
)
def test_what_another_file_or_version_invalidates(config, monkeypatch, tmp_path, changed, redone):
    """Exactly what depends on it is done again; here with equal results, so that nothing follows from those."""
    for name in ("reads.bam", "reads.bam.bai", "ref.fa", "ref.fa.fai"):
        shutil.copy2(config.bam.parent / name, tmp_path / name)
    shutil.copytree(config.model_dir, tmp_path / "model")
    config = replace(config, bam=tmp_path / "reads.bam", reference=tmp_path / "ref.fa", model_dir=tmp_path / "model")
    whole = call(config)
    done = set()
    called, solve = stages.Caller.__call__, WhatsHapSolver.phase
    monkeypatch.setattr(stages.Caller, "__call__", lambda self, tasks: done.add(self.kind) or called(self, tasks))
    monkeypatch.setattr(WhatsHapSolver, "phase", lambda self, *task: done.add("phasing") or solve(self, *task))
    assert call(config, resume=True) == whole and not done
    if changed in ("reads", "reference"):
        names = ("reads.bam", "reads.bam.bai") if changed == "reads" else ("ref.fa", "ref.fa.fai")
        for name in names:
            os.utime(tmp_path / name, ns=(0, 1))
    elif changed == "pileup model":
        network, meta = read_checkpoint(tmp_path / "model" / "pileup.pt")
        torch.save({"state_dict": network, "clair3_meta": meta or {}}, tmp_path / "model" / "pileup.pt")
    elif changed == "version":
        for module in (pipeline, phasing):
            monkeypatch.setattr(module, "VERSION", "another")
    else:
        monkeypatch.setattr(whatshap_worker, "CHECKED", ("9.9",))
        monkeypatch.setattr(whatshap_worker, "version", lambda name: "9.9")
    assert call(config, resume=True) == whole
    assert done == redone


def test_changed_full_alignment_model_leaves_the_pileup_stage(config, monkeypatch, sample, tmp_path):
    call(config)
    small_sample.make_model(tmp_path / "model", seed=2)
    (tmp_path / "model" / "pileup.pt").write_bytes((sample / "model" / "pileup.pt").read_bytes())
    done = set()
    called = stages.Caller.__call__
    monkeypatch.setattr(stages.Caller, "__call__", lambda self, tasks: done.add(self.kind) or called(self, tasks))
    call(config, resume=True, model_dir=tmp_path / "model")
    assert done == {"full_alignment"}


def test_gvcf_when_there_is_nothing_to_call(config):
    texts = {}
    config.output.mkdir()
    pipeline.call_variants(replace(config, min_contig_size=100_000))
    for name in ("merge_output.vcf.gz", "merge_output.gvcf.gz"):
        with pysam.VariantFile(str(config.output / name)) as rows:
            texts[name] = list(rows)
        assert (config.output / f"{name}.tbi").exists()
    assert not any(texts.values())


@BOTH
@pytest.mark.parametrize("early", [False, True])
def test_known_sites_are_all_there(config, tmp_path, early):
    """Called or not, whatever the contig, duplicates once, also when the run ends early. (With short reads v2.0.2 calls
    every known site that reads cover, so these end early where there are no reads.)"""
    known = tmp_path / "known.vcf"
    rows = [("chr20", 5), ("chr20", 2400), ("chr20", 2400), ("chr20", 20_000), ("chr21", 9), ("chrNone", 7)]
    known.write_text("".join(f"{contig}\t{pos}\tid{pos}\tN\tA\t.\t.\t.\n" for contig, pos in rows))
    rule = replace(config.candidates, snp_min_af=0.0, indel_min_af=0.0, known_sites=config.candidates.short_read_rules)
    rule = replace(rule, **({"min_mapq": 61} if early else {}))
    changes = {"sites": known, "candidates": rule, "gvcf": False, "print_ref_calls": True}
    config.output.mkdir()
    pipeline.call_variants(replace(config, **changes))
    with pysam.VariantFile(str(config.output / "merge_output.vcf.gz")) as found:
        places = {(row.contig, row.pos): row.samples[0]["GT"] for row in found}
    assert list(places) == [("chr20", 5), ("chr20", 2400), ("chr20", 20_000), ("chr21", 9)]
    called = [places[place] != (None, None) for place in places]
    assert called == ([False] * 4 if early else [False, True, True, False])


@BOTH
@pytest.mark.parametrize("restriction", ["bed", "sites"])
def test_gvcf_of_a_part(config, tmp_path, restriction):
    """Blocks cover the span of the targets without a gap, in VCF order, whatever the chunks.

    Full alignment of short reads looks at whole bins, and calls beyond a BED, too.
    """
    bed, sites = tmp_path / "targets.bed", tmp_path / "known.vcf"
    bed.write_text("chr20\t1000\t9000\nchr20\t20000\t20500\n")
    sites.write_text("chr20\t1000\t.\tN\tC\t.\t.\t.\nchr20\t20500\t.\tN\tC\t.\t.\t.\n")
    changes = {restriction: bed if restriction == "bed" else sites}
    whole = call(config, **changes)
    assert call(config, chunk_size=7_000, **changes) == whole
    sites = [
        [line.split(b"\t")[:5] for line in text["pileup.vcf.gz"].split(b"\n") if not line.startswith(b"#")]
        for text in (whole, call(config, gvcf=False, **changes))
    ]
    assert sites[0] == sites[1]
    call(config, **changes)
    with pysam.VariantFile(str(config.output / "merge_output.gvcf.gz")) as rows:
        spans = [(row.start, row.stop) for row in rows]
    assert spans[0][0] == (967 if restriction == "bed" else 999)
    for (_, end), (start, _) in pairwise(spans):
        assert start <= end + 1 or start >= 20_533
    assert spans[-1][1] >= 20_499


@BOTH
def test_a_failing_block_fails_the_run(config, monkeypatch):
    def fails(source, contig, *rest):
        raise CoreError(f"{contig}: made to fail")

    for name in ("iter_full_alignment", "iter_realigned"):
        monkeypatch.setattr(stages, name, fails)
    with pytest.raises(CoreError, match="made to fail"):
        call(config)
    assert not (config.output / "merge_output.vcf.gz").exists()
    assert not (config.output / "full_alignment.vcf.gz").exists()


def test_a_failing_phaser_fails_the_run(config, tmp_path):
    """The run ends with the program's own last words."""
    program = tmp_path / "whatshap"
    program.write_text("#!/bin/sh\necho 'no phase today' >&2\nexit 3\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(PhasingError, match=r"phasing of chr2[01] failed, exit code 3: no phase today"):
        call(config, whatshap=str(program))
    assert not (config.output / "merge_output.vcf.gz").exists()


@pytest.fixture
def partial_whatshap(tmp_path) -> str:
    """WhatsHap, except that it fails on chr21."""
    path = tmp_path / "whatshap"
    real = shlex.join(find_whatshap())
    path.write_text(f"#!/bin/sh\ncase $* in *chr21*) echo 'no phase today' >&2; exit 3;; esac\nexec {real} \"$@\"\n")
    path.chmod(0o755)
    return str(path)


CARELESS = """
command = {command!r}
code = subprocess.run([*command, *args]).returncode
path = args[args.index("--output") + 1]
if code or args[0] != {when!r} or ("--chromosome" not in args) != {final}:
    sys.exit(code)
if args[0] == "phase":
    text = (gzip.open if path.endswith(".gz") else open)(path, "rt").read().splitlines(True)
    rows = [number for number, line in enumerate(text) if line.startswith("chr21\\t")]
    for number in rows[len(rows) // 2 :]:
        text[number] = ""
    (gzip.open if path.endswith(".gz") else open)(path, "wt").write("".join(text))
else:
    reads = list(pysam.AlignmentFile(path, check_sq=False))
    with pysam.AlignmentFile(path, "wb", template=pysam.AlignmentFile(path)) as bam:
        for number, read in enumerate(reads):
            if read.reference_name != "chr21" or number % 2:
                bam.write(read)
"""


@pytest.mark.parametrize(
    "when, final, message",
    [
        ("phase", False, r"phasing of chr21 failed: \d+ of \d+ records came back, chr21:\d+ did not"),
        ("phase", True, r"phasing of chr21 failed: \d+ of \d+ records came back, chr21:\d+ did not"),
        ("haplotag", True, r"haplotagging failed: \d+ of \d+ reads of chr21 came back"),
    ],
)
def test_a_program_that_loses_half_and_says_that_all_is_well(config, program, when, final, message):
    """What goes into WhatsHap comes out of it, or the run fails and leaves no results."""
    text = "import gzip, pysam, subprocess\n" + CARELESS.format(command=find_whatshap(), when=when, final=final)
    with pytest.raises(PhasingError, match=message):
        call(config, whatshap=str(program("whatshap", text)), final_phaser="whatshap", haplotag=True)
    assert not list(config.output.glob("*.vcf.gz*")) and not list(config.output.glob("*.bam*"))


def contig_rows(texts: dict[str, bytes], name: str, contig: str) -> list[bytes]:
    return [line for line in texts[name].split(b"\n") if line.startswith(contig.encode() + b"\t")]


@BOTH
def test_a_contig_that_cannot_be_phased(config, partial_whatshap, caplog):
    """It fails the run, or is called unphased if allowed; --resume then keeps to that."""
    with pytest.raises(PhasingError, match="phasing of chr21 failed, exit code 3: no phase today.*--allow_unphased"):
        call(config, whatshap=partial_whatshap)
    phased = call(replace(config, output=config.output.with_name("phased")))
    without = replace(config, output=config.output.with_name("without"))
    unphased = call(without, selection=replace(config.selection, var_pct_phasing=None))
    allowed = replace(config, allow_unphased_contigs=True)
    found = call(allowed, whatshap=partial_whatshap)
    warnings = [record.message for record in caplog.records if "contigs without phase" in record.message]
    assert len(warnings) == 1 and "chr21 (phasing of chr21 failed, exit code 3: no phase today)" in warnings[0]
    name = "full_alignment.vcf.gz"
    assert contig_rows(found, name, "chr21") == contig_rows(unphased, name, "chr21") != []
    assert contig_rows(found, name, "chr20") == contig_rows(phased, name, "chr20") != []
    assert contig_rows(unphased, name, "chr20") != contig_rows(phased, name, "chr20")
    caplog.clear()
    assert call(allowed, resume=True) == found  # with a WhatsHap that would not fail
    assert "chr21 (phasing of chr21 failed, exit code 3" in caplog.text
    assert call(config, resume=True) == phased
    assert call(allowed, resume=True) == phased


def test_final_phasing_of_what_can_be_phased(config, partial_whatshap):
    """The phased VCF has every contig, phased or not."""
    call(config, whatshap=partial_whatshap, allow_unphased_contigs=True, final_phaser="whatshap")
    merged, phased = (
        [line.split("\t") for line in gzip.decompress((config.output / name).read_bytes()).decode().splitlines()]
        for name in ("merge_output.vcf.gz", "phased_merge_output.vcf.gz")
    )
    places = [[row[:5] for row in rows if len(row) > 8 and row[0][0] != "#"] for rows in (merged, phased)]
    assert places[0] == places[1]
    bars = {contig: any("|" in row[9] for row in phased if row[0] == contig) for contig in ("chr20", "chr21")}
    assert bars == {"chr20": True, "chr21": False}
    assert [row for row in phased if row[0] == "chr21"] == [row for row in merged if row[0] == "chr21"]


def longphase_by_whatshap(path: Path) -> str:
    """A stand-in for LongPhase: the same options, WhatsHap's result, uncompressed as LongPhase writes it."""
    path.write_text(
        f"""#!{sys.executable}
import subprocess, sys
assert sys.argv[1] == "phase" and "--ont" in sys.argv
given = dict(zip(sys.argv[2:], sys.argv[3:]))
print(given["-s"], file=open(sys.argv[0] + ".seen", "a"))
files = ["--output", given["-o"] + ".vcf", "--reference", given["-r"], given["-s"], given["-b"]]
command = {find_whatshap()!r} + ("phase", "--ignore-read-groups", "--distrust-genotypes")
sys.exit(subprocess.run([*command, *files]).returncode)
"""
    )
    path.chmod(0o755)
    return str(path)


def test_longphase_between_the_networks_and_of_the_output(config, tmp_path):
    """What it phases is used: the calls are those with WhatsHap, whose phase the stand-in writes."""
    expected = call(config)
    config = replace(
        config, output=config.output.with_name("longphase"), longphase=longphase_by_whatshap(tmp_path / "lp")
    )
    assert call(config, phaser=LONGPHASE, final_phaser=LONGPHASE) == expected
    with pysam.VariantFile(str(config.output / "phased_merge_output.vcf.gz")) as rows:
        assert sum(row.samples[0].phased for row in rows) > 10
    seen = sorted(Path(name).name for name in (tmp_path / "lp.seen").read_text().splitlines())
    assert seen == ["chr20.vcf", "chr21.vcf", "merge_chr20.vcf", "merge_chr21.vcf"]


def test_a_late_failure_leaves_no_results(config, partial_whatshap):
    """The calls are merged when the final phasing fails; a workflow that looks for them must not find them."""
    without = replace(config, selection=replace(config.selection, var_pct_phasing=None))
    with pytest.raises(PhasingError, match="chr21"):
        call(without, whatshap=partial_whatshap, final_phaser="whatshap")
    assert not list(config.output.glob("*.vcf.gz*"))
    resumed = call(without, resume=True)
    assert resumed == call(replace(without, output=config.output.with_name("afresh")))


def test_a_wrong_whatshap_is_told_at_once(config):
    run = program.start(config, "--threads=1", "--whatshap=/absent/whatshap", stderr=subprocess.PIPE)
    _, said = run.communicate()
    assert run.returncode == 1
    assert said.splitlines()[-1].endswith(
        "--whatshap=/absent/whatshap: expected the name or path of an executable program"
    )
    assert "1/7" not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "how, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_stopped_while_phasing(config, tmp_path, how, code):
    """What a wrapper of WhatsHap has started ends with the run."""
    wrapper, noted = tmp_path / "whatshap", tmp_path / "pid"
    wrapper.write_text(f"#!/bin/sh\nsleep 300 &\necho $! >> {noted}\nwait\n")
    wrapper.chmod(0o755)
    run = start(config, f"--whatshap={wrapper}")
    while not (noted.exists() and noted.read_text().endswith("\n")):
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(how)
    assert run.wait(timeout=20) == code
    for pid in map(int, noted.read_text().split()):
        for _ in range(100):
            if not program.is_running(pid):
                break
            time.sleep(0.05)
        assert not program.is_running(pid)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_run(config, how):
    workers = []
    for _ in range(20):  # on a busy machine they may have come and gone between two looks
        run = start(config)
        while not workers and run.poll() is None:
            listed = subprocess.run(["ps", "-wweo", "pid=,ppid=,args="], capture_output=True, text=True).stdout
            rows = [line.split(None, 2) for line in listed.splitlines()]
            workers = [int(pid) for pid, parent, args in rows if int(parent) == run.pid and "whatshap_worker" in args]
        if workers:
            break
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)  # as if it worked for minutes
    os.kill(run.pid, how)
    run.wait(timeout=20)
    for pid in workers:
        if how == signal.SIGKILL:
            os.kill(pid, signal.SIGCONT)
        for _ in range(100):
            if not program.is_running(pid):
                break
            time.sleep(0.05)
        assert not program.is_running(pid)


def start(config: CallingConfig, *more: str, stderr: int = subprocess.DEVNULL) -> subprocess.Popen:
    options = ["--threads=2", "--gvcf", "--chunk_size=10000", "--var_pct_full=0.95", "--ref_pct_full=0.95"]
    return program.start(config, *options, *more, stderr=stderr, start_new_session=True)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of so many bytes at a folder; skips where none may be mounted."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up(config, tmp_path):
    """Whichever stage meets its end: one line, exit code 1, nothing under a final name; with more room it goes on."""
    more = ("--use_whatshap_for_final_output_haplotagging",)
    with small_disk(tmp_path / "large", 1 << 26) as disk:
        assert start(replace(config, output=disk / "out"), *more).wait() == 0
        used = shutil.disk_usage(disk).used
        assert set(FINAL) | {"phased_output.bam"} <= {path.name for path in (disk / "out").iterdir()}
    reached = set()
    for share in (0.05, 0.6, 0.95):
        with small_disk(tmp_path / "small", int(share * used)) as disk:
            folder = replace(config, output=disk / "out")
            run = start(folder, *more, stderr=subprocess.PIPE)
            said = run.communicate()[1].splitlines()
            assert run.returncode == 1, (share, said)
            assert [line for line in said if line.startswith(("[ERROR]", "Traceback"))] == said[-1:], (share, said)
            assert not list((disk / "out").glob("*.vcf.gz*")) and not list((disk / "out").glob("*.bam*")), share
            reached |= {line for line in said if re.search(r"\] [1-7]/7 ", line)}
            if share == 0.95:
                subprocess.run(["mount", "-o", f"remount,size={2 * used}", str(disk)], check=True)
                assert start(folder, *more, "--resume").wait() == 0
    assert any("7/7 Phasing VCF output" in line for line in reached), reached


@BOTH
@pytest.mark.slow
def test_killed_at_any_moment_and_resumed(config):
    """kill -9 at two random moments: what is under a final name is whole, and --resume gives the same bytes."""
    config.output.mkdir()
    began = time.monotonic()
    assert start(config).wait() == 0
    seconds = time.monotonic() - began
    whole = outputs(config.output)
    moments = random.Random(7)
    for i in range(2):
        folder = config.output.with_name(f"killed{i}")
        run = start(replace(config, output=folder))
        time.sleep(moments.uniform(0.2, 1) * seconds)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        for name in FINAL:
            if (folder / name).exists():
                assert (folder / f"{name}.tbi").exists() and gzip.decompress((folder / name).read_bytes())
        assert start(replace(config, output=folder), "--resume").wait() == 0
        assert outputs(folder) == whole, i
