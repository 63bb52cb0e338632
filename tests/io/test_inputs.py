"""Do reads, reference and regions fit together, and which contigs are called."""

import gzip
import os
import shutil
import struct

import pysam
import pytest
from tiny_genome import write_fasta, write_reads

from clair3.errors import InputError
from clair3.io.alignments import stay_offline
from clair3.io.bam_index import find_alignment_index, read_alignment_index
from clair3.io.inputs import check_inputs
from clair3.io.text import BGZF_EOF

SKIPPED = "chr2 contig length 300 is smaller than minimum contig size 350, will skip it!"
PLACES = [("chr1", 10), ("chr1", 30), ("chr2", 5)]


@pytest.fixture
def fasta(tmp_path):
    return write_fasta(tmp_path / "ref.fa")


@pytest.fixture
def bam(tmp_path):
    return write_reads(tmp_path / "x.bam", PLACES)


def called(*arguments, **options):
    return [contig.name for contig in check_inputs(*arguments, **options).contigs]


def refused(message, *arguments, **options):
    with pytest.raises(InputError) as error:
        check_inputs(*arguments, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


# Contigs (spec/cli.md 4.1)


@pytest.mark.parametrize(
    "options, expected, warning",
    [
        ({}, ["chr1", "chr2"], None),
        ({"include_all": True}, ["chr1", "chr2"], "Contig name scaffold provided but no mapped reads in BAM, skip!"),
        ({"names": ["chr2"]}, ["chr2"], None),
        ({"names": ["chr2"], "include_all": True}, ["chr2"], None),
        ({"names": ["chr2", "chrNOT"]}, ["chr2"], "Contig chrNOT given but not found in reference fai file"),
        ({"names": ["scaffold"]}, [], "No mapped reads support in BAM for provided contigs set scaffold"),
        (
            {"min_contig_size": 350},
            ["chr1"],
            "chr2 contig length 300 is smaller than minimum contig size 350, will skip it!",
        ),
    ],
)
def test_selection(bam, fasta, options, expected, warning, caplog):
    assert called(bam, fasta, **options) == expected
    assert warnings(caplog)[-1:] == ([warning] if warning else [])


def test_selection_by_bed_and_name(bam, fasta, tmp_path, caplog):
    (tmp_path / "x.bed").write_text("chr2\t100\t250\nchrNOT\t1\t2\n")
    environment = check_inputs(bam, fasta, bed=tmp_path / "x.bed")
    assert [contig.name for contig in environment.contigs] == ["chr2"]
    assert environment.allowed["chr2"].tolist() == [[66, 283]]
    assert warnings(caplog) == ["Contig chrNOT given but not found in reference fai file"]
    caplog.clear()
    assert called(bam, fasta, bed=tmp_path / "x.bed", names=["chr1"]) == []
    assert warnings(caplog)[0] == ("both --ctg_name and --bed_fn provided, will only proceed contigs in intersection")


def test_selection_by_sites(bam, fasta, tmp_path, caplog):
    (tmp_path / "x.vcf").write_text("#CHROM\tPOS\nchr1\t20\nchr1\t45\nchr1\t46\nchr1\t9000\n")
    environment = check_inputs(bam, fasta, sites=tmp_path / "x.vcf", names=["chr1"])
    assert environment.allowed["chr1"].tolist() == [[19, 20], [44, 46]]
    assert warnings(caplog)[-1] == "both --ctg_name and --vcf_fn provided, will only proceed contigs in intersection"
    assert warnings(caplog)[0].startswith(
        f"{tmp_path / 'x.vcf'}: 1 sites lie beyond the end of their contig and are left out"
    )


@pytest.mark.parametrize(
    "text, warning",
    [
        (
            "chr1\t100\t9000\nchr1\t1\t5\n",
            "1 rows of chr1 reach beyond its end at 400 and are cut there, the first is 100-9000",
        ),
        ("", "no rows, nothing will be called"),
    ],
)
def test_odd_targets_are_told(bam, fasta, tmp_path, text, warning, caplog):
    (tmp_path / "x.bed").write_text(text)
    check_inputs(bam, fasta, bed=tmp_path / "x.bed")
    assert warning in warnings(caplog)[-1]


def test_many_contigs_are_told_in_one_line(tmp_path, caplog):
    """An assembly has thousands; v2.0.2 has a line for each."""
    lengths = {f"ctg{number:02d}": 100 + number for number in range(40)}
    fasta = write_fasta(tmp_path / "ref.fa", lengths)
    bam = write_reads(tmp_path / "x.bam", [("ctg35", 9)], lengths)
    absent = [f"no{number}" for number in range(11)]
    assert called(bam, fasta, names=[*lengths, *absent], min_contig_size=120) == ["ctg35"]
    missing, small, empty = warnings(caplog)
    assert missing.startswith("11 contigs given but not found in reference fai file: no0 no1 no10 no2 ")
    assert small.startswith("20 contigs are smaller than minimum contig size 120, will skip them: ctg00 contig length")
    names = " ".join(f"ctg{number}" for number in range(20, 30))
    assert empty == f"19 contigs provided but no mapped reads in BAM, skip: {names} ..."


@pytest.mark.parametrize(
    "names, words",
    [
        (["20"], "no contig 20; it has chr1 chr2 scaffold"),
        (["1"], "no contig 1; did you mean chr1?"),
        (["CHR2"], "no contig CHR2; did you mean chr2?"),
        (["scafold"], "no contig scafold; did you mean scaffold?"),
        (["chr1:5-9"], "no contig chr1:5-9; chr1 is one; for a part of it give its start, 0-based, and"),
        (["chr1:5,000-"], "chr1 is one; for a part of it"),
        (["7", "2"], "none of the contigs 7 2; it has chr1"),
    ],
)
def test_contigs_that_do_not_exist(bam, fasta, tmp_path, names, words):
    refused(words, bam, fasta, names=names)
    (tmp_path / "x.bed").write_text("".join(f"{name}\t5\t9\n" for name in names))
    refused(f"{tmp_path}/x.bed, {fasta}: {words if words.startswith('no') else ''}", bam, fasta, bed=tmp_path / "x.bed")


@pytest.mark.parametrize(
    "name, words",
    [
        *[("a,b", "a comma"), ('c"dq', '"'), ("c<x>", "< >"), ("c[1]", "[ ]"), ("c\\b", "\\"), ("c{", "{")],
        *[("c'q", "'"), ("#a", "begins with #"), ("é", "which is no plain ASCII text")],
    ],
)
def test_a_name_that_no_vcf_can_hold(tmp_path, name, words):
    lengths = {"chr1": 400, name: 400}
    fasta = write_fasta(tmp_path / "ref.fa", lengths)
    bam = write_reads(tmp_path / "x.bam", [("chr1", 9), (name, 9)], lengths)
    assert called(bam, fasta) == ["chr1"]
    refused(f"ref.fa: a VCF cannot hold the contig name {name!r}, which", bam, fasta, include_all=True)
    refused(words, bam, fasta, include_all=True)


def test_a_name_of_an_allele_is_one(tmp_path):
    lengths = {"HLA:A*01:02": 400, "scaffold_1.2|x": 400}
    fasta = write_fasta(tmp_path / "ref.fa", lengths)
    bam = write_reads(tmp_path / "x.bam", [(name, 9) for name in lengths], lengths)
    assert called(bam, fasta, include_all=True) == [*lengths]


def test_nothing_is_called_by_default_in_other_genomes(tmp_path, caplog):
    lengths = {"NC_000913": 400}
    fasta = write_fasta(tmp_path / "ref.fa", lengths)
    bam = write_reads(tmp_path / "x.bam", [("NC_000913", 9)], lengths)
    assert called(bam, fasta) == []
    assert warnings(caplog) == ["No contig of the reference is called by default; use --ctg_name or --include_all_ctgs"]
    assert called(bam, fasta, include_all=True) == ["NC_000913"]


def test_reads_on_contigs_that_the_reference_lacks_are_told(bam, tmp_path, caplog):
    fasta = write_fasta(tmp_path / "short.fa", {"chr1": 400})
    assert called(bam, fasta) == ["chr1"]
    assert warnings(caplog) == ["1 contigs with mapped reads are not in the reference and not called: chr2"]


def test_output_order_is_that_of_v2_0_2(tmp_path):
    lengths = {"zeta": 200, "chr10": 200, "alpha": 200, "chr2": 200}
    fasta = write_fasta(tmp_path / "ref.fa", lengths)
    bam = write_reads(tmp_path / "x.bam", [(name, 5) for name in lengths], lengths)
    assert called(bam, fasta, include_all=True) == ["chr2", "chr10", "zeta", "alpha"]


# Alignments


def test_no_reads_at_all(tmp_path, fasta, caplog):
    assert called(write_reads(tmp_path / "x.bam", []), fasta) == []
    assert "No mapped reads support in BAM for provided contigs set chr1 chr2" in warnings(caplog)[-1]


@pytest.mark.parametrize("spelling", ["x.bam.bai", "x.bai", "x.bam.csi", "x.csi"])
def test_spellings_of_the_index(tmp_path, fasta, spelling):
    bam = write_reads(tmp_path / "x.bam", PLACES, index=False)
    pysam.index(*(["-c"] if spelling.endswith("csi") else []), str(bam))
    shutil.move(tmp_path / f"x.bam{spelling[-4:]}", tmp_path / spelling)
    assert check_inputs(bam, fasta).alignments.index == tmp_path / spelling


def test_index_without_counts_is_no_reason_to_call_nothing(tmp_path, bam, fasta):
    """Indices of some programs lack the counts; samtools idxstats then says 0 for every contig."""
    index = tmp_path / "x.bam.bai"
    index.write_bytes(without_counts(index.read_bytes()))
    with pysam.AlignmentFile(str(bam)) as file:
        assert not any(contig.total for contig in file.get_index_statistics())
    assert called(bam, fasta, include_all=True) == ["chr1", "chr2"]


def without_counts(bai):
    """A .bai without its pseudo-bins 37450 (SAM specification 5.2)."""
    contigs = struct.unpack_from("<i", bai, 4)[0]
    out, at = bai[:8], 8
    for _ in range(contigs):
        bins = struct.unpack_from("<i", bai, at)[0]
        kept, at = [], at + 4
        for _ in range(bins):
            number, chunks = struct.unpack_from("<Ii", bai, at)
            if number != 37450:
                kept.append(bai[at : at + 8 + 16 * chunks])
            at += 8 + 16 * chunks
        linear = 4 + 8 * struct.unpack_from("<i", bai, at)[0]
        out += struct.pack("<i", len(kept)) + b"".join(kept) + bai[at : at + linear]
        at += linear
    return out


def test_index_older_than_the_reads(bam, fasta, tmp_path, caplog):
    os.utime(tmp_path / "x.bam.bai", (1, 1))
    check_inputs(bam, fasta)
    assert warnings(caplog) == [
        f'{tmp_path}/x.bam.bai is older than x.bam; if the reads changed since, run "samtools index"'
    ]


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda index: index.write_bytes(b""), "x.bam.bai: the index is damaged"),
        (lambda index: index.write_bytes(b"BAI\x01"), "x.bam.bai: the index is damaged"),
        (lambda index: index.write_bytes(index.read_bytes()[:40]), "x.bam.bai: the index is damaged"),
        (lambda index: shutil.move(index, index.with_suffix(".csi")), "x.bam.csi: the index is damaged"),
        (
            lambda index: index.write_bytes(b"BAI\x01" + struct.pack("<i", 4) + index.read_bytes()[8:-8] + bytes(8)),
            "x.bam.bai: made for a file with other contigs than x.bam",
        ),
    ],
)
def test_unusable_index(bam, fasta, tmp_path, damage, message):
    damage(tmp_path / "x.bam.bai")
    refused(message, bam, fasta)


