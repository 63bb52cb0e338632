"""--model_path: a folder, a name, or auto; what is refused, and how; dwell-time models end to end."""

import json
import shutil
from array import array
from dataclasses import replace
from pathlib import Path

import pysam
import pytest

from clair3.cli import run as run_command
from clair3.cli.main import main as clair3
from clair3.errors import ConfigError, InputError
from clair3.io.atomic import sha256_of
from clair3.models import registry
from clair3.models.choose import (
    ReadGroup,
    choose_model,
    is_model_name,
    load_read_groups,
    parse_read_group,
    resolve_model,
)
from clair3.models.registry import (
    PATH_VARIABLE,
    ModelCard,
    find_installed,
    known_models,
    read_registry,
    search_path,
    write_card,
)

SUP, HAC, FAST = (f"dna_r10.4.1_e8.2_400bps_{mode}@v5.2.0" for mode in ("sup", "hac", "fast"))
BAM = Path("/data/reads.bam")
CARDS = read_registry()


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """An empty folder that is the whole search path."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr(registry, "search_path", lambda: [folder])
    return folder


@pytest.fixture
def install(models):
    """Make folders that look like models."""

    def make(*names, within=models):
        for name in names:
            (within / name).mkdir(parents=True)
            for file in ("pileup.pt", "full_alignment.pt"):
                (within / name / file).write_bytes(name.encode())

    return make


# Read groups


@pytest.mark.parametrize(
    "line, group",
    [
        ("@RG\tID:a", ReadGroup("a")),
        (f"@RG\tID:a\tPL:ONT\tDS:basecall_model={SUP} runid=1", ReadGroup("a", "ONT", None, SUP)),
        (f"@RG\tID:a\tDS:run_id=1 basecall_model={SUP}", ReadGroup("a", basecall_model=SUP)),
        (f"@RG\tID:a\tDS:basecall_model={SUP},modbase_models=x_{HAC}_5mC@v1", ReadGroup("a", basecall_model=SUP)),
        (f"@RG\tID:a\tDS:my_basecall_model={SUP}", ReadGroup("a")),
        ("@RG\tID:a\tDS:basecall_model=", ReadGroup("a")),
        (
            "@RG\tID:a\tPL:PACBIO\tDS:READTYPE=CCS;BINDINGKIT=1\tPM:REVIO\t",
            ReadGroup("a", "PACBIO", "REVIO", None, "CCS"),
        ),
        ("@RG\tID:a:b\tPL:illumina\tPM:Unknown", ReadGroup("a:b", "ILLUMINA", "UNKNOWN")),
        ("@RG\tID:\tPL:\tx", ReadGroup("")),
    ],
)
def test_read_group(line, group):
    assert parse_read_group(line) == group


def test_read_groups_of_real_files(shared_data):
    ont, hifi, ecoli = (
        set(load_read_groups(shared_data / "real" / name / "reads.bam"))
        for name in ("hg002_ont_r104_hac5_chr20_5.00M", "hg002_hifi_chr20_0.06M", "ecoli_ont_mg1655_0.16M")
    )
    assert ont == {ReadGroup("HG002", "ONT", None, "dna_r10.4.1_e8.2_400bps_hac@v5.0.0")}
    assert {(group.platform, group.read_type) for group in hifi} == {("PACBIO", "CCS")}
    assert {group.instrument for group in hifi} <= {"REVIO", "SEQUELII"}
    assert ecoli == {ReadGroup("MG1655", "ONT")}


@pytest.mark.parametrize("content", [b"", b"no reads", b"BAM\x01", b"CRAM\x03\x00"])
def test_damaged_files(tmp_path, content):
    (tmp_path / "x.bam").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.bam: "):
        load_read_groups(tmp_path / "x.bam")


# The choice


def ont(*basecallers):
    return [ReadGroup(f"r{number}", "ONT", None, name) for number, name in enumerate(basecallers)]


def hifi(*instruments):
    return [ReadGroup(f"r{number}", "PACBIO", name, None, "CCS") for number, name in enumerate(instruments)]


@pytest.mark.parametrize(
    "groups, platform, dwell, name",
    [
        (ont(SUP), "ont", False, "r1041_e82_400bps_sup_v520"),
        (ont(HAC), "ont", False, "r1041_e82_400bps_hac_v520"),
        (ont(HAC), "ont", True, "r1041_e82_400bps_hac_v520_with_mv"),
        (ont(SUP, SUP, SUP), "ont", False, "r1041_e82_400bps_sup_v520"),
        (ont(SUP.replace("5.2", "4.3")), "ont", False, "r1041_e82_400bps_sup_v430"),  # never the bacteria's
        ([ReadGroup("a", None, None, SUP), *ont(SUP)], "ont", False, "r1041_e82_400bps_sup_v520"),
        ([ReadGroup("a", "NANOPORE", None, SUP)], "ont", False, "r1041_e82_400bps_sup_v520"),
        (hifi("REVIO"), "hifi", False, "hifi_revio"),
        (hifi("SEQUELII", "SEQUELII"), "hifi", False, "hifi_sequel2"),
        ([ReadGroup("a", "ILLUMINA", "UNKNOWN")], "ilmn", False, "ilmn"),
    ],
)
def test_chosen(models, install, groups, platform, dwell, name):
    with pytest.raises(InputError) as error:
        choose_model(BAM, groups, platform, dwell, CARDS)
    assert f'is {name}, which is not on this machine; run "clair3 models fetch {name}"' in str(error.value)
    install(*CARDS)
    folder, reason = choose_model(BAM, groups, platform, dwell, CARDS)
    assert folder == models / name
    assert reason.startswith(f"{name} in {models}, because the read groups of reads.bam say ")


MANY = [f"r1041_e82_400bps_{mode}_v{version}" for mode in ("hac", "sup") for version in (410, 430, 500, 520)]


@pytest.mark.parametrize(
    "groups, platform, dwell, message, candidates",
    [
        ([], "ont", False, "no read groups (@RG) in its header", [*MANY, "r941_prom_sup_g5014"]),
        (ont(None), "ont", False, "read group r0 does not say its basecaller model (basecall_model= in DS)", MANY),
        (ont(SUP, None), "ont", False, "read group r1 does not say its basecaller model", MANY),
        (ont(*[None] * 5), "ont", False, "read group r0, r1, r2, ... does not say", MANY),
        (ont(FAST), "ont", False, f"no model is known for reads of {FAST}", MANY),
        (
            ont(SUP.replace("5.2", "5.0")),
            "ont",
            True,
            "no model with move tables is known for reads of dna_r10.4.1_e8.2_400bps_sup@v5.0.0",
            ["r1041_e82_400bps_hac_v520_with_mv"],
        ),
        (
            ont(SUP, HAC, SUP),
            "ont",
            False,
            f"made in 2 ways ({HAC}, {SUP}); call each kind by itself",
            ["r1041_e82_400bps_sup_v520", "r1041_e82_400bps_hac_v520"],
        ),
        (ont(SUP, FAST), "ont", False, "made in 2 ways", ["r1041_e82_400bps_sup_v520"]),
        (hifi("REVIO"), "ont", False, "read group r0 is of PL:PACBIO, which contradicts --platform=ont", MANY),
        (ont(SUP), "hifi", False, "PL:ONT, which contradicts --platform=hifi", ["hifi_revio, hifi_sequel2"]),
        (hifi(None), "hifi", False, "does not say its instrument (PM, with PL:PACBIO)", ["hifi_revio, hifi_sequel2"]),
        (hifi("SEQUEL"), "hifi", False, "no model is known for reads of SEQUEL", ["hifi_revio, hifi_sequel2"]),
        (hifi("REVIO", "SEQUELII"), "hifi", False, "made in 2 ways", ["hifi_revio, hifi_sequel2"]),
        (
            [replace(hifi("REVIO")[0], read_type="SUBREAD")],
            "hifi",
            False,
            "read group r0 has SUBREAD reads, and the models are for CCS",
            ["hifi_revio, hifi_sequel2"],
        ),
        (hifi("REVIO"), "hifi", True, "no model with move tables is known for reads of REVIO", ["none is registered"]),
        ([ReadGroup("a")], "ilmn", False, "does not say its platform (PL:ILLUMINA)", ["ilmn"]),
    ],
)
def test_refused_rather_than_guessed(install, groups, platform, dwell, message, candidates):
    install(*CARDS)
    with pytest.raises(InputError) as error:
        choose_model(BAM, groups, platform, dwell, CARDS)
    told, _, named = str(error.value).partition("; give a model by name or folder instead: ")
    assert told.startswith(f"--model_path=auto: {BAM}: ") and message in told
    assert all(name in named for name in candidates) and "bacteria" not in named and "\n" not in named


def test_models_of_the_package_stand_back(models, install, monkeypatch):
    """A model that was fetched for these reads comes before the one that was there from the start."""
    bundled = models.parent / "bundled"
    monkeypatch.setattr("clair3.models.choose.BUNDLED", bundled)
    monkeypatch.setattr(registry, "search_path", lambda: [models, bundled])
    cards = CARDS | {"ours": ModelCard("ours", "ont", basecall_models=(SUP,), origin="bundled")}
    install("ours", within=bundled)
    folder, reason = choose_model(BAM, ont(SUP), "ont", False, cards)
    assert folder == bundled / "ours"
    assert reason.endswith("; not on this machine, and for such reads too: r1041_e82_400bps_sup_v520")
    install("r1041_e82_400bps_sup_v520")
    assert choose_model(BAM, ont(SUP), "ont", False, cards)[0] == models / "r1041_e82_400bps_sup_v520"


def test_two_models_that_fit(install):
    cards = CARDS | {"ours": ModelCard("ours", "ont", basecall_models=(SUP,))}
    install("ours", "r1041_e82_400bps_sup_v520")
    with pytest.raises(InputError, match=r"2 models here fit reads of .*instead: r1041_e82_400bps_sup_v520, ours$"):
        choose_model(BAM, ont(SUP), "ont", False, cards)


# Where models lie


def test_search_path(tmp_path, monkeypatch):
    for name in (PATH_VARIABLE, "XDG_CACHE_HOME", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    last = [Path("/opt/models"), registry.BUNDLED]
    assert search_path() == [tmp_path / ".cache" / "clair3" / "models", *last]
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the convention
    assert search_path() == [tmp_path / ".cache" / "clair3" / "models", *last]
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast")
    monkeypatch.setenv("CONDA_PREFIX", "/env")
    assert search_path() == [Path("/fast/clair3/models"), last[0], Path("/env/bin/models"), last[1]]
    monkeypatch.setenv(PATH_VARIABLE, f"{tmp_path}/a::{tmp_path}/b")
    assert search_path()[:3] == [tmp_path / "a", tmp_path / "b", last[0]]


def test_no_home(monkeypatch):
    """A container may run under a number that no user has."""
    for name in (PATH_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "~")
    with pytest.raises(ConfigError, match="no home folder is known here; set CLAIR3_MODELS"):
        search_path()


def test_models_without_registration(models, install, caplog):
    """A folder in the search path with a card is a model like the others; a broken card is told and left out."""
    install("lab", "silent", "broken", "hifi_revio", ".hidden.part")
    for name, described in (("lab", "another"), ("hifi_revio", "hifi_revio"), (".hidden.part", "hidden")):
        write_card(models / name, ModelCard(described, "ont", basecall_models=(FAST,)))
    (models / "broken" / "model.json").write_text("{")
    cards = known_models()
    assert list(cards) == [*CARDS, "lab"]
    assert cards["hifi_revio"] == CARDS["hifi_revio"]
    assert choose_model(BAM, ont(FAST), "ont", False, cards)[0] == models / "lab"
    (warning,) = caplog.records
    assert "broken/model.json: not JSON" in warning.getMessage()
    assert resolve_model("silent", BAM, "ont", False) == models / "silent"


def test_names_and_folders(models, install, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    install("hifi_revio")
    assert is_model_name("auto") and is_model_name("hifi_revio") and is_model_name("ilmn")
    assert not any(map(is_model_name, ("./auto", "other", "models/hifi_revio", "..")))
    assert resolve_model("hifi_revio", BAM, "hifi", False) == models / "hifi_revio"
    (tmp_path / "hifi_revio").mkdir()  # a folder comes first, as it always did
    assert resolve_model("hifi_revio", BAM, "hifi", False) == tmp_path / "hifi_revio"
    with pytest.raises(InputError, match='model ilmn is not on this machine; run "clair3 models fetch ilmn"'):
        resolve_model("ilmn", BAM, "ilmn", False)
    with pytest.raises(InputError, match=f'^Model path not found: {tmp_path}/other; "clair3 models list" names'):
        resolve_model("other", BAM, "ont", False)
    with pytest.raises(InputError, match=f"^Model path not found: {tmp_path}/no/such$"):
        resolve_model("no/such", BAM, "ont", False)
    (models / "folder" / "pileup.pt").mkdir(parents=True)
    assert find_installed("folder") is None


def test_names_need_no_absolute_path(monkeypatch):
    """In the containers' own folder a relative path is a mistake (spec/cli.md 3.1); a name is none."""
    monkeypatch.setattr(run_command.os, "getcwd", lambda: run_command.CONTAINER_FOLDER)
    given = dict.fromkeys(("bam_fn", "ref_fn", "output", "bed_fn", "vcf_fn"))
    for name in ("auto", "hifi_revio", "/models/x"):
        run_command.require_absolute(run_command.argparse.Namespace(**given, model_path=name))
    with pytest.raises(ConfigError, match="Require to use absolute file path --model_path=FILE"):
        run_command.require_absolute(run_command.argparse.Namespace(**given, model_path="models/x"))


