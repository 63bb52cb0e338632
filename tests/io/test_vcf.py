"""VCF headers and records, and the writer that leaves all or nothing."""

import gzip
import resource
import shutil
import subprocess

import pysam
import pytest

from clair3.errors import ClairError, ConfigError, InputError
from clair3.io.vcf import (
    VcfWriter,
    format_record,
    header,
    iter_numbered_records,
    iter_records,
    join_header,
    make_record,
    parse_record,
    union_header,
)
from clair3.records import Call

CONTIGS = [("chr1", 1000), ("chr2", 500)]


def call(**changes) -> Call:
    values = {
        "pos": 999,
        "ref": "A",
        "alts": ("G",),
        "qual": 21.31,
        "filter": "PASS",
        "genotype": "0/1",
        "gq": 21,
        "depth": 30,
        "depths": (16, 14),
        "fractions": (14 / 30,),
    }
    return Call(**{**values, **changes})


REFERENCE_CALL = call(alts=(), qual=6.9, filter="RefCall", genotype="0/0", depths=(22,), fractions=(0.88,))


@pytest.mark.parametrize(
    "record, line",
    [
        (call(), "chr1 1000 . A G 21.31 PASS P GT:GQ:DP:AD:AF 0/1:21:30:16,14:0.4667"),
        (REFERENCE_CALL, "chr1 1000 . A . 6.90 RefCall P GT:GQ:DP:AD:AF 0/0:21:30:22:0.8800"),
        (
            call(alts=("T", "C"), depths=(5, 20, 15), fractions=(0.5, 0.375), likelihoods=(1, 2, 3, 4, 0, 5)),
            "chr1 1000 . A T,C 21.31 PASS P GT:GQ:DP:AD:AF:PL 0/1:21:30:5,20,15:0.5000,0.3750:1,2,3,4,0,5",
        ),
    ],
)
def test_record_of_a_call(record, line):
    made = make_record("chr1", record, "P")
    assert format_record(made) == line.replace(" ", "\t") and parse_record(format_record(made)) == made
    assert (made.pos, made.alts, made.genotype) == (record.pos, record.alts, record.genotype)
    assert made.qual == record.qual and made.sample_values()["DP"] == str(record.depth)


@pytest.mark.parametrize("name", ["merge_output.vcf.gz", "merge_output.gvcf.gz"])
def test_header_of_a_run(shared_data, name):
    lines = text_of(shared_data / "golden" / "runs" / "ont_gvcf" / name).splitlines(keepends=True)
    want = "".join(line for line in lines if line.startswith("#"))
    command = next(line for line in want.splitlines() if line.startswith("##cmdline=")).removeprefix("##cmdline=")
    contigs = [("chr20", 300000), ("chr21", 40000), ("chr22", 3000), ("scaffold_1", 12000)]
    assert header("SAMPLE", "DATA/sim/small/ref.fa", contigs, command, gvcf=".gvcf" in name) == want


def test_header_without_command_and_reference():
    text = header("me", None, [], None)
    assert "##cmdline" not in text and "##reference" not in text
    assert text.endswith("FORMAT\tme\n")


@pytest.mark.parametrize("sample, command", [("", "x"), ("a\tb", "x"), ("a\nb", "x"), ("a", "x\ny")])
def test_header_refuses_text_that_breaks_it(sample, command):
    with pytest.raises(ConfigError):
        header(sample, None, [], command)


def test_columns_that_other_programs_lack_are_empty():
    record = parse_record("chr1\t7\trs1\tAC\tA,<DEL>")
    assert (record.pos, record.end, record.alts, record.genotype, record.samples) == (6, 8, ("A", "<DEL>"), "", [])


def test_several_samples():
    record = parse_record("chr1\t7\t.\tA\tC\t.\t.\t.\tGT:PS\t0|1:5\t1/1")
    assert record.genotype == "0|1" and record.samples == ["0|1:5", "1/1"]
    assert record.sample_values() == {"GT": "0|1", "PS": "5"} and record.sample_values(1) == {"GT": "1/1"}


def test_numbered_records(tmp_path):
    path = tmp_path / "x.vcf"
    path.write_text("#CHROM\nchr1\t5\t.\tA\tC\n\nchr1\t6\t.\tA\tC\n")
    assert [(number, record.pos) for number, record in iter_numbered_records(path)] == [(2, 4), (4, 5)]
    with pytest.raises(InputError, match="x.vcf: row 2 is 'chr1.*, not a VCF record of 8 columns"):
        list(iter_numbered_records(path, columns=8))
    path.write_text("chr1\tx\t.\tA\tC\n")
    with pytest.raises(InputError, match="row 1 is"):
        list(iter_numbered_records(path))


@pytest.mark.parametrize("line", ["chr1\t5\t.\tA\tC", "chr1\tx" + "\t." * 8, "chr1\t5" + "\t." * 9])
def test_lines_that_are_no_record_of_one_sample(tmp_path, line):
    (tmp_path / "x.vcf").write_text(f"#CHROM\n{line}\n")
    with pytest.raises(InputError, match="x.vcf: .* is not a VCF record of 10 columns"):
        list(iter_records(tmp_path / "x.vcf"))


def test_union_of_headers(tmp_path):
    columns = "#CHROM\tPOS"
    (tmp_path / "a").write_text(f"##v\n##a\n##commandline=phase\n{columns}\n")
    (tmp_path / "b").write_text(f"##v\n##b\n##c\n{columns}\n")
    files = [tmp_path / "a", tmp_path / "b"]
    assert union_header(files) == ["##v", "##a", "##b", "##c", columns]
    assert union_header(files, "run") == ["##v", "##a", "##b", "##cmdline=run", "##c", columns]
    assert union_header([]) == [] and join_header(["##v", columns]) == f"##v\n{columns}\n"


