"""The converter's command line: what it takes, what it refuses, what it writes; and runs on TensorFlow files."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import program
import pysam
import pytest
import tf_writer
import torch

from clair3.calling.stages import load_full_alignment_network
from clair3.cli.arguments import make_parser
from clair3.cli.main import main as clair3
from clair3.inference.checkpoint import load_model, read_checkpoint
from clair3.legacy import call_chunk
from clair3.model import random_model
from clair3.version import VERSION
from scripts.convert_tf_checkpoint_to_torch import convert_tf

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model folder of v1: pileup.* of two heads, full_alignment/ (a SavedModel) of four heads."""
    folder = tmp_path_factory.mktemp("v1")
    tf_writer.write_checkpoint(folder / "pileup", tf_writer.keras_variables(random_model("pileup", 1)))
    variables = tf_writer.keras_variables(random_model("full_alignment", 1))
    tf_writer.write_checkpoint(folder / "full_alignment/variables/variables", variables, numbered=True, shards=2)
    return folder


@pytest.fixture(scope="module")
def dwell(tmp_path_factory) -> Path:
    """The prefix of a network of nine channels and two heads."""
    prefix = tmp_path_factory.mktemp("dwell") / "f"
    tf_writer.write_checkpoint(
        prefix, tf_writer.keras_variables(random_model("full_alignment", 2, channels=9, heads=2))
    )
    return prefix


def convert(*options) -> int:
    """The exit code of the converter."""
    try:
        clair3(["convert_tf", *map(str, options)])
    except SystemExit as stop:
        return stop.code
    return 0


def refused(capsys, code, words, *options):
    assert convert(*options) == code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "[ERROR]" in line]
    assert words in line


def test_a_folder(folder, tmp_path):
    options = "--platform=hifi", "--fa-add-indel-length", "--pileup-add-indel-length=no", "--enable-dwell-time=no"
    assert convert("--checkpoint-dir", folder, "--output-dir", tmp_path / "new" / "hifi", *options) == 0
    assert sorted(path.name for path in (tmp_path / "new" / "hifi").iterdir()) == ["full_alignment.pt", "pileup.pt"]
    state, meta = read_checkpoint(tmp_path / "new" / "hifi" / "full_alignment.pt")
    expected, _ = read_checkpoint(folder / "full_alignment/variables/variables.index")
    assert list(state) == list(expected) and all(torch.equal(state[key], expected[key]) for key in state)
    digest = meta.pop("sha256")
    assert len(digest) == 64
    assert meta == {
        "source": "tensorflow",
        "network": "full_alignment",
        "heads": 4,
        "channels": 8,
        "conv_padding": "tf_same",
        "checkpoint": "variables.index",
        "by": f"clair3-torch {VERSION}",
        "platform": "hifi",
    }
    assert "conv_padding" not in read_checkpoint(tmp_path / "new" / "hifi" / "pileup.pt")[1]
    assert load_model(tmp_path / "new" / "hifi" / "full_alignment.pt", "full_alignment").conv_padding == "tf_same"


@pytest.mark.parametrize("given", ["pileup", "pileup.index", "full_alignment", "full_alignment/variables/variables"])
def test_ways_to_name_one(folder, tmp_path, given):
    assert convert("--checkpoint", folder / given, "--output", tmp_path / "x.pt") == 0
    assert read_checkpoint(tmp_path / "x.pt")[1]["network"] == given.partition("/")[0].removesuffix(".index")


@pytest.mark.parametrize("kind", ["pileup", "full-alignment"])
def test_one_of_a_folder_into_a_folder(folder, tmp_path, kind):
    assert convert("--checkpoint", folder, "--output", tmp_path, "--model-type", kind) == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"{kind.replace('-', '_')}.pt"]


def test_the_last_saved_of_a_folder(folder, dwell, tmp_path):
    """TensorFlow's file `checkpoint` decides where no file has a name we know."""
    assert convert("--checkpoint", dwell.parent, "--output", tmp_path / "x.pt") == 1
    (dwell.parent / "checkpoint").write_text('model_checkpoint_path: "f"\n')
    assert convert("--checkpoint", dwell.parent, "--output", tmp_path / "x.pt") == 0
    (dwell.parent / "checkpoint").unlink()
    (folder / "checkpoint").write_text('model_checkpoint_path: "pileup"\n')
    assert convert("--checkpoint", folder, "--output", tmp_path, "--model-type=full_alignment") == 0
    (folder / "checkpoint").unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full_alignment.pt", "x.pt"]


