"""The marks beside phased files: what they vouch for is taken up only as it was written."""

from clair3.calling.phasing import read_mark, write_mark
from clair3.io.atomic import sha256_of


def test_damaged_phased_files_are_made_again(tmp_path):
    mark, phased = tmp_path / "chr1.digest", tmp_path / "phased_chr1.vcf.gz"
    phased.write_bytes(good := b"phased records")
    write_mark(mark, "inputs", sha256_of(phased))
    marked = mark.read_bytes()
    assert read_mark(mark, "inputs", phased) == ""
    assert read_mark(mark, "other inputs", phased) is None
    for content in (b"", good[:-1], b"phased recordt", None):
        phased.unlink() if content is None else phased.write_bytes(content)
        assert read_mark(mark, "inputs", phased) is None
    phased.write_bytes(good)
    for content in [b"", marked[:-9], b"\xff" * 100, *(marked[:at] + b"~" + marked[at + 1 :] for at in range(20))]:
        mark.write_bytes(content)
        assert read_mark(mark, "inputs", phased) is None
