"""Phasing by external programs: v2.0.2's phased records, honest failures, results read back as arrays."""

import gzip
import importlib.util
import json
import logging
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pysam
import pytest
from golden_runs import PARITY

from clair3.errors import ConfigError, InputError
from clair3.phasing.phasers import LongPhase, PhasingError, WhatsHap, find_longphase, find_whatshap, read_phased

ORACLE = "2.8"
"""WhatsHap of the golden runs; another version may phase otherwise."""

HEADER = '##fileformat=VCFv4.2\n##contig=<ID=chr20>\n##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tSAMPLE\n"


def records(path: Path) -> list[str]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as lines:
        return [line.rstrip("\n") for line in lines if not line.startswith("#")]


def unpack(path: Path, folder: Path, contig: str | None = None) -> Path:
    """A compressed VCF as plain text, of one contig if given."""
    plain = folder / f"{contig or 'all'}.vcf"
    with gzip.open(path, "rt") as lines:
        plain.write_text("".join(line for line in lines if line[0] == "#" or line.split("\t")[0] == (contig or line)))
    return plain


# --- the runs of v2.0.2 ------------------------------------------------------------------------------------------


@pytest.fixture
def oracle():
    """The WhatsHap of the golden runs."""
    if (found := version("whatshap")) != ORACLE:
        pytest.skip(f"WhatsHap {found} is installed; the golden runs were phased by {ORACLE}")
    return find_whatshap()


@pytest.fixture
def golden(shared_data, oracle):
    """Folder of a golden run, and WhatsHap on its reads."""

    def open_run(name: str) -> tuple[Path, WhatsHap]:
        folder = shared_data / "golden" / "runs" / name
        run = json.loads((folder / "run.json").read_text())
        return folder, WhatsHap(oracle, shared_data / run["bam"], shared_data / run["ref"])

    return open_run


@pytest.mark.parametrize("name", ["ont_default", "hifi_default", "real_ont_hac5", "deep_ont", "ont_cram"])
def test_phasing_between_the_networks(golden, tmp_path, name):
    folder, whatshap = golden(name)
    expected = sorted(folder.glob("stages/phase_vcf/phased_*.vcf.gz"))
    assert expected
    for path in expected:
        contig = path.name.removeprefix("phased_").removesuffix(".vcf.gz")
        output = tmp_path / path.name
        whatshap.phase(contig, unpack(path.with_name(f"{contig}.vcf.gz"), tmp_path, contig), output)
        assert records(output) == records(path)
        assert output.read_bytes()[:2] == b"\x1f\x8b"
    assert sorted(path.name for path in tmp_path.iterdir() if "phased" in path.name) == [p.name for p in expected]


def test_final_phasing(golden, tmp_path):
    folder, whatshap = golden("ont_final_phased")
    found = []
    for contig in ("chr20", "chr21"):
        output = tmp_path / f"phased_merge_{contig}.vcf"
        whatshap.phase(contig, unpack(folder / "merge_output.vcf.gz", tmp_path, contig), output, trust_genotypes=True)
        found += records(output)
    assert found == records(folder / "phased_merge_output.vcf.gz")
    assert sum("|" in line for line in found) > 250


def test_final_phasing_of_the_parity_run(oracle, tmp_path):
    folder, found = PARITY / "expected" / "hifi_phased", []
    whatshap = WhatsHap(oracle, PARITY / "reads" / "hifi.bam", PARITY / "reads" / "ref.fa")
    for contig in ("chr21", "chr22", "scaffold_1"):
        output = tmp_path / f"phased_merge_{contig}.vcf"
        whatshap.phase(contig, unpack(folder / "merge_output.vcf.gz", tmp_path, contig), output, trust_genotypes=True)
        found += records(output)
    assert found == records(folder / "phased_merge_output.vcf.gz")


