"""The submodules that workflows call by name: one contig stage by stage gives what the run gives, and the edges."""

import gzip
import io
import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pysam
import pytest
from golden_runs import PARITY, PARITY_RUNS, assert_same_records, decided_records, run_arguments

from clair3.calling.selection import Block, without_likelihoods
from clair3.cli.main import main as clair3
from clair3.errors import ConfigError, InputError
from clair3.io.candidate_files import Part, read_candidates
from clair3.io.fasta import Contig
from clair3.io.vcf import format_record, parse_record
from clair3.legacy import call_chunk
from clair3.legacy.call_chunk import bounds
from clair3.legacy.sort_vcf import check_jobs, sort_lines
from clair3.legacy.tensor_text import parse_support
from clair3.phasing.phasers import WhatsHap, find_whatshap
from clair3.platforms import PLATFORMS

ROOT = Path(__file__).resolve().parents[2]
CONTIG = "chr21"
HEADER = "##fileformat=VCFv4.2\n##source=Clair3\n##clair3_version=2.0.2\n##contig=<ID=chr1,length=1000>\n"
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tSAMPLE\n"


def records(path: Path) -> list[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as lines:
        return [line.rstrip("\n") for line in lines if not line.startswith("#")]


def text(path: Path) -> str:
    return (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()


def row(pos, qual="20.00", genotype="0/1", alt="G", contig="chr1"):
    return f"{contig}\t{pos}\t.\tA\t{alt}\t{qual}\tPASS\tP\tGT:GQ:DP:AD:AF\t{genotype}:9:9:4,5:0.5000"


def write_vcf(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + COLUMNS + "".join(f"{line}\n" for line in rows))
    return path


def sub_command(name: str, *options: str, stdin: str | None = None) -> None:
    """Start a submodule as the dispatcher does."""
    with pytest.MonkeyPatch.context() as patch:
        if stdin is not None:
            patch.setattr(sys, "stdin", io.StringIO(stdin))
        clair3([name, *options])


def refusal(capsys, name: str, *options: str, stdin: str = "") -> tuple[int, str]:
    """Exit code and last line of a submodule that must not succeed."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        sub_command(name, *options, stdin=stdin)
    return stopped.value.code, capsys.readouterr().err.splitlines()[-1]


class Workflow:
    """Contigs, stage by stage, as workflows do it.

    run is a run of v2.0.2 whose paths are relative to data: a dictionary as in golden_runs.py, or the name of a folder
    of the golden data.
    """

    def __init__(
        self, data: Path, run: str | dict, output: Path, chunk_size: int, gvcf: bool, called: tuple = (CONTIG,)
    ):
        if isinstance(run, str):
            run = json.loads((data / "golden" / "runs" / run / "run.json").read_text())
        self.called = called
        self.platform = f"--platform={run['platform']}"
        self.short_reads = run["platform"] == "ilmn"
        platform = PLATFORMS[run["platform"]]
        self.indel_min_af = f"--indel_min_af={platform.indel_min_af}"
        self.fractions = (f"--var_pct_full={platform.var_pct_full}", f"--ref_pct_full={platform.ref_pct_full}")
        self.bam, self.reference, self.model = (data / run[key] for key in ("bam", "ref", "model"))
        self.output, self.chunk_size, self.gvcf = output, chunk_size, f"--gvcf={gvcf}"
        self.tmp = output / "tmp"
        self.inputs = (f"--bam_fn={self.bam}", f"--ref_fn={self.reference}")
        self.contigs = (f"--contigs_fn={self.tmp / 'CONTIGS'}", f"--ref_fn={self.reference}")

    def plan(self):
        options = (f"--output_fn_prefix={self.output}", f"--ctg_name={','.join(self.called)}")
        options += (f"--chunk_size={self.chunk_size}",)
        sub_command("CheckEnvs", *self.inputs, *options, "--parallel=parallel", "--pypy=pypy3", "--threads=2")

    def call(self, model: str, contig: str, call_fn: Path, *options: str):
        options = (f"--chkpnt_fn={self.model / model}", f"--call_fn={call_fn}", self.gvcf, *options)
        name = "CallVarBam" if self.short_reads else "CallVariantsFromCffi"
        sub_command(name, self.platform, f"--ctgName={contig}", *self.inputs, *options)

    def sort(self, folder: Path, prefix: str, output: Path, *options: str):
        options = (f"--vcf_fn_prefix={prefix}", f"--output_fn={output}", *self.contigs, *options)
        sub_command("SortVcf", f"--input_dir={folder}", *options)

    def pileup(self):
        folder, blocks = self.tmp / "pileup_output", self.tmp / "gvcf_tmp_output"
        for line in (self.tmp / "CHUNK_LIST").read_text().splitlines():
            contig, index, count = line.split()
            chunk = (
                "--pileup",
                self.indel_min_af,
                f"--chunk_id={index}",
                f"--chunk_num={count}",
                f"--temp_file_dir={blocks}",
            )
            self.call("pileup", contig, folder / f"pileup_{contig}_{index}.vcf", *chunk)
        self.sort(folder, "pileup", self.output / "pileup.vcf")

    def select(self):
        pileup = self.output / "pileup.vcf.gz"
        self.phase = self.tmp / "phase_output" / "phase_vcf"
        self.beds = self.tmp / "full_alignment_output" / "candidate_bed"
        lines = text(pileup)
        sub_command("SelectQual", "--phase", f"--output_fn={self.phase}", "--var_pct_phasing=0.7", stdin=lines)
        sub_command("SelectQual", f"--output_fn={self.beds}", *self.fractions, self.platform, stdin=lines)
        for contig in self.called:
            sub_command("SelectHetSnp", f"--vcf_fn={pileup}", f"--split_folder={self.phase}", f"--ctgName={contig}")
            unphased, phased = self.phase / f"{contig}.vcf", self.phase / f"phased_{contig}.vcf.gz"
            WhatsHap(find_whatshap(), self.bam, self.reference).phase(contig, unphased, phased)
            options = (f"--pileup_vcf_fn={pileup}", f"--split_folder={self.beds}", f"--ctgName={contig}")
            sub_command("SelectCandidates", *options, *self.fractions, self.platform)

    def full_alignment(self):
        folder = self.tmp / "full_alignment_output"
        for contig in self.called:
            for path in map(Path, (self.beds / f"FULL_ALN_FILE_{contig}").read_text().splitlines()):
                files = (f"--full_aln_regions={path}", f"--phased_vcf_fn={self.phase / f'phased_{contig}.vcf.gz'}")
                calls = folder / f"full_alignment_{path.name}.vcf"
                self.call("full_alignment", contig, calls, "--add_indel_length", *files)
        self.sort(folder, "full_alignment", self.output / "full_alignment.vcf")

    def merge(self):
        folder, blocks = self.tmp / "merge_output", self.tmp / "gvcf_tmp_output"
        stages = [f"--{name}_vcf_fn={self.output / f'{name}.vcf.gz'}" for name in ("pileup", "full_alignment")]
        common = [*stages, self.gvcf, self.platform, f"--bed_fn_prefix={self.beds / 'full_aln_regions'}"]
        if self.gvcf == "--gvcf=True":
            self.sort(blocks, "SAMPLE.", blocks / "non_var.gvcf", "--vcf_fn_suffix=.tmp.gvcf")
            common += [f"--non_var_gvcf_fn={blocks / 'non_var.gvcf'}", f"--ref_fn={self.reference}"]
        for contig in self.called:
            options = [f"--ctgName={contig}", f"--output_fn={folder / f'merge_{contig}.vcf'}"]
            if self.gvcf == "--gvcf=True":
                options += [f"--gvcf_fn={folder / f'merge_{contig}.gvcf'}"]
            sub_command("MergeVcf", *common, *options)
        self.sort(folder, "merge", self.output / "merge_output.vcf")
        if self.gvcf == "--gvcf=True":
            self.sort(folder, "merge", self.output / "merge_output.gvcf", "--vcf_fn_suffix=.gvcf")

    def whole(self):
        for stage in (self.plan, self.pileup, self.select, self.full_alignment, self.merge):
            stage()


@pytest.mark.parametrize(
    "run, chunk_size",
    [("ont_chr21", 5_000_000), ("ont_chr21", 13_000), ("ilmn_gvcf", 5_000_000), ("ilmn_gvcf", 13_000)],
)
def test_stage_by_stage_gives_the_golden_records(shared_data, tmp_path, run, chunk_size):
    golden = shared_data / "golden" / "runs" / run
    workflow = Workflow(shared_data, run, tmp_path, chunk_size, gvcf=run == "ilmn_gvcf")
    workflow.whole()
    for name in ("pileup.vcf.gz", "full_alignment.vcf.gz", "merge_output.vcf.gz"):
        assert records(tmp_path / name) == decided_records(records(golden / name))
        assert (tmp_path / f"{name}.tbi").is_file()
    stages = golden / "stages"
    beds, phase = workflow.beds, workflow.phase
    assert (phase / "phase_qual").read_text().split() == (stages / "phase_vcf" / "phase_qual").read_text().split()
    assert (beds / "qual").read_text().split() == (stages / "candidate_bed" / "qual").read_text().split()
    for path in (stages / "candidate_bed").glob("*.bed"):
        assert (beds / path.stem).read_text() == path.read_text()
    assert records(phase / "chr21.vcf") == records(stages / "phase_vcf" / "chr21.vcf.gz")
    if chunk_size == 5_000_000:
        assert (workflow.tmp / "CHUNK_LIST").read_text() == (stages / "CHUNK_LIST").read_text()


@pytest.mark.parametrize("run, chunk_size", [("ont", 5_000_000), ("hifi", 13_000), ("ilmn", 5_000_000)])
def test_stage_by_stage_gives_the_records_of_v2(tmp_path, run, chunk_size):
    """All contigs of a run in tests/data/parity; the cut-offs between the stages are those of all of them."""
    called = ("chr21", "chr22", "scaffold_1")
    Workflow(PARITY, PARITY_RUNS[run], tmp_path, chunk_size, gvcf=True, called=called).whole()
    for name in ("pileup.vcf.gz", "full_alignment.vcf.gz", "merge_output.vcf.gz", "merge_output.gvcf.gz"):
        if "gvcf" in name and chunk_size < 40_000:  # blocks are cut where chunks are
            continue
        assert_same_records(records(tmp_path / name), records(PARITY / "expected" / run / name), rounding=True)


def test_haplotypes_of_the_reads_tags(shared_data, tmp_path):
    """Short reads with the HP tags that WhatsHap gives them are called as with the phased VCF, else differently."""
    golden = shared_data / "golden" / "runs" / "real_ilmn_na12878"
    run, stages = json.loads((golden / "run.json").read_text()), golden / "stages"
    bam, reference, model = (shared_data / run[key] for key in ("bam", "ref", "model"))
    phased, tagged, beds = tmp_path / "phased.vcf.gz", tmp_path / "tagged.bam", tmp_path / "chr22.0_1"
    phased.write_bytes((stages / "phase_vcf" / "phased_chr22.vcf.gz").read_bytes())
    pysam.tabix_index(str(phased), preset="vcf")
    WhatsHap(find_whatshap(), bam, reference).haplotag(phased, tagged)
    beds.write_text((stages / "candidate_bed" / "chr22.0_1.bed").read_text())
    common = ("--platform=ilmn", "--ctgName=chr22", f"--ref_fn={reference}", f"--full_aln_regions={beds}")
    found = []
    for reads, more in (
        (bam, (f"--phased_vcf_fn={phased}",)),
        (tagged, ("--phasing_info_in_bam",)),
        (tagged, ("--no_phasing_for_fa",)),  # v2.0.2 then takes the tags, too
        (tagged, ()),
    ):
        output = f"--call_fn={tmp_path / 'calls.vcf'}"
        sub_command(
            "CallVarBam", *common, f"--bam_fn={reads}", f"--chkpnt_fn={model / 'full_alignment'}", output, *more
        )
        found.append(records(tmp_path / "calls.vcf"))
    assert found[0] == found[1] == found[2] == records(golden / "full_alignment.vcf.gz") != found[3]


def test_text_between_tensors_and_calls(shared_data, tmp_path, capsys):
    """The two halves of the scripted pipeline, by a file and by a pipe, give the calls of the whole."""
    golden = shared_data / "golden" / "runs" / "ont_chr21"
    workflow = Workflow(shared_data, "ont_chr21", tmp_path, 5_000_000, gvcf=False)
    common, output = (*workflow.inputs, f"--ctgName={CONTIG}"), tmp_path / "calls.vcf"
    beds = (tmp_path / "bed", golden / "stages" / "candidate_bed" / "chr21.0_1.bed")
    beds[0].write_text(beds[1].read_text())
    phased = golden / "stages" / "phase_vcf" / "phased_chr21.vcf.gz"
    pileup = ("CreateTensorPileup", "--indel_min_af=0.15")
    full = ("CreateTensorFullAlignment", f"--full_aln_regions={beds[0]}", f"--phased_vcf_fn={phased}")
    for model, command, more in (("pileup", pileup, ("--pileup",)), ("full_alignment", full, ())):
        capsys.readouterr()
        sub_command(*command, *common)
        lines = capsys.readouterr().out
        (tmp_path / "tensors").write_text(lines)
        options = (f"--chkpnt_fn={workflow.model / model}", f"--ref_fn={workflow.reference}", "--showRef", *more)
        sub_command("CallVariants", *options, f"--call_fn={output}", f"--tensor_fn={tmp_path / 'tensors'}")
        expected = [line for line in records(golden / f"{model}.vcf.gz") if line.startswith(f"{CONTIG}\t")]
        assert records(output) == expected != []
        capsys.readouterr()
        sub_command("CallVariants", *options, "--call_fn=PIPE", stdin=lines)
        assert capsys.readouterr().out == output.read_text()
        sub_command("CallVariants", *options, f"--call_fn={output}", stdin="")
        assert not output.exists()
        damaged = lines.splitlines()[0].rsplit(" ", 1)[0]
        assert refusal(capsys, "CallVariants", *options, "--call_fn=x", stdin=damaged)[0] == 1


@pytest.mark.parametrize("text", ["", "3", "x-RA 3", "3-RA", "3-RA x", "3-QA 3", "-RA 3"])
def test_read_support_that_is_none(text):
    with pytest.raises(InputError, match="no read support"):
        parse_support(["3-RA 3", text])


def test_read_support_comes_back():
    texts = ["37-XT 14 IAAC 2 DCA 3 RA 21", "0-", "3-IACG 3"]
    found = parse_support(texts)
    assert [found.text(i, "A") for i in range(3)] == texts


def test_gvcf_stage_by_stage_is_that_of_the_run(tmp_path):
    run = PARITY_RUNS["ont"] | {"options": [f"--ctg_name={CONTIG}", "--gvcf"]}
    Workflow(PARITY, run, tmp_path / "stages", 5_000_000, gvcf=True).whole()
    clair3(["run", *run_arguments(PARITY, run, tmp_path / "run")])
    for name in ("merge_output.vcf.gz", "merge_output.gvcf.gz"):
        assert records(tmp_path / "stages" / name) == records(tmp_path / "run" / name)
        assert len(records(tmp_path / "run" / name)) > 50


def test_gvcf_of_many_chunks_has_no_gap(tmp_path):
    """Blocks are cut at the chunks that the workflow asks for, and every base is told of once."""
    workflow = Workflow(PARITY, PARITY_RUNS["ont"], tmp_path, 13_000, gvcf=True)
    workflow.whole()
    behind, variants = 1, 0
    for line in records(tmp_path / "merge_output.gvcf.gz"):
        fields = line.split("\t")
        start, block = int(fields[1]), fields[4] == "<NON_REF>"
        variants += not block
        assert start == behind or not block
        end = int(fields[7].removeprefix("END=")) if block else start + len(fields[3]) - 1
        behind = max(behind, end + 1)
    assert behind == 40_001
    assert variants == len(records(tmp_path / "merge_output.vcf.gz")) > 30


def test_plan_of_intervals_and_sites(shared_data, tmp_path):
    small = shared_data / "sim" / "small"
    inputs = (f"--bam_fn={small / 'ont.bam'}", f"--ref_fn={small / 'ref.fa'}")
    for name, option in (("ont_bed", "bed_fn=regions.bed"), ("ont_vcf", "vcf_fn=known.vcf.gz")):
        key, file = option.split("=")
        run = json.loads((shared_data / "golden" / "runs" / name / "run.json").read_text())
        assert any(given.endswith(file) for given in run["options"])
        more = [given for given in run["options"] if given.startswith(("--ctg_name", "--include_all"))]
        sub_command("CheckEnvs", *inputs, f"--output_fn_prefix={tmp_path / name}", f"--{key}={small / file}", *more)
        stages = shared_data / "golden" / "runs" / name / "stages"
        for path in (stages / "split_beds").iterdir():
            found = (tmp_path / name / "tmp" / "split_beds" / path.name).read_text()
            expected = path.read_text().rstrip("\n").split("\n")
            if name == "ont_vcf":  # v2.0.2 has a row for each of two records at one position
                expected = sorted(dict.fromkeys(expected), key=lambda line: int(line.split()[1]))
            assert found.splitlines() == expected
        lists = [(folder / "CHUNK_LIST").read_text().split("\n") for folder in (tmp_path / name / "tmp", stages)]
        assert lists[0] == lists[1]


@pytest.mark.parametrize(
    "run, name, options",
    [
        ("ont_bed", "CallVariantsFromCffi", ("bed_fn=regions.bed",)),
        ("ont_bed", "CallVarBam", ("bed_fn=regions.bed", "indel_min_af=0.15")),
        ("ont_vcf", "CallVariantsFromCffi", ("vcf_fn=known.vcf.gz", "snp_min_af=0", "indel_min_af=0")),
    ],
)
@pytest.mark.parametrize("gvcf", [False, True])
def test_chunks_of_restricted_runs(run, name, options, gvcf, shared_data, tmp_path):
    """Intervals and known sites in three chunks give the golden pileup rows, with a gVCF or without."""
    small = shared_data / "sim" / "small"
    options = [f"--{option.replace('_fn=', f'_fn={small}/')}" for option in options]
    inputs = (f"--bam_fn={small / 'ont.bam'}", f"--ref_fn={small / 'ref.fa'}", f"--ctgName={CONTIG}", "--pileup")
    model = f"--chkpnt_fn={shared_data / 'models' / 'ont_sim' / 'pileup'}"
    for index in (1, 2, 3):
        chunk = (f"--chunk_id={index}", "--chunk_num=3", f"--gvcf={gvcf}", f"--temp_file_dir={tmp_path / 'blocks'}")
        sub_command(name, *inputs, model, *options, *chunk, f"--call_fn={tmp_path / f'pileup_{index}.vcf'}")
    found = [line for index in (1, 2, 3) for line in records(tmp_path / f"pileup_{index}.vcf")]
    golden = records(shared_data / "golden" / "runs" / run / "pileup.vcf.gz")
    expected = [line for line in golden if line.startswith(f"{CONTIG}\t")]
    assert [format_record(without_likelihoods(parse_record(line))) for line in found] == expected and len(expected) > 10
    if gvcf:
        blocks = [line for path in sorted((tmp_path / "blocks").iterdir()) for line in records(path)]
        assert len(list((tmp_path / "blocks").iterdir())) == 3 and len(blocks) > 10


def test_nothing_to_call_is_an_empty_file(sample_reads, tmp_path):
    inputs = (f"--bam_fn={sample_reads / 'reads.bam'}", f"--ref_fn={sample_reads / 'ref.fa'}")
    sub_command("CheckEnvs", *inputs, f"--output_fn_prefix={tmp_path}", "--min_contig_size=100000")
    assert records(tmp_path / "merge_output.vcf.gz") == []
    assert (tmp_path / "merge_output.vcf.gz.tbi").is_file()
    assert (tmp_path / "tmp" / "CONTIGS").read_text() == ""


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("targets", [None, [[100, 200], [150, 400], [900, 990]]])
def test_chunks_own_everything_once(count, targets):
    contig = Contig("chr1", 1001)
    given = None if targets is None else {"chr1": np.array(targets)}
    parts = [bounds(contig, given, Part(index, count), sites=False) for index in range(count)]
    owned = [span for _, span in parts]
    assert owned[0][0] == 0 and owned[-1][1] == contig.length
    assert all(before[1] == after[0] for before, after in pairwise(owned))
    cells = [cell for cell, _ in parts]
    assert all(before.end == after.start for before, after in pairwise(cells))


def test_chunks_of_the_specification():
    """spec/cli.md 10, no. 5: bounds are 1-based there, the end one behind."""
    targets = {"chr1": np.array([[1000, 9000], [21000, 30000]])}
    cells = [bounds(Contig("chr1", 60_000), targets, Part(index, 6), False)[0] for index in range(6)]
    starts = [968, 5813, 10658, 15503, 20348, 25193, 30038]
    assert [(cell.start + 1, cell.end + 1) for cell in cells] == list(pairwise(starts))


def test_known_sites_are_dealt_in_runs():
    sites = {"chr1": np.array([10, 20, 30, 40, 50])}
    owned = [bounds(Contig("chr1", 100), sites, Part(index, 4), True)[1] for index in range(4)]
    assert owned == [(10, 21), (30, 41), (50, 51), (0, 0)]


def test_a_part_that_is_none():
    with pytest.raises(ConfigError, match="--chunk_id=4: expected a number from 1 to --chunk_num=3"):
        Part(3, 3)


def test_candidates_come_back(tmp_path):
    pos = np.array([0, 3, 16, 17, 18, 5000])
    (tmp_path / "bed").write_text(Block("chr1", 0, 1, pos).bed())
    assert read_candidates(tmp_path / "bed", "chr1").tolist() == pos.tolist()
    assert read_candidates(tmp_path / "bed", "chr2").tolist() == []
    (tmp_path / "bed").write_text("chr1\tx\t5\n")
    with pytest.raises(InputError, match="row 1 is 'chr1"):
        read_candidates(tmp_path / "bed", "chr1")


def test_sorting_stdin():
    lines = [
        "#h",
        row(9, contig="z"),
        row(7),
        row(5, "1.00", contig="chr2"),
        row(3),
        row(7, "30.00"),
        row(2, contig="X"),
    ]
    expected = ["#h", row(3), row(7, "30.00"), row(5, "1.00", contig="chr2"), row(2, contig="X"), row(9, contig="z")]
    parsed = (line if line.startswith("#") else parse_record(line) for line in lines)
    assert sort_lines(parsed) == expected


def test_sorting_files(tmp_path, caplog):
    """Contigs go by what files hold, not by their names; strange contigs are left out with a word."""
    write_vcf(tmp_path / "in" / "pileup_chr10_1.vcf", row(5), row(9))
    write_vcf(tmp_path / "in" / "pileup_chr1_2.vcf", row(9, "33.00"), row(2, alt=".", genotype="0/0"))
    write_vcf(tmp_path / "in" / "pileup_chr1_3.vcf", row(1, contig="chr9"))
    write_vcf(tmp_path / "in" / "other.vcf", row(4))
    (tmp_path / "CONTIGS").write_text("chr1")
    options = (f"--input_dir={tmp_path / 'in'}", "--vcf_fn_prefix=pileup", f"--contigs_fn={tmp_path / 'CONTIGS'}")
    (tmp_path / "CMD").write_text("run_clair3.sh --x")
    sub_command("SortVcf", *options, f"--output_fn={tmp_path / 'pileup.vcf'}", f"--cmd_fn={tmp_path / 'CMD'}")
    found = records(tmp_path / "pileup.vcf.gz")
    assert found == [row(2, alt=".", genotype="0/0"), row(5), row(9, "33.00")]
    assert text(tmp_path / "pileup.vcf.gz").splitlines()[3] == "##cmdline=run_clair3.sh --x"
    assert "Rows of chr9 are left out" in caplog.text
    sub_command("SortVcf", *options, f"--output_fn={tmp_path / 'final.vcf'}", "--pileup_only=yes", "--qual=20")
    assert records(tmp_path / "final.vcf.gz") == [row(5).replace("PASS", "LowQual"), row(9, "33.00")]


def test_sorting_nothing(sample_reads, tmp_path, caplog):
    (tmp_path / "CONTIGS").write_text("chr1")
    (tmp_path / "in").mkdir()
    files = (f"--contigs_fn={tmp_path / 'CONTIGS'}", f"--ref_fn={sample_reads / 'ref.fa'}", "--sampleName=me")
    sub_command("SortVcf", f"--input_dir={tmp_path / 'in'}", *files, f"--output_fn={tmp_path / 'pileup.vcf'}")
    assert "No vcf file found with prefix" in caplog.text and "No variant found" in caplog.text
    for name in ("pileup.vcf.gz", "merge_output.vcf.gz"):
        assert records(tmp_path / name) == [] and (tmp_path / f"{name}.tbi").is_file()
        assert text(tmp_path / name).endswith("FORMAT\tme\n") and "##contig=" in text(tmp_path / name)


def test_a_damaged_file_leaves_nothing(tmp_path, capsys):
    write_vcf(tmp_path / "in" / "a.vcf", row(5), "chr1\t7\t.\tA")
    (tmp_path / "CONTIGS").write_text("chr1")
    options = (f"--input_dir={tmp_path / 'in'}", f"--contigs_fn={tmp_path / 'CONTIGS'}")
    code, message = refusal(capsys, "SortVcf", *options, f"--output_fn={tmp_path / 'x.vcf'}")
    assert code == 1 and "a.vcf" in message and "not a VCF record" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["CONTIGS", "in"]
    (tmp_path / "CONTIGS").unlink()
    assert refusal(capsys, "SortVcf", *options, f"--output_fn={tmp_path / 'x.vcf'}")[0] == 1


def test_without_cutoff_files(tmp_path):
    """The lowest 30 % of the contig's SNPs are dropped; candidates are chosen by the contig's own cut-offs."""
    rows = [row(pos, f"{pos}.00") for pos in range(1, 11)]
    vcf = write_vcf(tmp_path / "pileup.vcf", *rows)
    options = (f"--split_folder={tmp_path}", "--ctgName=chr1")
    sub_command("SelectHetSnp", f"--vcf_fn={vcf}", *options)
    assert records(tmp_path / "chr1.vcf") == rows[2:]
    sub_command("SelectCandidates", f"--pileup_vcf_fn={vcf}", *options, "--var_pct_full=0.5")
    assert read_candidates(tmp_path / "chr1.0_1", "chr1").tolist() == [0, 1, 2, 3]
    (tmp_path / "qual").write_text("0.0 0.0")
    sub_command("SelectCandidates", f"--pileup_vcf_fn={vcf}", *options)
    assert not (tmp_path / "chr1.0_1").exists() and not (tmp_path / "FULL_ALN_FILE_chr1").exists()


def test_add_back(tmp_path, capsys):
    merged = write_vcf(tmp_path / "merged.vcf", row(5), row(9))
    known = write_vcf(tmp_path / "known.vcf", row(20), "chr1\t7\trs1\tAC\tA", row(5, "1.00"))
    options = (f"--vcf_fn={known}", f"--clair3_input_vcf_fn={merged}", f"--output_fn={tmp_path / 'out.vcf'}")
    sub_command("AddBackMissingVariantsInGenotyping", *options)
    missing = "chr1\t{}\t{}\tA\t.\t.\t.\t.\tGT\t./."
    assert records(tmp_path / "out.vcf.gz") == [row(5), missing.format(7, "rs1"), missing.format(20, ".")]
    sub_command("AddBackMissingVariantsInGenotyping", *options, "--switch_genotype=no")
    assert records(tmp_path / "out.vcf.gz") == [row(5), "chr1\t7\trs1\tAC\tA\t.\t.\t.\t.\t.", row(20)]
    known.write_text(row(1, contig="chr3") + "\n")
    code, message = refusal(capsys, "AddBackMissingVariantsInGenotyping", *options)
    assert code == 1 and "none of its sites is on a contig of the reference, line 1 (chr3 1) neither" in message


def test_add_back_gives_the_golden_genotypes(shared_data, tmp_path):
    """The rows of a genotyping run that were called, and the known sites, give its output again."""
    expected = records(shared_data / "golden" / "runs" / "ont_vcf" / "merge_output.vcf.gz")
    header = [line for line in text(shared_data / "golden/runs/ont_vcf/merge_output.vcf.gz").split("\n") if "#" in line]
    called = [line for line in expected if not line.endswith("./.")]
    (tmp_path / "merged.vcf").write_text("".join(f"{line}\n" for line in header + called))
    known = shared_data / "sim" / "small" / "known.vcf.gz"
    options = (f"--vcf_fn={known}", f"--clair3_input_vcf_fn={tmp_path / 'merged.vcf'}")
    sub_command("AddBackMissingVariantsInGenotyping", *options, f"--output_fn={tmp_path / 'out.vcf.gz'}")
    assert len(expected) > len(called) > 0
    assert records(tmp_path / "out.vcf.gz") == expected


def test_job_logs(tmp_path, caplog):
    log = tmp_path / "log"
    with pytest.raises(InputError, match="no such job log"):
        check_jobs(log)
    log.write_text("")
    sub_command("CheckExitCode", f"--parallel_log_fn={log}")
    assert "the job log is empty" in caplog.text
    head = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
    log.write_text(head + "1\t:\t1.0\t2.0\t0\t0\t0\t0\ttrue\n")
    check_jobs(log)
    for exit_value, signal in ((3, 0), (0, 9)):
        log.write_text(head + f"1\t:\t1.0\t2.0\t0\t0\t{exit_value}\t{signal}\tfalse a\n")
        with pytest.raises(InputError, match="1 of 1"):
            check_jobs(log)
        assert f"Command failed: false a (Exit status: {exit_value}, Signal: {signal})" in caplog.text
    log.write_text("Seq\tHost\n1\t:\n")
    with pytest.raises(InputError, match="no column Exitval, Signal, Command"):
        check_jobs(log)


def test_overall_metrics(tmp_path, capsys):
    """Counted by hand: SNP 3 of 4 found and one false, one insertion found, one deletion missed."""
    samples = [
        *["TP:ti:SNP\tTP:ti:SNP"] * 3,
        "FN:tv:SNP\t.:.:NOCALL",
        ".:.:NOCALL\tFP:ti:SNP",
        "TP:i1_5:INDEL\tTP:i1_5:INDEL",
        "FN:d6_15:INDEL\t.:.:NOCALL",
    ]
    rows = [f"chr1\t{pos}\t.\tA\tG\t.\t.\t.\tBD:BI:BVT\t{both}" for pos, both in enumerate(samples, 1)]
    vcf = tmp_path / "happy.vcf"
    vcf.write_text("\n".join(["#CHROM", *rows, rows[3].replace("chr1", "chr2"), ""]))
    options = (f"--happy_vcf_fn={vcf}", "--ctgName=chr1", f"--output_fn={tmp_path / 'out'}")
    sub_command("GetOverallMetrics", *options)
    *table, scores, counts = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table[1:]] == ["Overall", "SNP", "INDEL", "INS", "DEL"]
    expected = [[0.8, 0.666667, 0.727273], [0.75, 0.75, 0.75], [1.0, 0.5, 0.666667], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    assert scores == " ".join(str(value) for group in expected for value in group)
    assert counts == "1 2 4 1 1 3 0 1 1 0 0 1 0 1 0"
    assert (tmp_path / "out").read_text().splitlines() == [*table, scores, counts]
    vcf.write_text(rows[0].replace("BVT", "X"))
    code, message = refusal(capsys, "GetOverallMetrics", *options)
    assert code == 1 and "give hap.py's VCF" in message


CALL = ("--bam_fn=x", "--ref_fn=x", "--ctgName=chr1", "--chkpnt_fn=x", "--call_fn=x")


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("SelectHetSnp", ("--vcf_fn=x", "--split_folder=x", "--ctgName=c", "--phase"), "--alt_fn is needed"),
        ("SelectHetSnp", ("--vcf_fn=x", "--split_folder=x", "--ctgName=c", "--alt_fn=x"), "--alt_fn is for training"),
        ("SelectCandidates", ("--pileup_vcf_fn=x", "--split_folder=x", "--ctgName=c", "--split_bed_size=5"), "10000"),
        ("SortVcf", ("--output_fn=x", "--input_dir=x"), "--contigs_fn is needed"),
        ("SortVcf", ("--output_fn=x", "--use_gpu"), "--use_gpu is not in"),
        ("CallVariantsFromCffi", CALL, "--full_aln_regions is needed"),
        ("CallVariantsFromCffi", (*CALL, "--pileup", "--enable_dwell_time"), "leave it or --pileup out"),
        ("CallVariantsFromCffi", (*CALL, "--pileup", "--use_triton_gpu=True"), "--use_triton_gpu is not in"),
        ("CallVariantsFromCffiGPU", (*CALL, "--pileup", "--output_dir=x"), "--output_dir is not in"),
        ("CallVariantsFromCffi", (*CALL, "--pileup", f"--extend_bed={__file__}"), "--extend_bed alone"),
        ("CallVarBam", (*CALL, "--pileup", "--need_phasing"), "--need_phasing is not in"),
    ],
)
def test_what_is_not_supported_is_refused(name, options, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, message = refusal(capsys, name, *options)
    assert code == 2 and message.startswith("[ERROR] ") and words in message
    assert not list(tmp_path.iterdir())


def test_unknown_names(capsys):
    code, message = refusal(capsys, "Nothing")
    assert (code, message) == (1, "[ERROR] Submodule Nothing not found.")


def test_calling_has_no_file_without_calls(sample, tmp_path, monkeypatch):
    """One chunk of nothing: an older result goes, and none takes its place (spec/calling.md 4)."""
    output = tmp_path / "calls.vcf"
    output.write_text("old")
    monkeypatch.setattr(call_chunk, "bounds", lambda *args, **kwargs: (call_chunk.Cell(0, 0), (0, 0)))
    contig = (sample / "ref.fa").read_text().split()[0][1:]
    files = (f"--bam_fn={sample / 'reads.bam'}", f"--ref_fn={sample / 'ref.fa'}", f"--call_fn={output}")
    model = f"--chkpnt_fn={sample / 'model' / 'pileup'}"
    sub_command("CallVariantsFromCffi", *files, model, f"--ctgName={contig}", "--pileup")
    assert list(tmp_path.iterdir()) == []


def test_calling_needs_the_folder_of_its_output(sample, tmp_path, capsys):
    """Told before the work, and by the name that the user gave."""
    contig, output = (sample / "ref.fa").read_text().split()[0][1:], tmp_path / "none" / "calls.vcf"
    files = (f"--bam_fn={sample / 'reads.bam'}", f"--ref_fn={sample / 'ref.fa'}", f"--call_fn={output}")
    options = (f"--chkpnt_fn={sample / 'model' / 'pileup'}", f"--ctgName={contig}", "--pileup")
    text = f"{output}: cannot be written, there is no folder {output.parent}; make it, or choose another"
    assert refusal(capsys, "CallVariantsFromCffi", *files, *options) == (1, f"[ERROR] {text}")
