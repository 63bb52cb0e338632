"""Bad input through the whole program: one clear line, an exit code that is not 0, no VCF that looks complete."""

import gzip
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pysam
import pytest

from clair3.calling import output_folder
from clair3.cli.main import main as clair3
from clair3.io.text import BGZF_EOF
from clair3.platforms import PLATFORMS


class Case:
    """A folder with a copy of the sample's files that a test may spoil, and a run on it."""

    def __init__(self, sample: Path, folder: Path, capfd, platform: str):
        self.folder, self.capfd = folder, capfd
        for name in ("reads.bam", "reads.bam.bai", "ref.fa", "ref.fa.fai"):
            shutil.copy(sample / name, folder / name)
        shutil.copytree(sample / "model", folder / "model")
        self.options = {
            "bam_fn": folder / "reads.bam",
            "ref_fn": folder / "ref.fa",
            "model_path": folder / "model",
            "output": folder / "out",
            "platform": platform,
            "threads": 1,
            "pileup_only": "yes",
        }

    def run(self, **changes) -> tuple[int, str, list[str]]:
        """Exit code, the [ERROR] line without its mark, and the warnings."""
        options = {**self.options, **changes}
        code = 0
        try:
            clair3(["run", *[f"--{name}={value}" for name, value in options.items() if value is not None]])
        except SystemExit as stop:
            code = stop.code
        out, lines = self.capfd.readouterr()
        assert not out, "stdout carries data, never words"
        assert "Traceback" not in lines
        errors = [line for line in lines.splitlines() if line.startswith("[ERROR]")]
        assert len(errors) <= 1
        warnings = [line for line in lines.splitlines() if line.startswith("[WARNING]")]
        return code, errors[0].removeprefix("[ERROR] ") if errors else lines, warnings

    def fails(self, code: int, *words: str, **changes) -> str:
        """The run ends with this code and a message that holds the words; it leaves no VCF."""
        found, message, _ = self.run(**changes)
        assert found == code, message
        for word in words:
            assert word in message
        assert not list(self.folder.rglob("*.vcf.gz*"))
        return message

    def succeeds(self, **changes) -> list[str]:
        """The run leaves a complete, indexed VCF; its warnings are returned."""
        code, message, warnings = self.run(**changes)
        assert code == 0, message
        with pysam.VariantFile(str(self.folder / "out" / "pileup.vcf.gz")) as calls:
            assert len(calls.header.contigs) > 0
            for contig in calls.header.contigs:
                list(calls.fetch(contig))
        return warnings


@pytest.fixture
def case(platform, request, tmp_path, capfd) -> Case:
    short_reads = PLATFORMS[platform].short_reads
    return Case(request.getfixturevalue("short_sample" if short_reads else "sample"), tmp_path, capfd, platform)


ROOT = Path(__file__).resolve().parent.parent

BOTH = pytest.mark.parametrize("platform", ["ont", "ilmn"])
"""For what is found while reads are read: short ones have rules of their own there."""


@BOTH
def test_good_input(case):
    assert case.succeeds() == []


@BOTH
def test_no_index(case):
    (case.folder / "reads.bam.bai").unlink()
    case.fails(1, "BAM index file not found, please use 'samtools index")


def test_index_older_than_the_reads(case):
    past = time.time() - 1000
    os.utime(case.folder / "reads.bam.bai", (past, past))
    (warning,) = case.succeeds()
    assert "reads.bam.bai is older than reads.bam" in warning


def test_no_bam(case):
    case.fails(1, "none.bam not found", bam_fn=case.folder / "none.bam")


def test_no_reference_index(case):
    (case.folder / "ref.fa.fai").unlink()
    case.fails(1, "Reference index fai file not found, please use 'samtools faidx")


def test_not_a_bam(case):
    (case.folder / "reads.bam").write_text("these are not reads\n" * 100)
    case.fails(1, "reads.bam")


@BOTH
def test_contig_missing_from_the_reference(case):
    """The reads' contigs are not those of the FASTA."""
    text = (case.folder / "ref.fa").read_text().replace(">chr20", ">20").replace(">chr21", ">21")
    (case.folder / "ref.fa").write_text(text)
    pysam.faidx(str(case.folder / "ref.fa"))
    case.fails(1, "reads.bam: none of its contigs (chr20, ...) is in the reference (20, ...)")


def test_reference_of_another_assembly(case):
    """Same names, other lengths."""
    text = (case.folder / "ref.fa").read_text().replace(">chr21", "ACGTACGT\n>chr21")
    (case.folder / "ref.fa").write_text(text)
    pysam.faidx(str(case.folder / "ref.fa"))
    case.fails(1, "chr20", "60000", "60008")


