"""The options of run_clair3: defaults, switches, checks in order, what this version refuses."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_genome import write_fasta, write_reads

from clair3.calling.banner import iter_banner
from clair3.cli import arguments
from clair3.cli import run as run_command
from clair3.cli.run import config_from
from clair3.config import CallingConfig, CandidateOptions, ReadFeatureOptions
from clair3.errors import ConfigError
from clair3.util import log, process


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """Values of the required options; every machine has eight processors here."""
    monkeypatch.setattr(process, "cpu_count", lambda: 8)
    monkeypatch.setattr(process, "process_limit", lambda: None)
    (tmp_path / "model").mkdir()
    return {
        "bam_fn": write_reads(tmp_path / "x.bam", [("chr1", 10)]),
        "ref_fn": write_fasta(tmp_path / "ref.fa"),
        "model_path": tmp_path / "model",
        "threads": 2,
        "platform": "ont",
        "output": tmp_path / "out/put",
        "pileup_only": "yes",
    }


def words(paths, *more):
    """The command line: the required options, changed or left out (None) by the pairs name=value in more."""
    values = dict(paths)
    extra = []
    for word in more:
        name, equals, value = word.removeprefix("--").partition("=")
        if name in values and equals:
            values[name] = value
        elif name in values:
            del values[name]
        else:
            extra.append(word)
    return [f"--{name}={value}" for name, value in values.items()] + extra


def configured(paths, *more):
    room = SimpleNamespace(add_arguments=run_command.add_arguments)
    args = arguments.make_parser(room, "test").parse_args(words(paths, *more))
    args.command_line = "run"
    return config_from(args)


def refused(paths, capsys, code, message, *more):
    """The whole command: exit code, and one line on stderr that holds the message."""
    room = SimpleNamespace(add_arguments=run_command.add_arguments, run=config_from)
    with pytest.raises(SystemExit) as stop:
        arguments.run(room, "test", words(paths, *more))
    assert stop.value.code == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("[ERROR]")]
    assert len(errors) == 1 and message in errors[0]


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


# What is declared


def test_defaults(paths, tmp_path, caplog):
    assert configured(paths) == CallingConfig(
        bam=paths["bam_fn"],
        reference=paths["ref_fn"],
        model_dir=paths["model_path"],
        threads=2,
        platform="ont",
        output=tmp_path / "out/put",
        pileup_only=True,
        candidates=CandidateOptions(5, 2, 0.08, 0.15, False, False, 50),
        command_line="run",
    )
    assert warnings(caplog) == []
    assert (tmp_path / "out/put").is_dir()


DECLARED = {
    "bed_fn": None, "vcf_fn": None, "ctg_name": None, "sample_name": "SAMPLE", "qual": 2, "chunk_size": 5000000,
    "chunk_num": 0, "pileup_only": False, "print_ref_calls": False, "include_all_ctgs": False, "gvcf": False,
    "remove_intermediate_dir": False, "use_gpu": False, "device": None, "enable_dwell_time": False,
    "use_whatshap_for_intermediate_phasing": True, "use_longphase_for_intermediate_phasing": False,
    "longphase_for_phasing": False, "use_whatshap_for_final_output_phasing": False, "enable_phasing": False,
    "use_longphase_for_final_output_phasing": False, "use_whatshap_for_final_output_haplotagging": False,
    "no_phasing_for_fa": False, "samtools": None, "python": None, "pypy": None, "parallel": None, "whatshap": None,
    "longphase": None, "snp_min_af": 0, "indel_min_af": 0, "var_pct_full": 0, "ref_pct_full": 0, "var_pct_phasing": 0,
    "pileup_model_prefix": "pileup", "fa_model_prefix": "full_alignment", "min_mq": 5, "min_coverage": 2,
    "min_contig_size": 0, "fast_mode": False, "haploid_precise": False, "haploid_sensitive": False,
    "call_snp_only": False, "enable_long_indel": False, "keep_iupac_bases": False, "base_err": 0.001,
    "gq_bin_size": 5, "enable_variant_calling_at_sequence_head_and_tail": False,
    "output_all_contigs_in_gvcf_header": False, "disable_c_impl": False,
}  # fmt: skip
"""Every option of spec/cli.md 2 with its default; None is EMPTY there."""


def test_every_option_is_declared_with_its_default():
    room = SimpleNamespace(add_arguments=run_command.add_arguments)
    args = vars(arguments.make_parser(room, "").parse_args(["-bb", "-ff", "-mm", "-t3", "-phifi", "-oo"]))
    required = {"bam_fn": "b", "ref_fn": "f", "model_path": "m", "threads": 3, "platform": "hifi", "output": "o"}
    ours = {"resume": False, "precision": None, "amp": False, "torch_num_threads": 1, "conv_padding": "auto"}
    ours |= {"allow_unphased_contigs": False, "keep_ref_case": False}
    assert args == DECLARED | required | ours


def test_version_and_help(capsys):
    room = SimpleNamespace(add_arguments=run_command.add_arguments)
    for flag, text in (("-v", "Clair3 v2.0.2\n"), ("--help", "candidate sites")):
        with pytest.raises(SystemExit) as stop:
            arguments.run(room, "test", [flag])
        assert stop.value.code == 0
        assert text in capsys.readouterr().out


@pytest.mark.parametrize("more", [["--platform=pacbio"], ["--bam_fn"], ["--threads=two"], ["--qual=1.5"], ["--use_wh"]])
def test_usage_errors(paths, capsys, more):
    room = SimpleNamespace(add_arguments=run_command.add_arguments, run=config_from)
    with pytest.raises(SystemExit) as stop:
        arguments.run(room, "test", words(paths, *more))
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


# Phasing


@pytest.mark.parametrize(
    "words, intermediate, final, haplotag",
    [
        ([], "whatshap", None, False),
        (["--use_whatshap_for_final_output_phasing"], "whatshap", "whatshap", False),
        (["--enable_phasing"], "whatshap", "whatshap", False),
        (["--use_whatshap_for_final_output_haplotagging"], "whatshap", "whatshap", True),
        (["--use_longphase_for_intermediate_phasing", "--longphase=true"], "longphase", None, False),
        (["--longphase_for_phasing", "--longphase=true"], "longphase", None, False),
        (["--use_longphase_for_final_output_phasing", "--longphase=true"], "whatshap", "longphase", False),
        (
            [
                "--use_longphase_for_final_output_phasing",
                "--longphase=true",
                "--use_whatshap_for_final_output_haplotagging",
            ],
            "whatshap",
            "longphase",
            True,
        ),
        (
            ["--use_longphase_for_final_output_phasing", "--longphase=true", "--enable_phasing"],
            "whatshap",
            "whatshap",
            False,
        ),
    ],
)
def test_phasing_programs(paths, words, intermediate, final, haplotag):  # spec/cli.md 2.3
    config = configured(paths, *words)
    assert (config.phaser, config.final_phaser, config.haplotag) == (intermediate, final, haplotag)


def test_short_reads_are_phased_by_whatshap(paths, caplog):
    """LongPhase is for long reads, before and after calling (spec/cli.md 3.4, spec/calling.md C10)."""
    asked = ("--use_longphase_for_intermediate_phasing", "--use_longphase_for_final_output_phasing", "--longphase=/no")
    config = configured(paths, "--platform=ilmn", *asked)
    assert (config.phaser, config.final_phaser) == ("whatshap", "whatshap")
    assert "Illumina platform do not support longphase phasing, will enable whatshap phasing!" in warnings(caplog)


@pytest.mark.parametrize(
    "words, tags", [((), False), (("--no_phasing_for_fa",), True), (("--no_phasing_for_fa", "--platform=ont"), False)]
)
def test_short_reads_without_phasing_keep_their_haplotypes(paths, words, tags):
    """Those that HP tags give them, as v2.0.2 takes them (spec/features.md 0)."""
    config = configured(paths, "--platform=ilmn", *words)
    assert config.rows == ReadFeatureOptions(89 if "--platform=ont" in words else 55, haplotype_tags=tags)


def test_longphase_that_is_not_there(paths, capsys):
    refused(
        paths, capsys, 1, "expected the name or path of an executable", "--longphase_for_phasing", "--longphase=/no"
    )


@pytest.mark.parametrize(
    "words, shares",
    [
        ([], (0.7, 0.1, 0.7)),
        (["--platform=hifi"], (0.3, 0.3, 0.7)),
        (["--platform=ilmn"], (0.3, 0.3, 0.7)),
        (["--var_pct_full=1", "--ref_pct_full=0.3", "--var_pct_phasing=0.9"], (1.0, 0.3, 0.9)),
        (["--no_phasing_for_fa"], (0.7, 0.1, None)),
    ],
)
def test_selection_rule(paths, words, shares):
    rule = configured(paths, *words).selection
    assert (rule.var_pct_full, rule.ref_pct_full, rule.var_pct_phasing) == shares


@pytest.mark.parametrize(
    "words, warned", [([], False), (["--var_pct_phasing=0.8"], False), (["--var_pct_phasing=0.5"], True)]
)
def test_three_models_are_phased_with_more_snps(paths, tmp_path, caplog, words, warned):
    """As in v2.0.2, over a value of the user, who is told (spec/cli.md 2.5, 9.4)."""
    for name in ("r941_prom_sup_g5014", "r941_prom_hac_g5014", "ont_guppy5"):
        caplog.clear()
        (tmp_path / name).symlink_to(paths["model_path"])
        found = configured(paths | {"model_path": tmp_path / name}, *words)
        assert found.selection.var_pct_phasing == 0.8
        assert warnings(caplog) == [f"model {name}: --var_pct_phasing is 0.8, whatever is given"] * warned
    assert configured(paths, *words).selection.var_pct_phasing == (float(words[0][-3:]) if words else 0.7)


@pytest.mark.parametrize(
    "word",
    [
        *["--use_whatshap_for_intermediate_phasing=no", "--device=cpu", "--chunk_num=-1"],
        *[f"--{tool}=/opt/{tool}" for tool in ("samtools", "python", "pypy", "parallel")],
        *["--longphase=EMPTY", "--bed_fn=EMPTY", "--use_gpu=0"],
    ],
)
def test_options_without_effect_here_are_accepted(paths, word, caplog):
    assert configured(paths, word) == configured(paths)
    assert warnings(caplog) == []


# Values


@pytest.mark.parametrize(
    "word, field, value",
    [
        ("--ctg_name=chr2,chr1,,chr2", "ctg_names", ("chr2", "chr1")),
        ("--sample_name=HG 002", "sample_name", "HG 002"),
        ("--qual=0", "qual", 0),
        ("--chunk_size=1000", "chunk_size", 1000),
        ("--min_contig_size=7", "min_contig_size", 7),
        ("--haploid_precise", "haploid", "precise"),
        ("--haploid_sensitive", "haploid", "sensitive"),
        ("--include_all_ctgs", "include_all_ctgs", True),
        ("--print_ref_calls", "print_ref_calls", True),
        ("--gvcf", "gvcf", True),
        ("--keep_iupac_bases", "keep_iupac_bases", True),
        ("--keep_ref_case", "keep_ref_case", True),
        ("--remove_intermediate_dir", "remove_intermediate_dir", True),
        ("--pileup_model_prefix=p", "pileup_model_prefix", "p"),
        ("--fa_model_prefix=f", "fa_model_prefix", "f"),
        ("--threads=8", "threads", 8),
    ],
)
def test_values(paths, word, field, value):
    assert getattr(configured(paths, word), field) == value


@pytest.mark.parametrize(
    "more, expected",
    [
        (["--platform=hifi"], {"indel_min_af": 0.08}),
        (["--snp_min_af=0.2", "--indel_min_af=1"], {"snp_min_af": 0.2, "indel_min_af": 1.0}),
        (["--min_mq=20", "--min_coverage=6"], {"min_mapq": 20, "min_coverage": 6}),
        (["--call_snp_only"], {"snp_only": True}),
        (["--enable_variant_calling_at_sequence_head_and_tail"], {"head_and_tail": True}),
        (["--enable_long_indel"], {"max_indel_length": 100_000}),
        (["--fast_mode"], {"snp_min_af": 0.15, "min_coverage": 4}),
        (["--fast_mode", "--snp_min_af=0.3", "--min_coverage=9"], {"snp_min_af": 0.3, "min_coverage": 9}),
    ],
)
def test_candidate_rule(paths, more, expected):
    assert configured(paths, *more).candidates == CandidateOptions(**expected)


def test_known_sites_force_the_fractions_to_0(paths, tmp_path, caplog):
    (tmp_path / "x.vcf").write_text("")
    sites = f"--vcf_fn={tmp_path / 'x.vcf'}"
    assert configured(paths, sites).sites == tmp_path / "x.vcf"
    assert configured(paths, sites).candidates == CandidateOptions(snp_min_af=0, indel_min_af=0)
    assert configured(paths, sites, "--fast_mode").candidates.snp_min_af == 0.15
    assert warnings(caplog) == []
    assert configured(paths, sites, "--snp_min_af=0.3").candidates.snp_min_af == 0
    assert "--snp_min_af and --indel_min_af are not used" in warnings(caplog)[0]


@pytest.mark.parametrize(
    "word, get, value, warning",
    [
        ("--min_mq=3", lambda c: c.candidates.min_mapq, 5, "Invalid minimum mapping quality input --min_mq>=5"),
        (
            "--min_coverage=0",
            lambda c: c.candidates.min_coverage,
            2,
            "Invalid minimum coverage input --min_coverage>=2",
        ),
        (
            "--min_contig_size=-1",
            lambda c: c.min_contig_size,
            0,
            "Invalid minimum contig size input --min_contig_size>=0",
        ),
        ("--gq_bin_size=0", lambda c: c.qual, 2, "Invalid minimum gq bin size input --gq_bin_size>=1"),
        ("--chunk_num=3", lambda c: c.chunk_size, 5_000_000, "--chunk_num=3 has no effect"),
        ("--ref_pct_full=0.5", lambda c: c.qual, 2, "For efficiency, we use a maximum 30% reference candidates"),
        ("--threads=9", lambda c: c.threads, 8, "--threads=9 is more than the processors"),
    ],
)
def test_warnings(paths, word, get, value, warning, caplog):
    assert get(configured(paths, word)) == value
    assert len(warnings(caplog)) == 1 and warnings(caplog)[0].startswith(warning)


def test_fast_mode_is_for_ont(paths, caplog):
    assert configured(paths, "--platform=hifi", "--fast_mode").candidates == CandidateOptions(indel_min_af=0.08)
    assert warnings(caplog) == ["--fast_mode has no effect with --platform=hifi"]


@pytest.mark.parametrize(
    "word, message",
    [
        ("--threads=0", "Invalid threads input --threads=0"),
        ("--qual=-1", "parameter --qual=-1 (minimum:0) out of range"),
        ("--var_pct_full=1.5", "parameter --var_pct_full=1.5 (maximum:1) out of range"),
        ("--ref_pct_full=-0.5", "parameter --ref_pct_full=-0.5 (minimum:0) out of range"),
        ("--var_pct_phasing=2", "parameter --var_pct_phasing=2.0 (maximum:1) out of range"),
        ("--snp_min_af=nan", "parameter --snp_min_af=nan (minimum:0) out of range"),
        ("--indel_min_af=1.01", "parameter --indel_min_af=1.01 (maximum:1) out of range"),
        ("--chunk_size=0", "parameter --chunk_size=0 (minimum:1) out of range"),
        ("--chunk_num=-2", "parameter --chunk_num=-2 (minimum:-1) out of range"),
        ("--base_err=0", "--base_err is 0.0; expected an error rate above 0 and below 1"),
        ("--sample_name=a\tb", "--sample_name='a\\tb': expected a name without tabs"),
        ("--sample_name=a\x07b", "--sample_name='a\\x07b': expected a name without tabs"),
        ("--sample_name=a\udcffb", "--sample_name='a\\udcffb': expected a name without tabs"),
        ("--ctg_name=,", "--ctg_name=,: expected names of contigs"),
        ("--pileup_model_prefix=p_with_MV", "it needs --platform=ont and --enable_dwell_time"),
    ],
)
def test_values_that_are_refused(paths, capsys, word, message):
    refused(paths, capsys, 1, message, word)


def test_both_haploid_modes_are_refused(paths, capsys):
    message = "Please provide either --haploid_precise or --haploid_sensitive only"
    refused(paths, capsys, 1, message, "--haploid_precise", "--haploid_sensitive")


def test_bed_and_sites_are_refused(paths, tmp_path, capsys):
    (tmp_path / "x").write_text("")
    message = "Please provide either --vcf_fn or --bed_fn only"
    refused(paths, capsys, 1, message, f"--bed_fn={tmp_path / 'x'}", f"--vcf_fn={tmp_path / 'x'}")


# Files


@pytest.mark.parametrize(
    "word, message",
    [
        ("--bam_fn=/none/x.bam", "BAM file /none/x.bam not found"),
        ("--ref_fn=/none/ref.fa", "Reference file /none/ref.fa not found"),
        ("--bed_fn=/none/x.bed", "BED file /none/x.bed provides but not found"),
        ("--vcf_fn=/none/x.vcf", "VCF file /none/x.vcf provides but not found"),
        ("--model_path=/none/model", "Model path not found: /none/model"),
        ("--output=/dev/null/out", "/dev/null/out: cannot write into this output folder, Not a directory"),
        ("--output=/proc/out", "/proc/out: cannot write into this output folder"),
    ],
)
def test_files_that_are_missing(paths, capsys, word, message):
    refused(paths, capsys, 1, message, word)


def test_missing_indices(paths, tmp_path, capsys):
    (tmp_path / "ref.fa.fai").unlink()
    refused(paths, capsys, 1, "Reference index fai file not found, please use 'samtools faidx")
    (tmp_path / "x.bam.bai").unlink()
    refused(paths, capsys, 1, "BAM index file not found, please use 'samtools index")
    (tmp_path / "x.bam").write_text("@HD\tVN:1.6\n")  # which samtools does not index
    refused(paths, capsys, 1, "not a BAM or CRAM file; of SAM text")
    assert (tmp_path / "out/put").is_dir()  # made before the checks, as in v2.0.2


def test_output_that_is_a_file(paths, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    refused(
        paths, capsys, 1, "file: cannot write into this output folder, File exists", f"--output={tmp_path / 'file'}"
    )


def test_model_with_move_tables(paths, tmp_path, capsys):
    (tmp_path / "m_With_Move").mkdir()
    message = "model m_With_Move is for reads with move tables: it needs --platform=ont and --enable_dwell_time"
    refused(paths, capsys, 1, message, f"--model_path={tmp_path / 'm_With_Move'}")


def test_relative_paths(paths, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    config = configured(paths, "--bam_fn=x.bam", "--ref_fn=ref.fa", "--model_path=model", "--output=here")
    assert (config.bam, config.reference) == (paths["bam_fn"], paths["ref_fn"])
    assert (config.model_dir, config.output) == (tmp_path / "model", tmp_path / "here")
    assert warnings(caplog) == ["No absolute output path provided, using current directory as prefix"]


@pytest.mark.parametrize("name", ["bam_fn", "ref_fn", "model_path", "output", "bed_fn", "vcf_fn"])
def test_containers_need_absolute_paths(paths, monkeypatch, capsys, name):
    monkeypatch.setattr(os, "getcwd", lambda: "/opt/bin")
    refused(paths, capsys, 1, f"Require to use absolute file path --{name}=FILE", f"--{name}=x")


# The configuration


def test_config_is_checked_where_it_is_made():
    required = {
        "bam": Path("b"),
        "reference": Path("f"),
        "model_dir": Path("m"),
        "threads": 1,
        "platform": "ont",
        "output": Path("o"),
    }
    CallingConfig(**required)
    for wrong in ({"qual": -1}, {"haploid": "both"}, {"chunk_size": 0}, {"sample_name": ""}):
        with pytest.raises(ConfigError):
            CallingConfig(**required, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"min_mapq": -1}, {"min_coverage": -1}, {"snp_min_af": 1.1}, {"indel_min_af": -0.1}, {"max_indel_length": 0}],
)
def test_candidate_rule_is_checked_where_it_is_made(wrong):
    with pytest.raises(ConfigError, match="out of range"):
        CandidateOptions(**wrong)


def test_banner(paths):
    lines = list(iter_banner(configured(paths, "--ctg_name=chr1,chr2")))
    assert "CLAIR3 VERSION: v2.0.2" in lines
    assert f"BAM FILE PATH: {paths['bam_fn']}" in lines
    assert "CONTIGS: chr1,chr2" in lines and "BED FILE PATH: EMPTY" in lines
    assert "INDEL AF THRESHOLD: 0.15" in lines
    assert "ENABLE FILEUP ONLY CALLING: True" in lines


def test_banner_has_every_line_of_the_specification(paths):
    """spec/cli.md 3; the paths of tools that are not used are left out, and CHUNK NUM, which a warning is about."""
    names = [line.partition(":")[0] for line in iter_banner(configured(paths, "--min_contig_size=7"))]
    assert [name for name in names if not name.startswith("ENABLE ")] == [
        *("CLAIR3 VERSION", "BAM FILE PATH", "REFERENCE FILE PATH", "MODEL PATH", "OUTPUT FOLDER", "PLATFORM"),
        *("THREADS", "BED FILE PATH", "VCF FILE PATH", "CONTIGS", "CONDA PREFIX", "WHATSHAP PATH", "LONGPHASE PATH"),
        *("CHUNK SIZE", "MIN CONTIG SIZE", "FULL ALIGN PROPORTION", "FULL ALIGN REFERENCE PROPORTION"),
        *("PHASING PROPORTION", "MINIMUM MQ", "MINIMUM COVERAGE", "SNP AF THRESHOLD", "INDEL AF THRESHOLD"),
        *("BASE ERROR IN GVCF", "GQ BIN SIZE IN GVCF"),
    ]
    usual = configured(paths, "--no_phasing_for_fa", "--pileup_only=no")
    usual = dict(line.split(": ", 1) for line in iter_banner(usual))
    assert "MIN CONTIG SIZE" not in usual
    assert usual["FULL ALIGN PROPORTION"] == "0.7" and usual["FULL ALIGN REFERENCE PROPORTION"] == "0.1"
    assert usual["PHASING PROPORTION"] == "EMPTY" and usual["ENABLE PHASING FOR FULL ALIGNMENT"] == "False"


@pytest.mark.parametrize(
    "option, warning",
    [
        ("--disable_c_impl", "--disable_c_impl has no effect: the records are those of the compiled path"),
        ("--qual=110", "--qual=110: no call has a QUAL above 110, so all will be LowQual"),
        (
            "--include_all_ctgs",
            "--include_all_ctgs: for organisms that are not diploid, --no_phasing_for_fa is recommended",
        ),
    ],
)
def test_advice(paths, caplog, option, warning):
    configured(paths, option, "--pileup_only=no")
    assert warning in caplog.messages
    caplog.clear()
    configured(paths, "--no_phasing_for_fa", "--include_all_ctgs", "--qual=109")
    assert not [message for message in caplog.messages if message.startswith(("--include", "--qual"))]


def test_no_help_text_is_of_an_earlier_version():
    """Every option works."""
    parser = arguments.make_parser(run_command, "")
    texts = {action.dest: action.help for action in parser._actions}
    assert [name for name, text in texts.items() if "not in this version" in text] == []
    told = {name for name, text in texts.items() if text.startswith("no effect")}
    assert told == {
        *("chunk_num", "disable_c_impl", "use_whatshap_for_intermediate_phasing"),
        *("samtools", "python", "pypy", "parallel"),
    }


def test_a_refusal_is_in_the_log(paths):
    """From the moment the output folder exists."""
    with pytest.raises(SystemExit):
        arguments.run(run_command, "", [*words(paths, "--min_mq=256")])
    log.setup()
    lines = (paths["output"] / "run_clair3.log").read_text().splitlines()
    assert lines[-1] == "[ERROR] parameter --min_mq=256 (maximum:255) out of range"


def test_a_deleted_current_folder(paths, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match="the current folder was deleted; change to another one"):
        configured(paths)