def writer(path, contigs=CONTIGS) -> VcfWriter:
    return VcfWriter(path, header("me", "/ref.fa", contigs, "run"), contigs)


def write(vcf: VcfWriter, *sites) -> None:
    for contig, pos in sites:
        vcf.write(make_record(contig, call(pos=pos), "P"))


def text_of(path) -> str:
    with gzip.open(path, "rt") as lines:
        return lines.read()


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


SITES = [("chr2", 3), ("chr2", 3), ("chr2", 99), ("chr1", 0), ("chr1", 900)]


def test_writer_leaves_an_indexed_file(tmp_path):
    path = tmp_path / "out.vcf.gz"
    with writer(path) as vcf:
        write(vcf, *SITES)
        assert "out.vcf.gz" not in names(tmp_path)
    assert names(tmp_path) == ["out.vcf.gz", "out.vcf.gz.tbi"]
    with pysam.TabixFile(str(path)) as table:
        assert [line.split("\t")[1] for line in table.fetch("chr1", 1, 1000)] == ["901"]
    lines = text_of(path).splitlines()
    assert [(line.split("\t")[0], int(line.split("\t")[1]) - 1) for line in lines if line[0] != "#"] == SITES


def test_file_without_rows(tmp_path):
    with writer(tmp_path / "out.vcf.gz"):
        pass
    assert names(tmp_path) == ["out.vcf.gz", "out.vcf.gz.tbi"]
    assert text_of(tmp_path / "out.vcf.gz") == header("me", "/ref.fa", CONTIGS, "run")


def test_long_contig_gets_a_csi_index_and_an_old_index_goes(tmp_path):
    path, contigs = tmp_path / "out.vcf.gz", [("chr1", 2**29)]
    with writer(path):
        pass
    with writer(path, contigs) as vcf:
        write(vcf, ("chr1", 2**29 - 1))
    assert names(tmp_path) == ["out.vcf.gz", "out.vcf.gz.csi"]
    with pysam.TabixFile(str(path), index=f"{path}.csi") as table:
        assert len(list(table.fetch("chr1", 2**29 - 1, 2**29))) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_nothing_is_left_after_an_exception(tmp_path, error):
    with pytest.raises(error), writer(tmp_path / "out.vcf.gz") as vcf:
        write(vcf, *SITES)
        raise error
    assert names(tmp_path) == []


def test_an_exception_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "out.vcf.gz"
    with writer(path) as vcf:
        write(vcf, *SITES)
    before = path.read_bytes()
    with pytest.raises(ValueError), writer(path):
        raise ValueError
    assert path.read_bytes() == before
    assert names(tmp_path) == ["out.vcf.gz", "out.vcf.gz.tbi"]


@pytest.mark.parametrize(
    "sites, message",
    [
        ([("chr1", 5), ("chr1", 4)], "chr1:5 comes after chr1:6"),
        ([("chr1", 5), ("chr2", 1), ("chr1", 6)], "chr1 comes back after another contig"),
        ([("chr9", 5)], "chr9 is not in the header"),
    ],
)
def test_records_out_of_order(tmp_path, sites, message):
    with pytest.raises(ClairError, match=message), writer(tmp_path / "out.vcf.gz") as vcf:
        write(vcf, *sites)
    assert names(tmp_path) == []


@pytest.mark.parametrize("rows", [1, 20_000])  # noticed when closing; while writing
def test_full_disk(tmp_path, rows):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(InputError, match="cannot be written"), writer(tmp_path / "out.vcf.gz") as vcf:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
            write(vcf, *[("chr1", 5)] * rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


def test_full_disk_in_a_long_header(tmp_path):
    contigs = [(f"contig{i}", 1000) for i in range(20_000)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        with pytest.raises(InputError, match="cannot be written"), writer(tmp_path / "out.vcf.gz", contigs):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


def test_index_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("building of index failed")

    monkeypatch.setattr(pysam, "tabix_index", refuse)
    with pytest.raises(InputError, match="building of index failed"), writer(tmp_path / "out.vcf.gz"):
        pass
    assert names(tmp_path) == []


def test_missing_folder_and_folder_in_the_way(tmp_path):
    with pytest.raises(InputError, match="No such file or directory"), writer(tmp_path / "no" / "out.vcf.gz"):
        pass
    with pytest.raises(InputError, match="is a folder"), writer(tmp_path):
        pass


@pytest.mark.skipif(not shutil.which("bcftools"), reason="bcftools is not installed")
@pytest.mark.parametrize("gvcf", [False, True])
def test_bcftools_reads_it_without_a_word(tmp_path, gvcf):
    path = tmp_path / "out.vcf.gz"
    records = [
        call(pos=1),
        call(pos=2, alts=("G", "T"), genotype="1/2", depths=(1, 2, 3), fractions=(0.1, 0.2)),
        call(pos=3, genotype="1", likelihoods=(1, 2, 3)),
        call(pos=4, ref="Acg", alts=("A",), likelihoods=(1, 0, 3)),
        REFERENCE_CALL,
    ]
    block = "chr2\t10\t.\tA\t<NON_REF>\t0\t.\tEND=20\tGT:GQ:MIN_DP:PL\t0/0:50:20:0,60,200"
    with VcfWriter(path, header("me", "/ref.fa", CONTIGS, "run", gvcf=gvcf), CONTIGS) as vcf:
        for record in records:
            vcf.write(make_record("chr1", record, "F"))
        if gvcf:
            vcf.write(parse_record(block))
    for region in ([], ["chr1"]):
        done = subprocess.run(["bcftools", "view", str(path), *region], capture_output=True, text=True, check=True)
        assert done.stderr == ""
    assert len([line for line in done.stdout.splitlines() if line[0] != "#"]) == len(records)