@pytest.mark.parametrize("kind", ["bai", "csi"])
def test_every_cut_of_an_index_is_refused(tmp_path, kind):
    """htslib 1.2x ends the process on some of them."""
    bam = write_reads(tmp_path / "x.bam", PLACES, index=False)
    pysam.index(*(["-c"] if kind == "csi" else []), str(bam))
    index = tmp_path / f"x.bam.{kind}"
    pack = gzip.compress if kind == "csi" else bytes
    whole = gzip.decompress(index.read_bytes()) if kind == "csi" else index.read_bytes()
    assert read_alignment_index(index)[:2] == (3, {0, 1})
    for size in set(range(len(whole))) - {len(whole) - 8}:  # the last eight bytes need not be there
        index.write_bytes(pack(whole[:size]))
        with pytest.raises(InputError, match=f"x.bam.{kind}: the index is damaged; make it again"):
            read_alignment_index(index)


def test_missing_files(tmp_path, fasta):
    bam = tmp_path / "x.bam"
    refused(f"BAM file {bam} not found", bam, fasta)
    write_reads(bam, PLACES, index=False)
    refused(f"BAM index file not found, please use 'samtools index {bam}' first", bam, fasta)
    refused("not found", bam, tmp_path / "none.fa")


def bgzf(data):
    block = gzip.compress(data)[10:]  # deflated data, checksum, size
    return BGZF_EOF[:16] + struct.pack("<H", len(block) + 17) + block + BGZF_EOF


