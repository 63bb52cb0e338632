"""Known sites: what each defect of a VCF gives, against a FASTA and without one (spec/calling.md 10)."""

import pysam
import pytest
from tiny_genome import write_fasta

from clair3.errors import InputError
from clair3.io.known_sites import read_known_sites, site_positions
from clair3.io.vcf import format_record


@pytest.fixture
def fasta(tmp_path):
    """chr1 has ACGTacgtRN, chr2 and chr3 are long enough for any site of these tests."""
    path = tmp_path / "known.fa"
    path.write_text(f">chr1\nACGTacgtRN\n>chr2\n{'A' * 50}\n>chr3\n{'C' * 50}\n")
    pysam.faidx(str(path))
    with pysam.FastaFile(str(path)) as file:
        yield file


def read(fasta, tmp_path, *rows, with_fasta=True, **options):
    path = tmp_path / "x.vcf"
    path.write_text("".join(f"{row}\n" for row in ("##fileformat=VCFv4.2", "#CHROM\tPOS", *rows)))
    lengths = dict(zip(fasta.references, fasta.lengths, strict=True))
    return read_known_sites(path, lengths, fasta if with_fasta else None, **options)


def lines(sites):
    return [
        "\t".join(format_record(record).split("\t")[:4]) for records in sites.values() for record in records.values()
    ]


def warnings(caplog):
    return [record.getMessage().partition("x.vcf: ")[2] for record in caplog.records if record.levelname == "WARNING"]


GOOD = ("chr1\t1\tid\tA\tC", "chr1\t2\t.\tCG\tC", "chr1\t6\t.\tc\t<DEL>", "chr3\t50\t.\tC")


@pytest.mark.parametrize(
    "row, line, warning",
    [
        ("chr2\t7\t.\tA\t*", "chr2\t7\t.\tA", None),
        ("chr2 7 x A C", "chr2\t7\tx\tA", None),
        ("chr2 \t7 \t x y\t A\tC", "chr2\t7\tx_y\tA", None),
        ("chr2\t7\t\tA\tC", "chr2\t7\t.\tA", None),
        ("chr2\t7\t.\tN\tC", "chr2\t7\t.\tA", None),
        ("chr1\t9\t.\tA\tC", "chr1\t9\t.\tN", None),
        ("chr2\t7", "chr2\t7\t.\tA", "have no bases in REF; the letter of the FASTA is taken"),
        ("chr2\t7\tx\t\tC", "chr2\t7\tx\tA", "have no bases in REF; the letter of the FASTA is taken"),
        ("chr2\t7\tx\t<DEL>\tC", "chr2\t7\tx\tA", "have no bases in REF; the letter of the FASTA is taken"),
        ("chr2\t7\t.\tC\tA", "chr2\t7\t.\tA", "have another REF than {fasta}, whose letter is taken"),
        ("chr2\t7\t.\tAC\tA", "chr2\t7\t.\tA", "have another REF than {fasta}, whose letter is taken"),
        ("chr2\t50\t.\tAA\tA", "chr2\t50\t.\tA", "have another REF than {fasta}, whose letter is taken"),
        ("chr2\t51\t.\tA\tC", None, "lie beyond the end of their contig and are left out"),
        ("chr2\t600000000\t.\tA\tC", None, "lie beyond the end of their contig and are left out"),
        ("chr2\t0\t.\tA\tC", None, "are at POS 0, before the first base, and left out"),
        ("chr9\t7\t.\tA\tC", None, "are on contigs that the reference lacks and left out"),
    ],
)
def test_a_site_is_right_or_told(fasta, tmp_path, caplog, row, line, warning):
    sites = read(fasta, tmp_path, *GOOD, row)
    good = lines(read(fasta, tmp_path, *GOOD))
    assert good == ["chr1\t1\tid\tA", "chr1\t2\t.\tC", "chr1\t6\t.\tC", "chr3\t50\t.\tC"]
    assert sorted(lines(sites)) == sorted([*good, *([line] if line else [])])
    name, pos = row.split()[:2]
    first = f"the first in line 7 ({name} {pos})"
    expected = [f"1 sites {warning.format(fasta=fasta.filename.decode())}, {first}"] if warning else []
    assert warnings(caplog) == expected


