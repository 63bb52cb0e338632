"""model.json: what it says, what is refused, and what a run makes of it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clair3.errors import InputError
from clair3.io.atomic import sha256_of
from clair3.models.registry import (
    CARD_FILE,
    MAX_CARD_BYTES,
    ModelCard,
    check_digest,
    check_for_calling,
    parse_card,
    read_card,
    read_registry,
    write_card,
)
from clair3.platforms import PLATFORMS

CARD = ModelCard(
    name="lab+model",
    platform="ont",
    chemistry="R10.4.1",
    basecaller="Dorado 5.0.0 sup",
    basecall_models=("dna_r10.4.1_e8.2_400bps_sup@v5.0.0",),
    dwell=False,
    origin="trained",
    training_data="HG002, chr1-19",
    metrics={"snp_f1": 0.998, "by contig": {"chr20": 1}},
    digest={"pileup.pt": "0" * 64},
)


def test_round_trip(tmp_path):
    assert read_card(tmp_path) is None
    write_card(tmp_path, CARD)
    assert read_card(tmp_path) == CARD
    assert "purpose" not in (tmp_path / CARD_FILE).read_text()  # what is not known is not there
    assert [path.name for path in tmp_path.iterdir()] == [CARD_FILE]


texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)


@given(
    chemistry=texts | st.none(),
    basecall_models=st.lists(texts, max_size=3).map(tuple),
    dwell=st.booleans() | st.none(),
    platform=st.sampled_from(list(PLATFORMS)),
    metrics=st.dictionaries(texts, st.integers() | st.booleans() | texts, max_size=3),
)
def test_json_keeps_a_card(chemistry, basecall_models, dwell, platform, metrics):
    card = ModelCard("x", platform, chemistry, None, basecall_models, dwell=dwell, metrics=metrics)
    assert parse_card(json.loads(json.dumps(card.as_dict())), "here") == card


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(vars(CARD))), inner, max_size=4),
)


@given(changes=st.dictionaries(st.sampled_from(list(vars(CARD))), json_values, max_size=3) | json_values)
def test_any_json_makes_a_card_or_is_refused(changes):
    values = CARD.as_dict() | changes if isinstance(changes, dict) else changes
    try:
        card = parse_card(values, "here")
    except InputError as error:
        assert str(error).startswith("here: ") and str(error).isprintable()
    else:
        assert card == parse_card(card.as_dict(), "here")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("\xff", "not JSON"),
        ("[]", "expected an object with the fields of a model"),
        ("{}", "name and platform of the model missing"),
        ('{"name": "x"}', ": platform of the model missing"),
        ('{"name": "../x", "platform": "ont"}', "name is '../x', expected a name without slashes"),
        ('{"name": "x", "platform": "pacbio"}', "platform is 'pacbio', expected one of ont, hifi, ilmn"),
        ('{"name": "x", "platform": ["ont"]}', "expected one of ont, hifi, ilmn"),
        ('{"name": "x", "platform": "ont", "dwell": 1}', "dwell is '1', expected true or false"),
        ('{"name": "x", "platform": "ont", "basecall_models": "hac"}', "expected a list of texts"),
        ('{"name": "x", "platform": "ont", "digest": {"pileup.pt": "12"}}', "expected SHA-256 digests"),
        ('{"name": "x", "platform": "ont", "digest": {"../pileup.pt": "%s"}}' % ("0" * 64), "expected SHA-256 digests"),
        ('{"name": "x", "platform": "ont", "licence": "two\\nlines"}', "expected a line of text"),
        ('"' + "x" * MAX_CARD_BYTES + '"', "larger than"),
    ],
)
def test_what_is_refused(tmp_path, text, message):
    (tmp_path / CARD_FILE).write_text(text, encoding="latin-1")
    with pytest.raises(InputError) as error:
        read_card(tmp_path)
    assert str(error.value).startswith(str(tmp_path / CARD_FILE)) and message in str(error.value)


def test_a_folder_in_its_place(tmp_path):
    (tmp_path / CARD_FILE).mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_card(tmp_path)


def test_fields_of_later_versions_are_left_out():
    assert parse_card(CARD.as_dict() | {"colour": "blue"}, "here") == CARD


def test_digests(tmp_path):
    (tmp_path / "pileup.pt").write_bytes(b"weights")
    card = replace(CARD, digest={"pileup.pt": sha256_of(tmp_path / "pileup.pt"), "other.pt": "0" * 64})
    check_digest(tmp_path, card)
    (tmp_path / "pileup.pt").write_bytes(b"Weights")
    with pytest.raises(InputError, match=r"pileup\.pt: not the file of model lab\+model: .*remove the folder"):
        check_digest(tmp_path, card)


def test_before_a_run(tmp_path, caplog):
    assert check_for_calling(tmp_path, "ont") is None
    write_card(tmp_path, CARD)
    assert check_for_calling(tmp_path, "ont") == CARD and not caplog.records
    check_for_calling(tmp_path, "hifi")
    (warning,) = caplog.records
    message = "model lab+model was made for --platform=ont reads, and is used with --platform=hifi"
    assert (warning.levelname, warning.getMessage()) == ("WARNING", message)


def test_registry(shared_data):
    """It names the models of the published list, with their platforms, and no others."""
    published = {}
    for line in (shared_data.parent / "spec" / "published_models.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and cells[2] in PLATFORMS:
            published |= dict.fromkeys(
                cells[1].split(", "), (cells[2], "(ONT's model)" in cells[3] or "ONT's)" in cells[3])
            )
    found = {card.name: (card.platform, "rerio" in card.address) for card in read_registry().values()}
    assert found == published and len(found) == 18
    for card in read_registry().values():
        assert card.address.startswith("https://") and card.address.endswith(f"/{card.name}/")
        assert card.dwell == ("with_mv" in card.name)
        for basecaller in card.basecall_models:
            mode, _, version = basecaller.removeprefix("dna_r10.4.1_e8.2_400bps_").partition("@")
            assert card.name.startswith(f"r1041_e82_400bps_{mode}_{version.replace('.', '')}")