def test_haplotagging(golden, tmp_path):
    folder, whatshap = golden("ont_haplotag")
    vcf = Path(shutil.copy(folder / "phased_merge_output.vcf.gz", tmp_path))
    pysam.tabix_index(str(vcf), preset="vcf")
    whatshap.haplotag(vcf, tmp_path / "phased_output.bam", threads=2)
    expected = gzip.decompress((folder / "phased_output.haplotags.tsv.gz").read_bytes()).decode().splitlines()[1:]
    with pysam.AlignmentFile(str(tmp_path / "phased_output.bam")) as bam:
        assert bam.has_index()
        found = ["\t".join(map(str, tags_of(read))) for read in bam.fetch(until_eof=True)]
    assert found == expected
    assert sorted(path.name for path in tmp_path.glob("phased_output*")) == [
        "phased_output.bam",
        "phased_output.bam.bai",
    ]


def tags_of(read: pysam.AlignedSegment) -> list:
    tags = [read.get_tag(tag) if read.has_tag(tag) else "." for tag in ("HP", "PS")]
    return [read.query_name, read.flag, read.reference_name or "*", read.reference_start + 1, *tags]


# --- any WhatsHap, on the sample ---------------------------------------------------------------------------------


@pytest.fixture
def whatshap(sample_reads) -> WhatsHap:
    return WhatsHap(find_whatshap(), sample_reads / "reads.bam", sample_reads / "ref.fa")


@pytest.fixture
def snps(sample_reads, tmp_path) -> Path:
    """The true heterozygous SNPs of chr20, without their phase."""
    path = tmp_path / "chr20.vcf"
    rows = [line.split("\t") for line in records(sample_reads / "truth.vcf.gz")]
    kept = [row[:9] for row in rows if row[0] == "chr20" and len(row[3]) == len(row[4]) == 1 and row[9] != "1|1"]
    path.write_text(HEADER + COLUMNS + "".join("\t".join([*row, "0/1"]) + "\n" for row in kept))
    return path


def test_phase_agrees_with_truth(whatshap, snps, sample_reads, tmp_path):
    """Within a phase set all SNPs are as in the truth, or all the other way round."""
    whatshap.phase("chr20", snps, tmp_path / "phased.vcf.gz")
    found = read_phased(tmp_path / "phased.vcf.gz", "chr20")
    assert len(found) > 0.8 * len(records(snps)) > 10
    rows = [line.split("\t") for line in records(sample_reads / "truth.vcf.gz")]
    truth = {int(row[1]) - 1: (row[3], row[4], row[9]) for row in rows if row[0] == "chr20"}
    ref, alt, genotypes = zip(*[truth[pos] for pos in found.pos.tolist()], strict=True)
    assert found.ref.tobytes().decode() == "".join(ref)
    assert found.alt.tobytes().decode() == "".join(alt)
    same = found.haplotype == np.where(np.array(genotypes) == "0|1", 1, 2)
    for number in np.unique(found.phase_set):
        assert len(set(same[found.phase_set == number])) == 1
        assert number - 1 == found.pos[found.phase_set == number].min()


def test_nothing_to_phase(whatshap, tmp_path):
    vcf = tmp_path / "chr20.vcf"
    vcf.write_text(HEADER + COLUMNS)
    whatshap.phase("chr20", vcf, tmp_path / "phased.vcf.gz")
    assert len(read_phased(tmp_path / "phased.vcf.gz", "chr20")) == 0


def test_a_failing_run_says_why(whatshap, snps, sample_reads, tmp_path, caplog):
    reference = Path(shutil.copy(sample_reads / "ref.fa", tmp_path / "unindexed.fa"))
    failing = WhatsHap(whatshap.command, whatshap.bam, reference)
    with caplog.at_level(logging.DEBUG), pytest.raises(PhasingError) as failure:
        failing.phase("chr20", snps, tmp_path / "phased.vcf.gz")
    message = str(failure.value)
    assert message.startswith("phasing of chr20 failed, exit code 1: ")
    assert "index file (.fai)" in message and "samtools faidx" in message
    assert "--distrust-genotypes" in caplog.text and "This is WhatsHap" in caplog.text
    with pytest.raises(PhasingError, match=r"^haplotagging failed, exit code 1: "):
        failing.haplotag(snps, tmp_path / "phased.bam")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chr20.vcf", "unindexed.fa"]


