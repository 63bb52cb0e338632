"""bgzip files from the C core: readable, the same bytes for any number of threads, and a sentence when refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from clair3.core.block_file import BlockFile
from clair3.errors import InputError
from clair3.io.text import BGZF_EOF


def test_the_bytes_do_not_depend_on_threads(tmp_path):
    data = np.random.default_rng(1).integers(0, 4, 1_000_000, dtype=np.uint8)
    for threads in (1, 3):
        with BlockFile(tmp_path / str(threads), threads) as file:
            for part in np.array_split(data, 7):
                file.write(part)
    one, three = ((tmp_path / name).read_bytes() for name in ("1", "3"))
    assert one == three and gzip.decompress(one) == data.tobytes() and one.endswith(BGZF_EOF)


@pytest.mark.parametrize("path", ["folder", "absent/file"])
def test_what_cannot_be_opened(tmp_path, path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        InputError, match=f"shown.vcf.gz: cannot be written \\({'Is a' if path == 'folder' else 'No such'}"
    ):
        BlockFile(tmp_path / path, name=tmp_path / "shown.vcf.gz")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk():
    with (
        pytest.raises(InputError, match="/dev/full: cannot be written .*is the disk full"),
        BlockFile(Path("/dev/full")) as file,
    ):
        file.write(b"some bytes")
