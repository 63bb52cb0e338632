"""Post-processing tools: zygosity by structural variants, supporting read pairs (spec/calling.md 12.1, 12.2)."""

import gzip

import pytest
from pileup_reference import Read
from random_reads import draw, write_bam

from clair3.cli.main import main as clair3
from clair3.legacy.postprocess import supports

HEAD = "##fileformat=VCFv4.2\n##contig=<ID=c,length=100>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\n"
POS = 50


def call(pos=POS, ref="A", alt="G", kind="PASS", genotype="1/1", af="0.7", info="F"):
    return f"c\t{pos}\t.\t{ref}\t{alt}\t9.50\t{kind}\t{info}\tGT:GQ:AF\t{genotype}:8:{af}"


def deletion(start=40, end=60, qual="33.333", kind="PASS", alt="<DEL>"):
    return f"c\t{start}\t.\tN\t{alt}\t{qual}\t{kind}\tSVTYPE=DEL;END={end}\n"


def load_rows(path):
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    assert path.with_name(f"{path.name}.tbi").is_file()
    return [line for line in lines if line[0] == "#"], [line for line in lines if line[0] != "#"]


@pytest.fixture
def tool(tmp_path):
    def run(name, reads, calls, *options, sv=None, bed=None):
        write_bam(tmp_path / "reads.bam", {"c": 100}, {"c": reads})
        (tmp_path / "calls.vcf").write_text(HEAD + "".join(f"{line}\n" for line in calls))
        for kind, words in (("vcf", sv), ("bed", bed)):
            if words is not None:
                (tmp_path / f"sv.{kind}").write_text(words)
                options = (*options, f"--sv_{kind}_input={tmp_path / f'sv.{kind}'}")
        files = (f"--bam_fn={tmp_path / 'reads.bam'}", f"--clair3_vcf_input={tmp_path / 'calls.vcf'}")
        clair3([name, *files, f"--vcf_output={tmp_path / 'out.vcf'}", *options])
        return load_rows(tmp_path / "out.vcf.gz")

    return run


def covering(deleted, whole, flag=0, mapq=60, cigar="10M60D10M"):
    gone = [Read(10, cigar, "A" * 20, flag, mapq, f"d{i}") for i in range(deleted)]
    return gone + [Read(0, "100M", "A" * 100, name=f"w{i}") for i in range(whole)]


SWITCH = "SwitchZygosityBasedOnSVCalls"
SWITCHED = call(genotype="0/1", info="F;SVBASEDHET;ORG_CLAIR3_SCORE=9.50").replace("\t9.50\t", "\t33.33\t")


def test_switched_row_and_header(tool):
    others = [call(20), call(90)]
    header, rows = tool(SWITCH, covering(3, 7), [others[0], call(), others[1]], sv=deletion())
    assert rows == [others[0], SWITCHED, others[1]]
    assert header[-1].startswith("#CHROM") and all(line.endswith(">") for line in header[-3:-1])
    assert "ID=SVBASEDHET,Number=0,Type=Flag" in header[-3] and "ID=ORG_CLAIR3_SCORE,Number=1,Type=Float" in header[-2]


@pytest.mark.parametrize(
    "row",
    [
        call(genotype="0/1"),
        call(af="0.7001"),
        call(ref="AC"),
        call(alt="GT"),
        call(kind="LowQual"),
        call(genotype="./."),
        call(pos=39),
        call(pos=60),
    ],
)
def test_rows_that_do_not_qualify(tool, row):
    assert tool(SWITCH, covering(3, 7), [row], sv=deletion())[1] == [row]


@pytest.mark.parametrize("pos", [40, 59])
def test_ends_of_the_interval(tool, pos):
    assert "SVBASEDHET" in tool(SWITCH, covering(3, 7), [call(pos)], sv=deletion())[1][0]