# The whole program


def with_header(source: Path, target: Path, group: dict, moves: bool = False) -> None:
    """Copy a BAM with this read group in its header, perhaps with move tables, and index it."""
    with pysam.AlignmentFile(str(source)) as reads:
        header = reads.header.to_dict() | {"RG": [group]}
        with pysam.AlignmentFile(str(target), "wb", header=header) as out:
            for read in reads:
                copied = pysam.AlignedSegment.from_dict(read.to_dict(), out.header)
                if moves:
                    copied.set_tag("mv", array("b", [5, *[1] * copied.query_length]))
                out.write(copied)
    pysam.index(str(target))


@pytest.fixture
def run(sample, tmp_path, capfd):
    """`clair3 run` on the sample; exit code and what it printed to stderr."""

    def start(*more, bam=sample / "reads.bam", model=sample / "model"):
        words = [f"--bam_fn={bam}", f"--ref_fn={sample / 'ref.fa'}", f"--model_path={model}", "--threads=2"]
        try:
            clair3(["run", *words, f"--output={tmp_path / 'out'}", "--platform=ont", "--ctg_name=chr21", *more])
            code = 0
        except SystemExit as stop:
            code = stop.code
        lines = capfd.readouterr().err.splitlines()
        assert code == 0 or sum(line.startswith("[ERROR] ") for line in lines) == 1
        assert (code == 0) == any((tmp_path / "out").glob("*.vcf.gz"))
        return code, lines

    return start


