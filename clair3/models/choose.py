"""The choice of a model: by name, by folder, or by the read groups (@RG) of a BAM or CRAM header.

The read groups say which machine and which basecaller made the reads; --model_path=auto takes the one model whose card
names them, and refuses rather than guesses.
"""

import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pysam

from clair3.errors import InputError, UsageError
from clair3.io.alignments import check_format, stay_offline
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
from clair3.platforms import BASECALL_MODEL, INSTRUMENT, PLATFORM, PLATFORMS

logger = logging.getLogger(__name__)

AUTO = "auto"
"""Value of --model_path that leaves the choice to the read groups."""

DECISIVE_TAGS = {
    BASECALL_MODEL: "basecaller model (basecall_model= in DS)",
    INSTRUMENT: "instrument (PM, with PL:PACBIO)",
    PLATFORM: "platform (PL:ILLUMINA)",
}
"""Where a read group has the field that decides on the model (Platform.model_field)."""
"""READTYPE in DS of HiFi reads."""

DS_FIELD = re.compile(r"(?:^|(?<=[\s,;]))(basecall_model|READTYPE)=([^\s,;]+)")
"""A field of DS, as Dorado (separated by blanks) and PacBio's programs (by semicolons) write them."""


@dataclass(frozen=True)
class ReadGroup:
    """One @RG line; a tag that it lacks is None.

    platform        PL in upper case
    instrument      PM in upper case (of PacBio reads: REVIO, SEQUELII)
    basecall_model  field of DS, written by Dorado
    read_type       field of DS, written by PacBio's programs (CCS)
    """

    name: str
    platform: str | None = None
    instrument: str | None = None
    basecall_model: str | None = None
    read_type: str | None = None


def is_model_name(text: str) -> bool:
    """Return whether a value of --model_path is a name, or auto, and not a path; an existing folder is a path."""
    if os.sep in text or Path(text).is_dir():
        return False
    return text == AUTO or find_installed(text) is not None or text in known_models()