@pytest.mark.parametrize(
    "reads, switched",
    [
        (covering(3, 7), True),
        (covering(29, 71), False),
        (covering(3, 7, cigar="10M46D10M"), True),  # deleted to POS + 16
        (covering(3, 7, cigar="10M45D10M"), False),  # one position short
        (covering(3, 7, mapq=4), False),
        (covering(3, 7, mapq=5), True),
        (covering(3, 7, flag=2048), False),
        ([*covering(3, 0), Read(0, "40M", "A" * 40)], True),  # what is over each position counts
        ([], False),
    ],
)
def test_every_position_around_is_deleted(tool, reads, switched):
    row = tool(SWITCH, reads, [call()], sv=deletion())[1][0]
    assert row == (SWITCHED if switched else call())


def test_top_quality_and_tags(tool, caplog):
    several = deletion(qual="10") + deletion(qual="70.128") + deletion(qual="99", kind="x") + deletion(alt="<INV>")
    assert tool(SWITCH, covering(3, 7), [call()], sv=several)[1][0].split("\t")[5] == "70.13"
    options = ("--sv_filter_tag=x", "--sv_alt_tag=<DEL>")
    assert tool(SWITCH, covering(3, 7), [call()], *options, sv=several)[1][0].split("\t")[5] == "99.00"
    assert tool(SWITCH, covering(3, 7), [call(), call(90)], sv=deletion(qual="."))[1] == [call(90)]
    assert "c:50 is left out" in caplog.text


def test_without_quality(tool):
    plain = [call(genotype="0/1"), call(51)]
    assert tool(SWITCH, covering(3, 7), [call(), call(51)], bed="c\t49\t50\n")[1] == plain
    assert tool(SWITCH, covering(3, 7), [call()], "--use_sv_qual=no", sv=deletion())[1] == plain[:1]


def test_exactly_one_source_of_deletions(tool):
    with pytest.raises(SystemExit) as stopped:
        tool(SWITCH, [], [call()])
    assert stopped.value.code == 2


PICTURE = """
    = ACGTACGTACGT
    > ....T.......
    > ....T.......
    > ....***.....
    > .....**.....
    > ............
    +     CC
    > ............
    +     CC
    > ....T.......
    +     CC
"""


@pytest.mark.parametrize(
    "ref, alt, depth",
    [("A", "T", 2), ("A", "ACC", 2), ("A", "TCC", 1), ("A", "ACA", 0), ("ACG", "A", 1), ("AC", "A", 0)],
)
def test_supporting_names(tool, ref, alt, depth):
    _, reads = draw(PICTURE)
    header, rows = tool("AddPairEndAlleleDepth", reads, [call(5, ref, alt, genotype="0/1")])
    assert rows == [f"{call(5, ref, alt, genotype='0/1')}:{depth}".replace("GT:GQ:AF", "GT:GQ:AF:PEAD")]
    assert header[-2].startswith("##FORMAT=<ID=PEAD,Number=1,Type=Integer") and header[-2].endswith(">")


def test_pairs_count_once_and_filters(tool):
    reads = [Read(0, "10M", "ACGTTCGTAC", flag, 60, "pair") for flag in (99, 147)]
    reads += [Read(0, "10M", "ACGTTCGTAC", 0, 4, "low"), Read(0, "10M", "ACGTTCGTAC", 256, 60, "secondary")]
    calls = [call(5, alt="T"), call(6, kind="LowQual"), call(7, genotype="0/0"), call(8, alt="T", kind="x")]
    assert [row.split(":")[-1] for row in tool("AddPairEndAlleleDepth", reads, calls)[1]] == ["1"]
    kept = tool("AddPairEndAlleleDepth", reads, calls, "--filter_tag=x,LowQual")[1]
    assert [row.split("\t")[1] for row in kept] == ["6", "8"]


def test_first_base_and_length_of_a_deletion():
    assert supports("A-2NN", "ACG", "A") and not supports("T-2NN", "ACG", "A") and not supports("A-12NN", "AC", "A")
