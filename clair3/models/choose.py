"""The read groups of a BAM or CRAM header: which machine and which basecaller made the reads."""

import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pysam

from clair3.errors import InputError, UsageError
from clair3.io.inputs import check_format, stay_offline
from clair3.models.registry import (
    BUNDLED,
    SIMULATED,
    ModelCard,
    check_for_calling,
    find_default,
    find_installed,
    known_models,
    read_registry,
)

logger = logging.getLogger(__name__)


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


AUTO = "auto"

SAYS = {
    "ont": "basecaller model (basecall_model= in DS)",
    "hifi": "instrument (PM, with PL:PACBIO)",
    "ilmn": "platform (PL:ILLUMINA)",
}
"""What of a read group chooses the model of a platform."""
PLATFORM_TAGS = {"ont": ("ONT", "NANOPORE"), "hifi": ("PACBIO",), "ilmn": ("ILLUMINA",)}
"""Values of PL, upper case."""
HIFI_READ_TYPE = "CCS"


def is_model_name(text: str) -> bool:
    """Whether a value of --model_path is a name, or auto, and no path; an existing folder always counts as one."""
    if os.sep in text or Path(text).is_dir():
        return False
    return text == AUTO or find_installed(text) is not None or text in known_models()


def resolve_model(text: str | None, bam: Path, platform: str, dwell: bool) -> Path:
    """The model folder that --model_path means, absolute; a choice that was left to us is logged.

    text: None for the default of the platform; bam: the reads; dwell: whether move tables are to be used. Nothing is
    downloaded. Raises UsageError when there is no default, and InputError when there is no such folder, the model is
    not on this machine, the reads do not tell which model they need, or the folder's model.json and its files
    contradict each other.
    """
    if text is None:
        return default_model(bam, platform, dwell)
    if not is_model_name(text):
        folder = Path(os.path.abspath(text))
        if not folder.is_dir():
            hint = "" if os.sep in text else '; "clair3 models list" names the models that are known'
            raise InputError(f"Model path not found: {folder}{hint}")
    elif text == AUTO:
        folder, reason = choose(bam, read_groups(bam), platform, dwell, known_models())
        logger.info("--model_path=auto: %s", reason)
    elif (folder := find_installed(text)) is None:
        raise InputError(f"model {text} is not on this machine; {how_to_get(text)}")
    check_for_calling(folder, platform)
    return folder


def default_model(bam: Path, platform: str, dwell: bool) -> Path:
    """The folder of the platform's default model. It says of itself what it is, and what to take in its place."""
    folder = find_default(platform)
    if folder is None:
        raise UsageError(
            f"--model_path is missing, and no default model for --platform={platform} is in this package; "
            'give a folder, or a name of "clair3 models list"'
        )
    card = check_for_calling(folder, platform)
    made = ", trained on simulated reads" if card and card.origin == SIMULATED else ""
    logger.warning(
        "No --model_path: calling with the default model %s of this package%s; for production use %s",
        folder.name, made, published_for(bam, platform, dwell),
    )  # fmt: skip
    return folder


def published_for(bam: Path, platform: str, dwell: bool) -> str:
    """The published model that the read groups ask for, and how to call with it, in words."""
    try:
        _, (card, *_) = fitting_models(bam, read_groups(bam), platform, dwell, read_registry())
    except InputError:  # the reads do not say; a file that cannot be read is refused later
        return 'a published model for the basecaller or instrument of the reads ("clair3 models list")'
    get = "" if find_installed(card.name) else f'"clair3 models fetch {card.name}", then '
    return f"the published model {card.name} ({get}--model_path={card.name})"