def test_prefixes_with_folders(folder, tmp_path):
    options = f"--pileup-prefix={folder / 'pileup.index'}", "--fa-prefix=full_alignment/variables/variables"
    assert convert("--checkpoint-dir", folder, "--output-dir", tmp_path, *options) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pileup.pt", "variables.pt"]


def test_two_networks_are_not_written_to_one_file(folder, tmp_path, capsys):
    (tmp_path / "a" / "variables").mkdir(parents=True)
    for file in folder.glob("pileup.*"):
        shutil.copy(file, tmp_path / "a" / "variables" / file.name.replace("pileup", "variables"))
    prefixes = f"--pileup-prefix={tmp_path / 'a/variables/variables'}", "--fa-prefix=full_alignment/variables/variables"
    output = tmp_path / "output"
    options = "--checkpoint-dir", folder, "--output-dir", output, *prefixes
    refused(capsys, 2, f"{output / 'variables.pt'}: both networks would be written there", *options)
    assert not output.exists()


def test_bare(folder, tmp_path, capsys):
    """What v2.0.2's converter writes: its loader, and ours, then take the padding for symmetric."""
    assert convert("--checkpoint", folder / "full_alignment", "--output", tmp_path / "x.pt", "--bare") == 0
    content = torch.load(tmp_path / "x.pt", weights_only=True)
    assert list(content) == list(random_model("full_alignment", 1).state_dict())
    assert "[WARNING] --bare: give --conv_padding=tf_same" in capsys.readouterr().err