def test_a_folder_in_the_way_is_not_the_program(whatshap, snps, tmp_path, monkeypatch):
    if sys.version_info < (3, 11):
        pytest.skip("Python 3.10 cannot be told to leave out the current folder")
    (tmp_path / "whatshap").mkdir()
    (tmp_path / "whatshap" / "__main__.py").write_text("raise SystemExit('wrong program')")
    monkeypatch.chdir(tmp_path)
    whatshap.phase("chr20", snps, tmp_path / "phased.vcf.gz")


# --- stand-ins ---------------------------------------------------------------------------------------------------


PHASED = HEADER + COLUMNS + "chr20\t5\t.\tA\tG\t9\tPASS\tP\tGT:PS\t0|1:5\n"
LONGPHASE = f"""
open(os.environ["SEEN"], "w").write("\\n".join(args))
text = {PHASED!r}.encode()
prefix = args[args.index("-o") + 1]
if os.environ["PACKED"]:
    import pysam
    pysam.BGZFile(prefix + ".vcf.gz", "wb").write(text)
else:
    open(prefix + ".vcf", "wb").write(text)
"""


@pytest.mark.parametrize("packed", ["", "yes"])
@pytest.mark.parametrize("name", ["phased_chr20.vcf.gz", "phased_merge_chr20.vcf"])
@pytest.mark.parametrize("platform, flag", [("ont", "--ont"), ("hifi", "--pb"), ("ilmn", "--pb")])
def test_longphase(program, tmp_path, monkeypatch, packed, name, platform, flag):
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    monkeypatch.setenv("PACKED", packed)
    tool = LongPhase((str(program("longphase", LONGPHASE)),), Path("/d/reads.bam"), Path("/d/ref.fa"), platform, 3)
    output = tmp_path / "out" / name
    output.parent.mkdir()
    tool.phase("chr20", Path("/d/chr20.vcf"), output)
    seen = (tmp_path / "seen").read_text().splitlines()
    prefix = seen.pop(seen.index("-o") + 1)
    assert seen == ["phase", "-s", "/d/chr20.vcf", "-b", "/d/reads.bam", "-r", "/d/ref.fa", "-t", "3", "-o", flag]
    assert Path(prefix).name == name.split(".")[0]
    text = output.read_bytes()
    assert (gzip.decompress(text) if name.endswith(".gz") else text).decode() == PHASED
    assert read_phased(output, "chr20").pos.tolist() == [4]
    assert [path.name for path in output.parent.iterdir()] == [name]


@pytest.mark.parametrize(
    "text, message",
    [
        ("for i in range(9): print('line', i, file=sys.stderr)\nsys.exit(3)", "exit code 3: line 6 | line 7 | line 8"),
        ("print('to stdout')", "it wrote no result: no message"),
        ("os.kill(os.getpid(), 9)", "ended by signal 9: no message"),
        ("open(args[args.index('-o') + 1] + '.vcf', 'w').write('half')\nsys.exit(1)", "exit code 1: no message"),
    ],
)
def test_failing_programs(program, tmp_path, text, message):
    tool = LongPhase((str(program("longphase", text)),), Path("/d/reads.bam"), Path("/d/ref.fa"), "ont")
    with pytest.raises(PhasingError) as failure:
        tool.phase("chr20", Path("/d/chr20.vcf"), tmp_path / "phased.vcf.gz")
    assert str(failure.value) == f"phasing of chr20 failed, {message}"
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_a_program_that_is_not_there(tmp_path):
    tool = WhatsHap((str(tmp_path / "absent"),), Path("/d/reads.bam"), Path("/d/ref.fa"))
    with pytest.raises(PhasingError, match=r"absent cannot be started \(No such file or directory\)"):
        tool.phase("chr20", Path("/d/chr20.vcf"), tmp_path / "phased.vcf.gz")


def test_an_earlier_result_stays_when_a_new_one_fails(program, tmp_path):
    output = tmp_path / "phased.vcf.gz"
    output.write_text("earlier")
    tool = WhatsHap((str(program("whatshap", "sys.exit(1)")),), Path("/d/reads.bam"), Path("/d/ref.fa"))
    with pytest.raises(PhasingError):
        tool.phase("chr20", Path("/d/chr20.vcf"), output)
    assert output.read_text() == "earlier"


# --- which program -----------------------------------------------------------------------------------------------