def test_auto_from_end_to_end(run, models, sample, tmp_path):
    with_header(
        sample / "reads.bam", bam := tmp_path / "x.bam", {"ID": "a", "PL": "ONT", "DS": f"basecall_model={SUP}"}
    )
    code, lines = run("--pileup_only", bam=bam, model="auto")
    assert code == 1 and 'run "clair3 models fetch r1041_e82_400bps_sup_v520"' in lines[-1]
    shutil.copytree(sample / "model", models / "r1041_e82_400bps_sup_v520")
    code, lines = run("--pileup_only", bam=bam, model="auto")
    assert code == 0
    told = f"r1041_e82_400bps_sup_v520 in {models}, because the read groups of x.bam say {SUP}"
    assert f"[INFO] --model_path=auto: {told}" in lines
    log = (tmp_path / "out" / "run_clair3.log").read_text().splitlines()
    assert f"[INFO] --model_path=auto: {told}" in log
    assert f"[INFO] MODEL PATH: {models / 'r1041_e82_400bps_sup_v520'}" in log


def test_auto_without_a_basecaller_in_the_header(run):
    code, lines = run("--pileup_only", model="auto")
    assert code == 1 and "[ERROR] --model_path=auto: " in lines[-1] and "reads.bam: " in lines[-1]


