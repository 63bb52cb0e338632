"""The read groups of a BAM or CRAM header: which machine and which basecaller made the reads."""

import re
from dataclasses import dataclass
from pathlib import Path

import pysam

from preprocess.environment import check_format, stay_offline
from shared.errors import InputError

DESCRIBED = re.compile(r"(?:^|(?<=[\s,;]))(basecall_model|READTYPE)=([^\s,;]+)")
"""What Dorado (blanks between) and PacBio's programs (semicolons between) write into DS."""


@dataclass(frozen=True)
class ReadGroup:
    """One @RG line. None: it does not say.

    platform        PL, upper case; instrument: PM, upper case (of PacBio reads: REVIO, SEQUELII)
    basecall_model  in DS, as Dorado writes it; read_type: in DS, as PacBio writes it (CCS)
    """

    name: str
    platform: str | None = None
    instrument: str | None = None
    basecall_model: str | None = None
    read_type: str | None = None


def read_groups(path: Path) -> list[ReadGroup]:
    """The read groups in the header. Raises InputError when it cannot be read."""
    stay_offline()
    pysam.set_verbosity(0)
    check_format(path)
    try:
        with pysam.AlignmentFile(str(path), check_sq=False) as file:
            text = str(file.header)
    except (OSError, ValueError):
        raise InputError(
            f"{path}: the start of the file cannot be read; it is damaged, copy or write it again"
        ) from None
    return [read_group(line) for line in text.splitlines() if line.startswith("@RG\t")]


def read_group(line: str) -> ReadGroup:
    """The read group of an @RG line."""
    tags = {word[:2]: word[3:].strip() for word in line.split("\t")[1:] if word[2:3] == ":"}
    described = dict(DESCRIBED.findall(tags.get("DS", "")))
    return ReadGroup(
        name=tags.get("ID", ""),
        platform=tags.get("PL", "").upper() or None,
        instrument=tags.get("PM", "").upper() or None,
        basecall_model=described.get("basecall_model"),
        read_type=described.get("READTYPE", "").upper() or None,
    )