def test_a_folder_of_one_network(dwell, tmp_path, capsys):
    assert convert("--checkpoint-dir", dwell.parent, "--fa-prefix", "f", "--output-dir", tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["f.pt"]
    assert "pileup: there is no pileup network" in capsys.readouterr().err


def test_same_bytes_each_time(folder, tmp_path):
    for name in ("a.pt", "b.pt"):
        assert convert("--checkpoint", folder / "pileup", "--output", tmp_path / name) == 0
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


CONTRADICTIONS = [
    ("pileup", ["--model-type=full_alignment"], "holds a pileup network, not a full-alignment network"),
    ("pileup", ["--add-indel-length"], "has 2 heads, which --add-indel-length=yes contradicts"),
    ("full_alignment", ["--add-indel-length=no"], "has 4 heads, which --add-indel-length=no contradicts"),
    ("full_alignment", ["--enable-dwell-time"], "has 8 channels, which --enable-dwell-time=yes contradicts"),
]


@pytest.mark.parametrize("name, options, words", CONTRADICTIONS)
def test_the_file_wins(folder, tmp_path, capsys, name, options, words):
    refused(capsys, 1, words, "--checkpoint", folder / name, "--output", tmp_path / "x" / "x.pt", *options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options, words",
    [
        (["--fa-add-indel-length=no"], "has 4 heads, which --fa-add-indel-length=no contradicts"),
        (["--pileup-add-indel-length"], "has 2 heads, which --pileup-add-indel-length=yes contradicts"),
        (["--fa-prefix=other"], "other: no TensorFlow checkpoint of that prefix"),
        (["--fa-prefix=pileup"], "holds a pileup network, not a full-alignment network"),
    ],
)
def test_contradictions_in_a_folder(folder, tmp_path, capsys, options, words):
    """Neither network is written, also when only one is at fault."""
    refused(capsys, 1, words, "--checkpoint-dir", folder, "--output-dir", tmp_path / "out", *options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--platform=hifi", "--enable-dwell-time=no"])
def test_dwell_time_is_for_ont(dwell, tmp_path, capsys, option):
    refused(capsys, 1, "has 9 channels", "--checkpoint", dwell, "--output", tmp_path / "x.pt", option)


@pytest.mark.parametrize(
    "options, words",
    [
        ([], "give --checkpoint and --output, or --checkpoint-dir and --output-dir"),
        (["--checkpoint=a"], "give --checkpoint and --output"),
        (["--checkpoint=a", "--output-dir=b"], "give --checkpoint and --output"),
        (["--checkpoint=a", "--output=b", "--output-dir=b"], "give --checkpoint and --output"),
        (["--checkpoint=a", "--output=b.index"], ".index is the name of TensorFlow's files"),
        (["--checkpoint=a", "--output=b", "--fa-add-indel-length"], "the option is --add-indel-length"),
        (["--checkpoint-dir=a", "--output-dir=b", "--model-type=pileup"], "go with --checkpoint"),
    ],
)
def test_usage(capsys, options, words):
    refused(capsys, 2, words, *options)


def test_both_in_a_folder_need_a_word(folder, tmp_path, capsys):
    refused(capsys, 2, "holds both networks; add --model-type", "--checkpoint", folder, "--output", tmp_path / "x.pt")


@pytest.mark.parametrize("name", ["--checkpoint", "--checkpoint-dir"])
def test_nothing_there(tmp_path, capsys, name):
    output = name.replace("checkpoint", "output")
    refused(capsys, 1, "no TensorFlow checkpoint", name, tmp_path / "none", output, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_no_partial_output(folder, tmp_path, capsys):
    """The second network is damaged: the first, sound one is not written either, and what stood there stays."""
    shutil.copytree(folder, tmp_path / "v1")
    shard = tmp_path / "v1/full_alignment/variables/variables.data-00001-of-00002"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 4
    shard.write_bytes(content)
    out = tmp_path / "out"
    out.mkdir()
    (out / "pileup.pt").write_text("an earlier one")
    words = "is damaged (wrong checksum)"
    refused(capsys, 1, words, "--checkpoint-dir", tmp_path / "v1", "--output-dir", out)
    assert [path.read_text() for path in out.iterdir()] == ["an earlier one"]


def test_command_without_tensorflow(folder, tmp_path):
    """The script of v2.0.2's name, from any folder."""
    script = program.ROOT / "scripts" / "convert_tf_checkpoint_to_torch.py"
    command = [sys.executable, script, "--checkpoint", folder / "pileup", "--output", "x.pt"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.pt").exists() and done.stdout == ""
    assert convert_tf.__module__ == "clair3.cli.main"


# runs


def call(config, *more):
    """What a run on a configuration's inputs told, and its records."""
    options = "--threads=2", "--var_pct_full=0.95", "--ref_pct_full=0.95", *more
    process = program.start(config, *options, stderr=subprocess.PIPE)
    words = process.communicate()[1]
    assert process.returncode == 0, words
    with pysam.VariantFile(str(config.output / "merge_output.vcf.gz")) as vcf:
        return words, [str(row) for row in vcf]


@pytest.mark.slow
def test_what_a_resumed_run_takes_up(run_config, folder, tmp_path):
    """Neither a stage of other files nor one of another padding, though at 89 rows that changes no record."""
    model = shutil.copytree(folder, tmp_path / "v1")
    config, seen = replace(run_config, model_dir=model), []

    def taken_up(*more):
        words, rows = call(config, "--resume", *more)
        seen.append(rows)
        return [found > "0" for found in re.findall(r"(\d+) of \d+ parts are taken up", words)]

    assert taken_up() == [False, False]
    assert taken_up() == [True, True]
    assert taken_up("--conv_padding=symmetric") == [True, False]
    shard = model / "pileup.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes() + b"more")  # behind the tensors
    assert taken_up("--conv_padding=symmetric") == [False, True]
    assert all(rows == seen[0] for rows in seen)


@pytest.mark.parametrize("option, used", [("auto", "tf_same"), ("symmetric", "symmetric")])
def test_the_padding_of_a_run(run_config, folder, option, used):
    config = replace(run_config, conv_padding=option)
    index = folder / "full_alignment/variables/variables.index"
    assert load_full_alignment_network(config, index).conv_padding == used


def test_the_padding_of_a_chunk(folder):
    """CallVariantsFromCffi and CallVarBam have the option too, and take TensorFlow files."""
    room = SimpleNamespace(add_arguments=lambda parser: call_chunk.add_arguments(parser, 0.15))
    model = f"--chkpnt_fn={folder / 'full_alignment'}"
    words = ["--bam_fn=b", "--ref_fn=r", "--ctgName=c", "--call_fn=o", model, "--conv_padding=tf_same"]
    chunk = call_chunk.chunk_call(make_parser(room, "").parse_args(words), show_ref=True)
    assert chunk.config.conv_padding == "tf_same"
    assert chunk.model == folder / "full_alignment/variables/variables.index"


@pytest.mark.slow
def test_a_run_on_tensorflow_files(run_config, folder, tmp_path):
    """The same records as with the converted folder, and one line about each file."""

    words, rows = call(replace(run_config, model_dir=folder, output=tmp_path / "tf"))
    told = [line for line in words.splitlines() if "a TensorFlow checkpoint of Clair3 v1, converted in memory" in line]
    assert len(told) == 2 and len(rows) > 10
    assert convert("--checkpoint-dir", folder, "--output-dir", tmp_path / "pt") == 0
    words, converted = call(replace(run_config, model_dir=tmp_path / "pt"))
    assert converted == rows and "TensorFlow" not in words