def test_whatshap_of_our_python_unless_given(program, monkeypatch, tmp_path):
    own = (sys.executable, *(["-P"] if sys.version_info >= (3, 11) else []), "-m", "whatshap")
    assert find_whatshap() == find_whatshap("whatshap") == own
    other = program("whatshap", "")
    assert find_whatshap(str(other)) == (str(other),)
    monkeypatch.setenv("PATH", str(other.parent))
    assert find_whatshap() == own
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert find_whatshap() == (str(other),)
    beside = Path(shutil.copy(other, tmp_path / "whatshap"))
    assert find_whatshap() == (str(beside),)
    monkeypatch.setenv("PATH", "")
    beside.unlink()
    with pytest.raises(ConfigError, match="WhatsHap was not found"):
        find_whatshap()
    with pytest.raises(ConfigError, match="--whatshap=/absent/whatshap: expected"):
        find_whatshap("/absent/whatshap")


def test_longphase_is_looked_for(program, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="Cannot find LongPhase path in"):
        find_longphase()
    with pytest.raises(ConfigError, match="--longphase=/absent: expected"):
        find_longphase("/absent")
    path = program("longphase", "")
    assert find_longphase(str(path)) == str(path)
    monkeypatch.setenv("PATH", str(path.parent))
    assert find_longphase() == str(path)


# --- reading back ------------------------------------------------------------------------------------------------


def phased_row(pos=5, ref="A", alt="G", keys="GT:DP:PS", sample="0|1:9:5", contig="chr20"):
    return f"{contig}\t{pos}\t.\t{ref}\t{alt}\t9\tPASS\tP\t{keys}\t{sample}\n"


@pytest.mark.parametrize("suffix", [".vcf", ".vcf.gz"])
def test_read_phased(tmp_path, suffix):
    rows = [
        phased_row(1, "A", "G", sample="0|1:9:1"),
        phased_row(2, "c", "T", sample="1|0:9:1"),
        phased_row(3, sample="1|1:9:2"),
        phased_row(4, alt="C,T", sample="1|2:9:2"),
        phased_row(5, sample="0/1:9:2"),
        phased_row(6, ref="AC", sample="0|1:9:2"),
        phased_row(7, alt="GT", sample="0|1:9:2"),
        phased_row(8, sample="0|1:9:."),
        phased_row(9, keys="GT", sample="0|1"),
        phased_row(10, sample="0|1:9:2", contig="chr21"),
        phased_row(2_500_000_000, "G", "A", "GT:PS", "0|1:2500000000"),
    ]
    path = tmp_path / f"phased{suffix}"
    text = (HEADER + COLUMNS + "".join(rows)).encode()
    path.write_bytes(gzip.compress(text) if suffix == ".vcf.gz" else text)
    found = read_phased(path, "chr20")
    assert found.pos.tolist() == [0, 1, 2, 2_499_999_999] and found.pos.dtype == np.int64
    assert bytes(found.ref) == b"AcAG" and found.ref.dtype == np.uint8
    assert bytes(found.alt) == b"GTGA" and found.alt.dtype == np.uint8
    assert found.haplotype.tolist() == [1, 2, 2, 1] and found.haplotype.dtype == np.int8
    assert found.phase_set.tolist() == [1, 1, 2, 2_500_000_000] and found.phase_set.dtype == np.int64
    assert len(found) == 4
    empty = read_phased(path, "chr1")
    assert len(empty) == 0 and empty.ref.dtype == np.uint8 and empty.phase_set.shape == (0,)


def test_reading_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_phased(tmp_path / "absent.vcf.gz", "chr20")


def test_golden_phased_files_are_read(shared_data):
    path = shared_data / "golden" / "runs" / "ont_default" / "stages" / "phase_vcf" / "phased_chr20.vcf.gz"
    found = read_phased(path, "chr20")
    lines = [line.split("\t") for line in records(path) if "|" in line.split("\t")[9]]
    assert found.pos.tolist() == [int(line[1]) - 1 for line in lines]
    assert set(found.phase_set.tolist()) == {11903}
    assert np.bincount(found.haplotype).tolist() == [
        0,
        *(sum(line[9][:3] == gt for line in lines) for gt in ("0|1", "1|0")),
    ]