@BOTH
def test_stale_reference_index(case):
    """The FASTA was replaced, its index not."""
    text = (case.folder / "ref.fa").read_text()
    (case.folder / "ref.fa").write_text(text.replace(">chr21", ">chr21 a longer title"))
    case.fails(1, "ref.fa.fai")


@BOTH
@pytest.mark.parametrize("share", [0.1, 0.6, 0.9999])
def test_truncated_bam(case, share):
    data = (case.folder / "reads.bam").read_bytes()
    (case.folder / "reads.bam").write_bytes(data[: int(len(data) * share)])
    os.utime(case.folder / "reads.bam.bai")
    case.fails(1, "reads.bam", "end")


def test_names_that_are_no_utf8(case):
    """Of folders of old file systems; the header of the VCF has them escaped."""
    folder = case.folder / os.fsdecode(b"l\xfc")
    folder.mkdir()
    for name in ("reads.bam", "reads.bam.bai", "ref.fa", "ref.fa.fai"):
        (case.folder / name).rename(folder / name)
    case.succeeds(bam_fn=folder / "reads.bam", ref_fn=folder / "ref.fa", pileup_only="no")
    with pysam.VariantFile(str(case.folder / "out" / "merge_output.vcf.gz")) as calls:
        assert "l\\udcfc/ref.fa" in str(calls.header)


def test_closed_standard_streams(case):
    words = " ".join(f"--{name}={value}" for name, value in case.options.items())
    code = subprocess.run(["bash", "-c", f"{ROOT / 'run_clair3.sh'} {words} <&- >&- 2>&-"], env=os.environ).returncode
    assert code == 0 and "Finish calling" in (case.folder / "out" / "run_clair3.log").read_text()
    with pysam.VariantFile(str(case.folder / "out" / "pileup.vcf.gz")) as calls:
        assert len(list(calls)) > 20


