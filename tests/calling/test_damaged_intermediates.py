"""Whatever happens to a file that a run left in tmp/, --resume makes it again and gives the bytes of a whole run."""

import gzip
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from clair3.calling import pipeline
from clair3.config import CallingConfig

FINAL = ("pileup.vcf.gz", "full_alignment.vcf.gz", "merge_output.vcf.gz", "merge_output.gvcf.gz")


@pytest.fixture
def config(run_config) -> CallingConfig:
    """A run of all stages with a gVCF, cut into many tasks."""
    run_config.output.mkdir()
    return replace(run_config, gvcf=True)


def outputs(folder: Path) -> dict[str, bytes]:
    return {name: gzip.decompress((folder / name).read_bytes()) for name in FINAL}


def flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


DAMAGE = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "a bit of its head": lambda content: flip(content, len(content) // 8),
    "a bit of its body": lambda content: flip(content, len(content) * 3 // 4),
    "its last byte": lambda content: flip(content, len(content) - 1),
    "other bytes": lambda content: random.Random(3).randbytes(len(content)),
    "more bytes": lambda content: content + content[-50:],
}


def intermediates(config: CallingConfig) -> list[Path]:
    found = sorted(path for path in (config.output / "tmp").rglob("*") if path.is_file())
    assert {path.parent.name for path in found} == {"tmp", "pileup_output", "phase_vcf", "full_alignment_output"}
    return found


def test_damage_of_all_files(config):
    pipeline.call_variants(config)
    expected = outputs(config.output)
    for what, damage in DAMAGE.items():
        for path in intermediates(config):
            path.write_bytes(damage(path.read_bytes()))
        pipeline.call_variants(replace(config, resume=True))
        assert outputs(config.output) == expected, what


@pytest.mark.slow
def test_damage_of_each_file_in_turn(config):
    """The others are whole, so that what is damaged is taken up unless it is noticed; each file gets one of the kinds,
    or is missing, in turn."""
    pipeline.call_variants(config)
    expected, kinds = outputs(config.output), [*DAMAGE, None]
    kept = shutil.copytree(config.output / "tmp", config.output.with_name("kept"))
    for number, path in enumerate(intermediates(config)):
        what = kinds[number % len(kinds)]
        path.write_bytes(DAMAGE[what](path.read_bytes())) if what else path.unlink()
        pipeline.call_variants(replace(config, resume=True))
        assert outputs(config.output) == expected, (path, what)
        shutil.copytree(kept, config.output / "tmp", dirs_exist_ok=True)