def test_move_table_name_is_known_before_anything_is_read(run, models, sample):
    """A name resolved to a folder goes through the checks that a folder goes through (spec/cli.md 3.14)."""
    shutil.copytree(sample / "model", models / "r1041_e82_400bps_sup_v520_with_mv")
    code, lines = run(model="r1041_e82_400bps_sup_v520_with_mv")
    assert code == 1 and "it needs --platform=ont and --enable_dwell_time" in lines[-1]


def test_card_of_another_platform_is_a_warning(run, sample, tmp_path):
    shutil.copytree(sample / "model", tmp_path / "m")
    write_card(tmp_path / "m", ModelCard("m", "hifi"))
    code, lines = run("--pileup_only", model=tmp_path / "m")
    assert code == 0
    (warning,) = [line for line in lines if line.startswith("[WARNING]")]
    assert "model m was made for --platform=hifi reads, and is used with --platform=ont" in warning


def test_file_that_is_not_the_card_s(run, sample, tmp_path):
    folder = shutil.copytree(sample / "model", tmp_path / "m")
    write_card(folder, ModelCard("m", "ont", digest={"pileup.pt": sha256_of(folder / "pileup.pt")}))
    assert run("--pileup_only", model=folder)[0] == 0
    shutil.rmtree(tmp_path / "out")
    card = json.loads((folder / "model.json").read_text())
    card["digest"]["full_alignment.pt"] = "0" * 64
    (folder / "model.json").write_text(json.dumps(card))
    code, lines = run("--pileup_only", model=folder)
    assert code == 1 and "full_alignment.pt: not the file of model m" in lines[-1]


@pytest.mark.parametrize(
    "model, moves, words, message",
    [
        ("ont_dwell", True, [], "full_alignment.pt: trained with dwell time (9 channels); add --enable_dwell_time"),
        ("ont_dwell", False, ["--enable_dwell_time"], "Dwell time is enabled but no valid 'mv' tag was found"),
        ("ont_sim", True, ["--enable_dwell_time"], "without dwell time (8 channels); leave out --enable_dwell_time"),
    ],
)
def test_dwell_time_that_does_not_fit(run, shared_data, sample, tmp_path, model, moves, words, message):
    """A network of nine channels, the option and the reads' move tables: all three or none."""
    with_header(sample / "reads.bam", bam := tmp_path / "x.bam", {"ID": "a"}, moves)
    code, lines = run(*words, bam=bam, model=shared_data / "models" / model)
    assert code == 1 and message in lines[-1] and lines[-1].startswith("[ERROR]")