@BOTH
def test_broken_block_in_the_middle(case):
    """A block in the middle of a contig is damaged: nothing is written, the contig is named. Where the index points to
    that block, it does not fit either."""
    data = bytearray((case.folder / "reads.bam").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    (case.folder / "reads.bam").write_bytes(data)
    os.utime(case.folder / "reads.bam.bai")
    message = case.fails(1, "chr20")
    assert re.search(r"reads\.bam chr20:.*unreadable record|does not fit reads\.bam: .* is damaged", message), message


def make_cram(folder: Path) -> Path:
    cram = folder / "reads.cram"
    pysam.view("-C", "-T", str(folder / "ref.fa"), "-o", str(cram), str(folder / "reads.bam"), catch_stdout=False)
    pysam.index(str(cram))
    return cram


@BOTH
def test_cram(case):
    cram = make_cram(case.folder)
    assert case.succeeds(bam_fn=cram) == []


@BOTH
def test_cram_without_its_reference(case):
    """CRAM stores differences from its reference; with another one it must not decode quietly."""
    cram = make_cram(case.folder)
    text = (case.folder / "ref.fa").read_text()
    (case.folder / "ref.fa").write_text(text[:7] + text[7:].translate(str.maketrans("ACGT", "CATG")))
    os.utime(case.folder / "ref.fa.fai")
    case.fails(1, "reads.cram", bam_fn=cram)


@BOTH
def test_truncated_cram(case):
    cram = make_cram(case.folder)
    data = cram.read_bytes()
    cram.write_bytes(data[: len(data) // 2])
    os.utime(f"{cram}.crai")
    case.fails(1, "reads.cram", bam_fn=cram)


def rewrite(path: Path, keep) -> None:
    """Write the BAM again with the reads that `keep` wants, and index it."""
    with pysam.AlignmentFile(str(path)) as file:
        header, reads = file.header, [read for read in file if keep(read)]
    with pysam.AlignmentFile(str(path), "wb", header=header) as out:
        for read in reads:
            out.write(read)
    pysam.index(str(path))


@BOTH
def test_empty_bam(case):
    """No read at all is an ordinary outcome: a header-complete VCF and exit code 0."""
    rewrite(case.folder / "reads.bam", lambda read: False)
    assert any("no mapped reads" in warning.lower() for warning in case.succeeds())


@BOTH
def test_one_contig_without_reads(case):
    rewrite(case.folder / "reads.bam", lambda read: read.reference_name == "chr21")
    assert any("chr20" in warning for warning in case.succeeds())


def test_bed_beyond_the_contigs_end(case):
    bed = case.folder / "targets.bed"
    bed.write_text("chr20\t59000\t99000\nchr20\t70000\t80000\nchr99\t1\t2\n")
    warnings = case.succeeds(bed_fn=bed)
    assert any("chr20" in warning for warning in warnings) and any("chr99" in warning for warning in warnings)


@pytest.mark.parametrize("row", ["chr20 500 100", "chr20\t-5\t100", "chr20\tten\t100", "chr20\t5"])
def test_bed_that_makes_no_sense(case, row):
    bed = case.folder / "targets.bed"
    bed.write_text(f"chr20\t1\t50\n{row}\n")
    case.fails(1, "Invalid bed input in 2-th row", bed_fn=bed)


def test_bed_and_sites(case, sample):
    bed = case.folder / "targets.bed"
    bed.write_text("chr20\t1\t50\n")
    case.fails(1, "Please provide either --vcf_fn or --bed_fn only", bed_fn=bed, vcf_fn=sample / "truth.vcf.gz")


def test_unwritable_output(case):
    """A file stands where the folder should be (root may write anywhere else)."""
    (case.folder / "out").write_text("")
    case.fails(1, "out: cannot write into this output folder")


def test_output_name_taken_by_a_folder(case):
    (case.folder / "out" / "pileup.vcf.gz").mkdir(parents=True)
    code, message, _ = case.run()
    assert code == 1 and "pileup.vcf.gz" in message


@pytest.mark.parametrize(
    "changes, code, words",
    [
        ({"threads": 0}, 1, "Invalid threads input --threads"),
        ({"threads": "two"}, 2, ""),
        ({"platform": "sequel"}, 2, ""),
        ({"device": "gpu"}, 1, "Please specify the device as '--device=cuda:0' or '--device=cuda:0,1'"),
        ({"pileup_only": "perhaps"}, 2, ""),
        ({"no_such_option": 1}, 2, ""),
        ({"bam_fn": None}, 2, ""),
        ({"qual": -1}, 1, "qual"),
        ({"snp_min_af": 1.5}, 1, "parameter --snp_min_af=1.5 (maximum:1) out of range"),
        ({"chunk_size": 0}, 1, "chunk_size"),
        ({"haploid_precise": "yes", "haploid_sensitive": "yes"}, 1, "haploid"),
        ({"model_path": "/no/such/folder"}, 1, "Model path not found"),
        ({"pileup_model_prefix": "other"}, 1, "No pileup model found in provided model path and model prefix"),
        ({"fa_model_prefix": "other"}, 1, "No full-alignment model found in provided model path and model prefix"),
    ],
)
def test_options(case, changes, code, words):
    case.fails(code, words, **changes)


@BOTH
@pytest.mark.parametrize("spoil", ["cut", "text", "other network", "tensorflow"])
def test_models(case, spoil):
    path = case.folder / "model" / "pileup.pt"
    words = "pileup.pt"
    if spoil == "cut":
        path.write_bytes(path.read_bytes()[:100_000])
    elif spoil == "text":
        path.write_text("not a model")
    elif spoil == "other network":
        shutil.copy(case.folder / "model" / "full_alignment.pt", path)
        words = "holds a full-alignment network where the pileup network is needed"
    else:
        path.unlink()
        (case.folder / "model" / "pileup.index").write_text("")
        words = "TensorFlow checkpoint"
    case.fails(1, words)


@BOTH
def test_an_earlier_result_does_not_survive_a_failing_run(case):
    """A VCF of the last run in the same folder would look like the result of this one."""
    case.succeeds()
    (case.folder / "model" / "pileup.pt").write_text("not a model")
    case.fails(1, "pileup.pt")


def test_the_other_spelling_of_the_indices(case):
    """ref.fai and reads.bai are indices too, and no other is written into the user's folder."""
    (case.folder / "ref.fa.fai").rename(case.folder / "ref.fai")
    (case.folder / "reads.bam.bai").rename(case.folder / "reads.bai")
    case.succeeds()
    assert not (case.folder / "ref.fa.fai").exists()


@BOTH
def test_options_that_change_nothing(case):
    """--chunk_num=-1 loses every call in v2.0.2 (spec/cli.md 9.1); the others never had an effect on the records."""
    vcf = case.folder / "out" / "pileup.vcf.gz"

    def records(**changes):
        case.succeeds(**changes)
        with pysam.BGZFile(str(vcf)) as lines:
            return [line for line in lines if not line.startswith(b"##cmdline")]

    plain = records()
    assert len(plain) > 30
    for name, value in (("chunk_num", -1), ("chunk_num", 7), ("disable_c_impl", "yes"), ("device", "cpu")):
        assert records(**{name: value}) == plain, name
    bed = case.folder / "targets.bed"
    bed.write_text("chr20\t1000\t30000\n")
    assert records(bed_fn=bed, chunk_num=-1) == records(bed_fn=bed) != plain


@pytest.mark.parametrize("shortest", [0, 100_000])
def test_intermediate_files_go_on_request(case, shortest):
    """Also when there was nothing to call (spec/cli.md 9.18)."""
    case.succeeds(min_contig_size=shortest)
    assert (case.folder / "out" / "tmp").is_dir()
    case.succeeds(min_contig_size=shortest, remove_intermediate_dir="yes")
    assert not (case.folder / "out" / "tmp").exists()


@BOTH
def test_index_that_points_beyond_the_reads(case):
    """A BAM cut at a block boundary, with an end mark put on, and its old index: reads would be lost in silence."""
    data = (case.folder / "reads.bam").read_bytes()
    blocks, at = [], 0
    while at < len(data):
        at += int.from_bytes(data[at + 16 : at + 18], "little") + 1
        blocks.append(at)
    (case.folder / "reads.bam").write_bytes(data[: blocks[len(blocks) // 2]] + BGZF_EOF)
    os.utime(case.folder / "reads.bam.bai")
    case.fails(1, "reads.bam.bai: points beyond the end of reads.bam")


@BOTH
def test_index_of_another_file(case):
    """The index says that a contig has reads, the file has none there."""
    index = (case.folder / "reads.bam.bai").read_bytes()
    rewrite(case.folder / "reads.bam", lambda read: read.reference_name == "chr20")
    (case.folder / "reads.bam.bai").write_bytes(index)
    case.fails(1, "reads.bam", "samtools index", ctg_name="chr21")


@BOTH
def test_index_made_before_the_reads_changed(case):
    """Same contigs, other reads: the index points into the middle of blocks."""
    now = (case.folder / "reads.bam").read_bytes()
    rewrite(case.folder / "reads.bam", lambda read: read.query_length % 3)
    (case.folder / "reads.bam").write_bytes(now)
    os.utime(case.folder / "reads.bam.bai")
    case.fails(1, "reads.bam.bai: does not fit reads.bam: made for another file")


def test_index_that_cannot_be_read(case):
    """It is no damage, and indexing again would not help."""
    (case.folder / "reads.bam.bai").unlink()
    (case.folder / "reads.bam.bai").symlink_to("/proc/self/mem")
    if not (case.folder / "reads.bam.bai").is_file():
        pytest.skip("no /proc/self/mem on this system")
    message = case.fails(1, "reads.bam.bai: cannot be read (Input/output error)")
    assert "damaged" not in message


def test_damaged_bgzip_reference(case):
    """The fault is that of the FASTA, not of the reads."""
    fasta = case.folder / "ref.fa.gz"
    pysam.tabix_compress(str(case.folder / "ref.fa"), str(fasta))
    pysam.faidx(str(fasta))
    data = bytearray(fasta.read_bytes())
    data[1000:1064] = bytes(64)
    fasta.write_bytes(data)
    message = case.fails(1, "ref.fa.gz chr20:1-", "the reference cannot be read here: it is damaged", ref_fn=fasta)
    assert "reads.bam" not in message


def test_what_a_killed_run_left_goes(case):
    """kill -9 while a file grew under its hidden name; files of others with such names stay."""
    (case.folder / "out").mkdir()
    ours = [".pileup.vcf.gz.123.tmp.gz", ".merge_output.gvcf.gz.7.tmp.gz", ".merge_output.gvcf.gz.7.tmp.gz.tbi"]
    others = [".pileup.vcf.gz.old.tmp.gz", ".mine.vcf.gz.123.tmp.gz", ".pileup.vcf.gz.1.tmp.gz.bak"]
    for name in (*ours, *others):
        (case.folder / "out" / name).write_bytes(b"half")
    (case.folder / "out" / ".unfinished_phased_output.bam").mkdir()
    case.succeeds(resume="yes")
    assert not (case.folder / "out" / ".unfinished_phased_output.bam").exists()
    left = [path.name for path in (case.folder / "out").glob(".*.tmp.gz*")]
    assert sorted(left) == sorted(others)


@BOTH
def test_a_full_disk_at_the_very_start(case, monkeypatch):
    """The log is the first file that grows. (A link under its name is refused otherwise.)"""
    monkeypatch.setattr(output_folder, "refuse_planted", lambda output: None)
    (case.folder / "out").mkdir()
    (case.folder / "out" / "run_clair3.log").symlink_to("/dev/full")
    case.fails(1, "run_clair3.log: cannot be written (No space left on device); is the disk full?")


def test_an_input_is_never_overwritten(case, sample):
    (case.folder / "out").mkdir()
    known = case.folder / "out" / "merge_output.vcf.gz"
    shutil.copy(sample / "truth.vcf.gz", known)
    code, message, _ = case.run(vcf_fn=known, pileup_only="no")
    assert code == 1 and "would be overwritten" in message
    assert known.read_bytes() == (sample / "truth.vcf.gz").read_bytes()


@pytest.mark.parametrize(
    "option, value", [("min_mq", 99999999999), ("min_mq", 256), ("min_coverage", 2**31), ("sample_name", "a\nb")]
)
def test_values_that_nothing_can_hold(case, option, value):
    case.fails(1, option, **{option: value})


def test_two_runs_in_one_folder(case):
    """The second is refused as long as the first works."""
    (case.folder / "out").mkdir()
    with output_folder.alone_in(case.folder / "out"):
        case.fails(1, "another run is working in this output folder")
    case.succeeds()


@BOTH
def test_only_reference_calls(case):
    """Candidates were found, none is a variant: the pileup VCF is empty, and no other file appears."""
    case.succeeds(min_coverage=25, snp_min_af=1.0, indel_min_af=1.0, qual=0)
    assert not (case.folder / "out" / "merge_output.vcf.gz").exists()


@pytest.mark.parametrize("option", ["bam_fn", "ref_fn", "model_path", "output"])
def test_empty_values(case, option):
    """Mostly a variable that was not set."""
    case.fails(2, "", **{option: ""})


@BOTH
def test_targets_from_a_pipe(case, sample):
    """As `--bed_fn=<(...)` gives them; the VCF is needed twice, a pipe can be read once."""

    def piped(name: str, content: bytes) -> str:
        os.mkfifo(case.folder / name)
        threading.Thread(target=(case.folder / name).write_bytes, args=(content,), daemon=True).start()
        return str(case.folder / name)

    vcf = case.folder / "out" / "pileup.vcf.gz"
    bed = case.folder / "targets.bed"
    bed.write_text("chr20\t1000\t30000\n")
    case.succeeds(bed_fn=bed)
    expected = gzip.decompress(vcf.read_bytes()).splitlines()[-10:]
    case.succeeds(bed_fn=piped("bed", bed.read_bytes()))
    assert gzip.decompress(vcf.read_bytes()).splitlines()[-10:] == expected
    case.succeeds(bed_fn=piped("bed.gz", gzip.compress(bed.read_bytes())))
    assert gzip.decompress(vcf.read_bytes()).splitlines()[-10:] == expected
    case.run(vcf_fn=piped("sites", (sample / "truth.vcf.gz").read_bytes()), pileup_only="no", no_phasing_for_fa="yes")
    with pysam.VariantFile(str(case.folder / "out" / "merge_output.vcf.gz")) as calls:
        called, contigs = {(call.contig, call.pos) for call in calls}, calls.header.contigs
    with pysam.VariantFile(str(sample / "truth.vcf.gz")) as truth:  # one genome of the two lacks the end of chr20
        assert called == {(call.contig, call.pos) for call in truth if call.pos <= contigs[call.contig].length}


def test_targets_from_nowhere(case):
    """/dev/null is an empty list: nothing to call."""
    assert any("no rows, nothing will be called" in warning for warning in case.succeeds(bed_fn="/dev/null"))


def test_targets_that_are_a_folder(case):
    case.fails(1, "BED file", "it is a folder", bed_fn=case.folder)


def test_byte_order_mark_and_blanks(case):
    """A BED saved on Windows, names with a blank behind the comma: nothing is lost."""
    bed = case.folder / "targets.bed"
    bed.write_text("\ufeffchr20\t1000\t9000\nchr21\t10\t900\n", encoding="utf-8")
    assert case.succeeds(bed_fn=bed) == []
    assert case.succeeds(ctg_name="chr20, chr21") == []


def test_a_wrong_full_alignment_model_is_told_first(case):
    (case.folder / "model" / "full_alignment.pt").write_text("not a model")
    message = case.fails(1, "full_alignment.pt", pileup_only="no")
    assert not list((case.folder / "out" / "tmp").glob("pileup_output/*")), message


def test_other_files_in_tmp_stay(case):
    (case.folder / "out" / "tmp").mkdir(parents=True)
    (case.folder / "out" / "tmp" / "thesis.txt").write_text("mine")
    case.succeeds(remove_intermediate_dir="yes")
    assert [path.name for path in (case.folder / "out" / "tmp").iterdir()] == ["thesis.txt"]