def choose(
    bam: Path, groups: Iterable[ReadGroup], platform: str, dwell: bool, cards: dict[str, ModelCard]
) -> tuple[Path, str]:
    """The folder of the one model that fits all reads, and why. Raises InputError rather than guess.

    A model of this package stands back behind others.
    """
    made_by, fitting = fitting_models(bam, groups, platform, dwell, cards)
    here = {card.name: folder for card in fitting if (folder := find_installed(card.name))}
    here = {name: folder for name, folder in here.items() if folder.parent != BUNDLED} or here
    if len(here) > 1:
        raise refusal(bam, f"{len(here)} models here fit reads of {made_by}", [cards[name] for name in here])
    if not here:
        name = fitting[0].name
        raise InputError(
            f"--model_path=auto: the model for the reads of {bam} ({made_by}) is {name}, which is not on this "
            f"machine; {how_to_get(name)}"
        )
    ((name, folder),) = here.items()
    reason = f"{name} in {folder.parent}, because the read groups of {bam.name} say {made_by}"
    if others := [card.name for card in fitting if card.name != name]:
        reason += f"; not on this machine, and for such reads too: {', '.join(others)}"
    return folder, reason


def fitting_models(
    bam: Path, groups: Iterable[ReadGroup], platform: str, dwell: bool, cards: dict[str, ModelCard]
) -> tuple[str, list[ModelCard]]:
    """What made all reads, and the models for it, one at least. Raises InputError rather than guess.

    A model fits when its card names the reads' basecaller model (ont) or instrument (hifi), and was trained with move
    tables just when `dwell` asks for them. Models with a special purpose never fit.
    """
    general = [card for card in cards.values() if card.platform == platform and card.purpose is None]
    general = [card for card in general if bool(card.dwell) == dwell]
    made_by = what_made_them(bam, groups, platform, general)
    fitting = [card for card in general if fits(card, made_by)]
    if not fitting:
        moves = " with move tables" if dwell else ""
        raise refusal(bam, f"no model{moves} is known for reads of {made_by}", general)
    return made_by, fitting


def what_made_them(bam: Path, groups: Iterable[ReadGroup], platform: str, general: list[ModelCard]) -> str:
    """The one basecaller model (ont), instrument (hifi) or platform (ilmn) of all reads.

    Raises InputError when read groups are missing, silent, of another platform, or disagree.
    """
    groups = list(groups)
    if not groups:
        raise refusal(bam, "no read groups (@RG) in its header, so nothing says how the reads were made", general)
    for group in groups:
        if group.platform is not None and group.platform not in PLATFORM_TAGS[platform]:
            told = f"read group {group.name} is of PL:{group.platform}, which contradicts --platform={platform}"
            raise refusal(bam, told, general)
        if platform == "hifi" and group.read_type not in (None, HIFI_READ_TYPE):
            told = f"read group {group.name} has {group.read_type} reads, and the models are for {HIFI_READ_TYPE}"
            raise refusal(bam, told, general)
    made_by = {group.name: basecaller_or_instrument(group, platform) for group in groups}
    if silent := [name for name, value in made_by.items() if value is None]:
        named = ", ".join(silent[:3]) + (", ..." if len(silent) > 3 else "")
        raise refusal(bam, f"read group {named} does not say its {SAYS[platform]}", general)
    distinct = sorted(set(made_by.values()))
    if len(distinct) > 1:
        fitting = [card for card in general if any(fits(card, value) for value in distinct)]
        told = f"its reads were made in {len(distinct)} ways ({', '.join(distinct)}); call each kind by itself"
        raise refusal(bam, told, fitting or general)
    return distinct[0]


def basecaller_or_instrument(group: ReadGroup, platform: str) -> str | None:
    return {"ont": group.basecall_model, "hifi": group.instrument, "ilmn": group.platform}[platform]


def fits(card: ModelCard, made_by: str) -> bool:
    return card.platform == "ilmn" or made_by in (*card.basecall_models, *card.instruments)


def refusal(bam: Path, told: str, candidates: list[ModelCard]) -> InputError:
    """What the header says, and what to do."""
    names = ", ".join(card.name for card in candidates) or "none is registered"
    return InputError(f"--model_path=auto: {bam}: {told}; give a model by name or folder instead: {names}")


def how_to_get(name: str) -> str:
    return f'run "clair3 models fetch {name}", or give a folder with --model_path'