@pytest.mark.parametrize(
    "content, message",
    [
        (lambda whole: b"", "not a BAM or CRAM file"),
        (lambda whole: b"@SQ\tSN:chr1\tLN:400\n", "not a BAM or CRAM file"),
        (lambda whole: gzip.compress(b"BAM"), "not a BAM or CRAM file"),
        (lambda whole: b"\x1f\x8b" + bytes(50), "not a BAM or CRAM file"),
        (lambda whole: whole[:-28], "the end of the file is missing"),
        (lambda whole: whole[: len(whole) // 2] + whole[-28:], "the start of the file cannot be read; it is damaged"),
        (lambda whole: bgzf(b"BAM\x01" + bytes([255] * 20)), "the start of the file cannot be read; it is damaged"),
        (lambda whole: b"CRAM" + bytes(100), "BAM index file not found"),
    ],
)
def test_broken_reads(bam, fasta, content, message):
    bam.write_bytes(content(bam.read_bytes()))
    refused(message, bam, fasta)


def test_sam_text_is_told_what_to_do(bam, fasta):
    """Not to index it, which samtools refuses; also where the command line looks for the index."""
    sam = bam.with_name("x.sam")
    sam.write_text("@SQ\tSN:chr1\tLN:400\n")
    made = bam.with_name("x.sorted.bam")
    advice = f'"samtools sort -o {made} {sam}" makes one, and "samtools index {made}" its index'
    refused(advice, sam, fasta)
    with pytest.raises(InputError) as error:
        find_alignment_index(sam)
    assert advice in str(error.value)


def test_bam_without_contigs(tmp_path, fasta):
    bam = tmp_path / "x.bam"
    with pysam.AlignmentFile(str(bam), "wb", header={"HD": {"VN": "1.6"}}):
        pass
    pysam.index(str(bam))
    refused("no contigs in the header (@SQ); the reads are not aligned", bam, fasta)


@pytest.mark.parametrize("order", [None, "unsorted", "queryname"])
def test_reads_in_disorder(tmp_path, fasta, order):
    """An index of the sorted file is laid beside the unsorted one."""
    sorted_bam = write_reads(tmp_path / "sorted.bam", PLACES, order=order)
    assert called(sorted_bam, fasta) == ["chr1", "chr2"]
    bam = write_reads(tmp_path / "x.bam", PLACES[::-1], order=order, index=False)
    shutil.copy(tmp_path / "sorted.bam.bai", tmp_path / "x.bam.bai")
    refused("not sorted by coordinate", bam, fasta)


# Reads and reference


def test_fasta_of_another_assembly(tmp_path, bam, fasta):
    other = write_fasta(tmp_path / "other.fa", {"chr1": 400, "chr2": 310})
    refused(f"chr2 has 300 bases in {bam} and 310 in {other}", bam, other)
    assert called(bam, other, names=["chr1"]) == ["chr1"]
    refused(
        "none of its contigs (chr1, ...) is in the reference (1, ...)", bam, write_fasta(tmp_path / "n.fa", {"1": 9})
    )


def test_fasta_that_cannot_be_read(tmp_path, bam):
    fasta = write_fasta(tmp_path / "ref.fa.gz")
    data = bytearray(fasta.read_bytes())
    data[30:60] = bytes(30)
    fasta.write_bytes(data)
    refused("the FASTA or its index is damaged", bam, fasta)


@pytest.mark.parametrize("name", ["ref.fa", "ref.fa.gz"])
def test_cram_equals_bam(tmp_path, name):
    fasta = write_fasta(tmp_path / name)
    cram = write_reads(tmp_path / "x.cram", PLACES, fasta=fasta)
    assert called(cram, fasta, include_all=True) == ["chr1", "chr2"]


def test_cram_of_another_fasta(tmp_path, fasta):
    cram = write_reads(tmp_path / "x.cram", PLACES, fasta=fasta)
    other = tmp_path / "other.fa"
    other.write_text(fasta.read_text().replace("TTG", "TCG"))
    pysam.faidx(str(other))
    refused(f"the reads of chr1 cannot be decoded; they are damaged or were written with another FASTA than {other}",
            cram, other)  # fmt: skip


def test_cram_index(tmp_path, fasta):
    cram = write_reads(tmp_path / "x.cram", PLACES, fasta=fasta)
    crai = tmp_path / "x.cram.crai"
    for text in ("nonsense\n", "1\t1\t2\t3\t4\n", "\u00b2\t1\t2\t3\t4\t5\n"):
        crai.write_text(text)
        refused("x.cram.crai: row 1 is not of a CRAM index", cram, fasta)
    crai.write_text("9\t1\t2\t3\t4\t5\n")
    refused("x.cram.crai: made for a file with other contigs than x.cram", cram, fasta)
    crai.write_bytes(gzip.compress(b"0\t1\t90\t1\t2\t3\n")[:-5])
    refused("x.cram.crai: cannot be decompressed", cram, fasta)
    crai.unlink()
    refused("BAM index file not found", cram, fasta)


def test_cut_cram(tmp_path, fasta):
    cram = write_reads(tmp_path / "x.cram", PLACES, fasta=fasta)
    cram.write_bytes(cram.read_bytes()[:-38])
    refused("the end of the file is missing", cram, fasta)


def test_cram_needs_the_usual_name_of_the_fasta_index(tmp_path, fasta):
    cram = write_reads(tmp_path / "x.cram", PLACES, fasta=fasta)
    shutil.move(tmp_path / "ref.fa.fai", tmp_path / "ref.fai")
    refused("for CRAM input the index must be named ref.fa.fai", cram, fasta)
    assert not (tmp_path / "ref.fa.fai").exists()


def test_htslib_never_asks_the_network(monkeypatch):
    monkeypatch.setenv("REF_PATH", "http://www.ebi.ac.uk/ena/cram/md5/%s")
    monkeypatch.setenv("REF_CACHE", "/tmp/cache")
    stay_offline()
    assert os.environ["REF_PATH"] == "/dev/null" and "REF_CACHE" not in os.environ


# The collection of odd files


def test_odd_files_end_in_a_sentence(shared_data, tmp_path):
    """Each with three references, as it lies there and with a fresh index."""
    folder = shared_data / "robustness"
    files = [path for room in ("bam", "cram", "made", "names", "sam") for path in (folder / room).iterdir()]
    references = [
        shared_data / "sim/small/ref.fa",
        folder / "cram/ce.fa",
        folder / "names/q.fa",
        folder / "names/hla.fa",
    ]
    usable = set()
    for path in files:
        if path.suffix not in (".bam", ".cram", ".sam"):
            continue
        for reads in (path, freshly_indexed(path, tmp_path)):
            for fasta in references:
                try:
                    contigs = called(reads, fasta, include_all=True)
                except InputError as error:
                    assert str(reads) in str(error) and "\n" not in str(error)
                else:
                    usable |= {path.name} if contigs else set()
    assert usable == {
        "1read.bam",
        "chr22.bam",
        "bgzf_boundaries1.bam",
        "bgzf_boundaries2.bam",
        "bgzf_boundaries3.bam",
        "no_hdr_sq_1.bam",
        "NA12878.chr22.tiny.bam",
        "NA12878.chr22.tiny.hla.bam",
        "NA12878.chr22.tiny.cram",
        "0500_mapped.cram",
        "0802_ctr.cram",
        "1005_qual.cram",
        "1007_seq.cram",
        "1402_index_3ref.cram",
        "1403_index_multiref.cram",
    }


def freshly_indexed(path, folder):
    copy = folder / path.name
    shutil.copy(path, copy)
    try:
        pysam.index(str(copy))
    except pysam.SamtoolsError:
        return path
    return copy


def test_contig_names_and_file_names_with_colons(shared_data, tmp_path):
    folder = shared_data / "robustness/names"
    fasta = write_fasta(tmp_path / "a:b c.fa", {"HLA:A*01:02": 400, "1:1-1": 200})
    bam = write_reads(tmp_path / "x:1-2.bam", [("HLA:A*01:02", 3)], {"HLA:A*01:02": 400, "1:1-1": 200})
    assert called(bam, fasta, include_all=True) == ["HLA:A*01:02"]
    assert called(folder / "NA12878.chr22.tiny.bam", folder / "q with spaces.fa", names=["q"]) == ["q"]


def test_unsorted_reads_of_the_collection_are_refused(shared_data, tmp_path):
    copy = freshly_indexed(shared_data / "robustness/cram/0902_comp_bz2.cram", tmp_path)
    refused("not sorted by coordinate", copy, shared_data / "robustness/cram/ce.fa", include_all=True)


def test_contigs_of_the_golden_runs(shared_data):
    data = shared_data / "sim/small"
    for run, options in (
        ("ont_bed", {"bed": data / "regions.bed"}),
        ("ont_vcf", {"sites": data / "known.vcf.gz"}),
        ("ont_min_contig", {"include_all": True, "min_contig_size": 20000}),
        ("ont_default", {"include_all": True}),
    ):
        golden = shared_data / "golden/runs" / run / "stages/CONTIGS"
        expected = golden.read_text().split() if golden.exists() else None
        if expected is not None:
            assert called(data / "ont.bam", data / "ref.fa", **options) == expected, run
    assert called(data / "ont.chr21.cram", data / "ref.fa") == ["chr21"]