@pytest.mark.parametrize("row", ["1 .", "1 123abc", "1 -1", "1", "\t7\t.\tA", "1\t7 8\t.\tA", "1\t" + "9" * 19])
def test_rows_without_a_position_are_refused(fasta, tmp_path, row):
    with pytest.raises(InputError) as error:
        read(fasta, tmp_path, GOOD[0], row)
    assert str(error.value).startswith("Invalid vcf input in 4-th row ") and "x.vcf" in str(error.value)


@pytest.mark.parametrize(
    "rows, words",
    [
        ([GOOD[0], "chr2\t3\t.\tC", "chr2\t4\t.\tG"], "2 of 3 sites have another REF than"),
        (["chr2\t3\t.\tC", "chr2\t4\t.\tN"], "1 of 1 sites have another REF than"),
        (["chr1\t600000000\t.\tA", "chr1\t11\t.\tA"], "all 2 sites lie beyond the end of their contig, as line 3"),
        (["2\t3\t.\tA", "3\t4\t.\tC"], "none of its sites is on a contig of the reference, line 3 (2 3) neither; "
         "did you mean chr2?"),
    ],
)  # fmt: skip
def test_sites_of_another_assembly_are_refused(fasta, tmp_path, rows, words):
    with pytest.raises(InputError) as error:
        read(fasta, tmp_path, *rows)
    assert words in str(error.value) and "x.vcf" in str(error.value)


def test_half_of_them_is_no_other_assembly(fasta, tmp_path, caplog):
    assert len(lines(read(fasta, tmp_path, "chr2\t3\t.\tC", "chr2\t4\t.\tA"))) == 2
    assert len(warnings(caplog)) == 1


def test_positions_are_distinct_and_ascending(fasta, tmp_path):
    sites = read(fasta, tmp_path, "chr2\t9\tfirst\tA", "chr1\t2\t.\tC", "chr2\t4\t.\tA", "chr2\t9\tlast\tA")
    assert {contig: pos.tolist() for contig, pos in site_positions(sites).items()} == {"chr1": [1], "chr2": [3, 8]}
    assert lines(sites)[-1] == "chr2\t9\tlast\tA"
    assert read(fasta, tmp_path) == {}


def test_without_a_fasta_the_given_ref_counts(fasta, tmp_path, caplog):
    rows = ("chr2\t7\t\tgc\tA", "chr2\t8", "chr2\t9\t.\t<INS>\tA")
    assert lines(read(fasta, tmp_path, *rows, with_fasta=False)) == ["chr2\t7\t.\tG"]
    assert warnings(caplog) == ["2 sites have no bases in REF and are left out, the first in line 4 (chr2 8)"]
    kept = read(fasta, tmp_path, "chr2\t7\t.\tA\tC\t.\t.\t.\tGT\t0/1\t1/1", with_fasta=False, keep_records=True)
    assert format_record(kept["chr2"][6]) == "chr2\t7\t.\tA\tC\t.\t.\t.\tGT\t0/1"


def test_many_sites_in_any_order(tmp_path):
    """Sites farther apart than what is kept of the reference at once have their letters, too."""
    path = write_fasta(tmp_path / "long.fa", {"chr1": 3_000_000})
    with pysam.FastaFile(str(path)) as fasta:
        places = [2_999_999, 5, 1_500_000, 1_048_576, 1_048_581, 6]
        sites = read(fasta, tmp_path, *[f"chr1\t{pos + 1}\t.\tN" for pos in places])
        expected = {pos: fasta.fetch("chr1", pos, pos + 1).upper() for pos in sorted(places)}
        assert {pos: record.ref for pos, record in sites["chr1"].items()} == expected