def resolve_model(text: str | None, bam: Path, platform: str, dwell: bool) -> Path:
    """Return the absolute path of the model folder that --model_path means, and log a choice that was made here.

    text is the value of --model_path, None for the default of the platform; dwell says whether move tables are used.
    Nothing is downloaded. Raises UsageError when there is no default, and InputError when there is no such folder, the
    model is not on this machine, the read groups do not decide on a model, or the folder's model.json and its files
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
        folder, reason = choose_model(bam, load_read_groups(bam), platform, dwell, known_models())
        logger.info("--model_path=auto: %s", reason)
    elif (folder := find_installed(text)) is None:
        raise InputError(f"model {text} is not on this machine; {how_to_get(text)}")
    check_for_calling(folder, platform)
    return folder


def default_model(bam: Path, platform: str, dwell: bool) -> Path:
    """Return the folder of the platform's default model, and warn that a published model is better.

    Raises UsageError when this package has no default model, and InputError as check_for_calling does.
    """
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
        folder.name, made, suggest_published_model(bam, platform, dwell),
    )  # fmt: skip
    return folder


def suggest_published_model(bam: Path, platform: str, dwell: bool) -> str:
    """Return the published model that fits the read groups, and how to call with it, as words of a message."""
    try:
        _, (card, *_) = find_fitting_models(bam, load_read_groups(bam), platform, dwell, read_registry())
    except InputError:  # the read groups do not decide; a file that cannot be read is refused later
        return 'a published model for the basecaller or instrument of the reads ("clair3 models list")'
    get = "" if find_installed(card.name) else f'"clair3 models fetch {card.name}", then '
    return f"the published model {card.name} ({get}--model_path={card.name})"


def choose_model(
    bam: Path, groups: Iterable[ReadGroup], platform: str, dwell: bool, cards: dict[str, ModelCard]
) -> tuple[Path, str]:
    """Return the folder of the one installed model that fits all reads, and the reason in words.

    A model of this package is taken only when no other fits. Raises InputError when none or several fit.
    """
    made_by, fitting = find_fitting_models(bam, groups, platform, dwell, cards)
    installed = {card.name: folder for card in fitting if (folder := find_installed(card.name))}
    installed = {name: folder for name, folder in installed.items() if folder.parent != BUNDLED} or installed
    if len(installed) > 1:
        raise make_refusal(
            bam, f"{len(installed)} models here fit reads of {made_by}", [cards[name] for name in installed]
        )
    if not installed:
        name = fitting[0].name
        raise InputError(
            f"--model_path=auto: the model for the reads of {bam} ({made_by}) is {name}, which is not on this "
            f"machine; {how_to_get(name)}"
        )
    ((name, folder),) = installed.items()
    reason = f"{name} in {folder.parent}, because the read groups of {bam.name} say {made_by}"
    if others := [card.name for card in fitting if card.name != name]:
        reason += f"; not on this machine, and for such reads too: {', '.join(others)}"
    return folder, reason


def find_fitting_models(
    bam: Path, groups: Iterable[ReadGroup], platform: str, dwell: bool, cards: dict[str, ModelCard]
) -> tuple[str, list[ModelCard]]:
    """Return what made all reads, and the models for it, one at least. Raises InputError when there is none.

    A model fits when its card names the reads' basecaller model (ont) or instrument (hifi), and was trained with move
    tables just when `dwell` asks for them. Models with a special purpose never fit.
    """
    general = [card for card in cards.values() if card.platform == platform and card.purpose is None]
    general = [card for card in general if bool(card.dwell) == dwell]
    made_by = find_origin(bam, groups, platform, general)
    fitting = [card for card in general if fits(card, made_by)]
    if not fitting:
        moves = " with move tables" if dwell else ""
        raise make_refusal(bam, f"no model{moves} is known for reads of {made_by}", general)
    return made_by, fitting


def find_origin(bam: Path, groups: Iterable[ReadGroup], platform: str, general: list[ModelCard]) -> str:
    """Return the one basecaller model (ont), instrument (hifi) or platform (ilmn) of all reads.

    Raises InputError when read groups are missing, lack the tag, are of another platform, or disagree.
    """
    groups, known = list(groups), PLATFORMS[platform]
    if not groups:
        raise make_refusal(bam, "no read groups (@RG) in its header, so nothing says how the reads were made", general)
    for group in groups:
        if group.platform is not None and group.platform not in known.read_group_platforms:
            problem = f"read group {group.name} is of PL:{group.platform}, which contradicts --platform={platform}"
            raise make_refusal(bam, problem, general)
        if known.read_type is not None and group.read_type not in (None, known.read_type):
            problem = f"read group {group.name} has {group.read_type} reads, and the models are for {known.read_type}"
            raise make_refusal(bam, problem, general)
    made_by = {group.name: getattr(group, known.model_field) for group in groups}
    if undecided := [name for name, value in made_by.items() if value is None]:
        named = ", ".join(undecided[:3]) + (", ..." if len(undecided) > 3 else "")
        raise make_refusal(bam, f"read group {named} does not say its {DECISIVE_TAGS[known.model_field]}", general)
    distinct = sorted(set(made_by.values()))
    if len(distinct) > 1:
        fitting = [card for card in general if any(fits(card, value) for value in distinct)]
        problem = f"its reads were made in {len(distinct)} ways ({', '.join(distinct)}); call each kind by itself"
        raise make_refusal(bam, problem, fitting or general)
    return distinct[0]


def fits(card: ModelCard, made_by: str) -> bool:
    """Return whether a card names a basecaller model or instrument; every Illumina model fits Illumina reads."""
    return PLATFORMS[card.platform].model_field == PLATFORM or made_by in (*card.basecall_models, *card.instruments)


def make_refusal(bam: Path, problem: str, candidates: list[ModelCard]) -> InputError:
    """Make the error of --model_path=auto: the problem, and the candidates from which the user may choose."""
    names = ", ".join(card.name for card in candidates) or "none is registered"
    return InputError(f"--model_path=auto: {bam}: {problem}; give a model by name or folder instead: {names}")


def how_to_get(name: str) -> str:
    """Return what to do about a model that is not installed, as words of a message."""
    return f'run "clair3 models fetch {name}", or give a folder with --model_path'


def load_read_groups(path: Path) -> list[ReadGroup]:
    """Read the read groups in the header of a BAM or CRAM file. Raises InputError when it cannot be read."""
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
    return [parse_read_group(line) for line in text.splitlines() if line.startswith("@RG\t")]


def parse_read_group(line: str) -> ReadGroup:
    """Parse an @RG line of a header."""
    tags = {word[:2]: word[3:].strip() for word in line.split("\t")[1:] if word[2:3] == ":"}
    ds_fields = dict(DS_FIELD.findall(tags.get("DS", "")))
    return ReadGroup(
        name=tags.get("ID", ""),
        platform=tags.get("PL", "").upper() or None,
        instrument=tags.get("PM", "").upper() or None,
        basecall_model=ds_fields.get("basecall_model"),
        read_type=ds_fields.get("READTYPE", "").upper() or None,
    )
