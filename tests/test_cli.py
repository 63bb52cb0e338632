"""Options syntax, error lines, exit codes, log and threads: what every command shares."""

import logging
import os
import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest

from shared import cli, log, process
from shared.errors import ClairError, ConfigError, CoreError, InputError, UsageError


def room(action=lambda args: None):
    def add_arguments(parser):
        cli.add_switch(parser, "--loud", help="a switch")
        cli.add_switch(parser, "--polite", default=True, help="a switch that is on")
        parser.add_argument("--name", type=cli.optional_text)
        parser.add_argument("--number", type=int, default=3)

    return SimpleNamespace(add_arguments=add_arguments, run=action)


def parse(*argv):
    return cli.make_parser(room(), "test").parse_args(argv)


@pytest.mark.parametrize(
    "words, expected",
    [
        ([], False),
        (["--loud"], True),
        (["--lo"], True),
        *[([f"--loud={word}"], True) for word in ("yes", "True", "t", "Y", "1")],
        *[(["--loud", word], False) for word in ("no", "FALSE", "f", "n", "0")],
    ],
)
def test_switch(words, expected):
    assert parse(*words, "--number", "4").loud is expected


def test_switch_that_is_on_can_be_turned_off():
    assert parse().polite and not parse("--polite=no").polite


@pytest.mark.parametrize("words", [["--loud=maybe"], ["--name="], ["--number=x"], ["--unknown"]])
def test_usage_errors_leave_with_2(words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.run(room(), "test", words)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("word, expected", [("EMPTY", None), ("a b", "a b"), ("empty", "empty")])
def test_empty_means_not_given(word, expected):
    assert parse(f"--name={word}").name == expected


def test_run_hands_over_the_command_line(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "argv", ["clair3.py"])
    assert cli.run(room(seen.append), "test", ["--name", "two words"]) is None
    assert seen[0].command_line == "clair3.py --name 'two words'"


@pytest.mark.parametrize(
    "error, code, line",
    [
        (InputError("x.bam: no index"), 1, "[ERROR] x.bam: no index"),
        (ConfigError("--qual=-1 is odd"), 1, "[ERROR] --qual=-1 is odd"),
        (UsageError("not in this version"), 2, "[ERROR] not in this version"),
        (CoreError("two\nlines \x1b[31m"), 1, "[ERROR] two lines  [31m"),
        (OSError(28, "No space left on device", "out.vcf"), 1, "[ERROR] out.vcf: No space left on device"),
        (KeyboardInterrupt(), 130, "[ERROR] interrupted"),
    ],
)
def test_an_error_is_one_line_and_a_code(error, code, line, capsys):
    def fail(args):
        raise error

    with pytest.raises(SystemExit) as stop:
        cli.run(room(fail), "test", [])
    assert stop.value.code == code
    output = capsys.readouterr()
    assert output.err == line + "\n"
    assert output.out == ""


def test_a_defect_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        cli.run(room(lambda args: 1 // 0), "test", [])


def test_reader_of_stdout_may_leave(tmp_path):
    script = tmp_path / "door.py"
    script.write_text(
        "from types import SimpleNamespace\nfrom shared.cli import run\n"
        "def work(args):\n    for i in range(100000): print(i)\n"
        "run(SimpleNamespace(add_arguments=lambda parser: None, run=work), 'test', [])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as child:
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == cli.EXIT_BROKEN_PIPE


@pytest.mark.parametrize(
    "value, limits, message",
    [
        (1.5, (0, 1), "parameter --af=1.5 (maximum:1) out of range"),
        (-1, (0, None), "parameter --af=-1 (minimum:0) out of range"),
        (float("nan"), (0, 1), "parameter --af=nan (minimum:0) out of range"),
        (float("nan"), (None, 1), "parameter --af=nan (maximum:1) out of range"),
    ],
)
def test_range(value, limits, message):
    with pytest.raises(ConfigError) as error:
        cli.check_range("af", value, *limits)
    assert str(error.value) == message


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_range_holds_its_ends(value):
    cli.check_range("af", value, 0, 1)


def test_exit_codes_of_the_errors():
    assert {kind.exit_code for kind in (ClairError, InputError, ConfigError, CoreError)} == {1}
    assert UsageError.exit_code == 2


# Log


def test_log_file_repeats_the_messages(tmp_path, capsys):
    log.setup()
    log.append_to(tmp_path / "run.log")
    logging.getLogger("clair3.anything").warning("odd name %s", "\udcff")
    logging.getLogger("clair3.anything").info("done")
    log.setup()
    logging.getLogger("clair3.anything").info("not in the file")
    assert (tmp_path / "run.log").read_text() == "[WARNING] odd name \\udcff\n[INFO] done\n"
    assert capsys.readouterr().err.endswith("[INFO] done\n[INFO] not in the file\n")


@pytest.mark.parametrize(
    "level, text",
    [
        (logging.ERROR, "\033[31m[ERROR]\033[0m [a] b"),
        (logging.WARNING, "\033[33m[WARNING]\033[0m [a] b"),
        (logging.INFO, "[INFO] [a] b"),
    ],
)
def test_colour_on_a_terminal(level, text):
    record = logging.LogRecord("x", level, "", 0, "[a] %s", ("b",), None)
    assert log.Layout(colour=True).format(record) == text


# Threads


@pytest.mark.parametrize("asked", [0, -3])
def test_threads_must_be_positive(asked):
    with pytest.raises(ConfigError, match=f"Invalid threads input --threads={asked}"):
        process.usable_threads(asked)


@pytest.mark.parametrize(
    "asked, cpus, limit, expected, warnings",
    [
        (4, 8, None, 4, 0),
        (9, 8, None, 8, 1),
        (4, 8, 240, 4, 0),
        (4, 8, 100, 3, 1),
        (9, 8, 29, 1, 2),
    ],
)
def test_threads_are_lowered_with_a_warning(asked, cpus, limit, expected, warnings, monkeypatch, caplog):
    monkeypatch.setattr(process, "cpu_count", lambda: cpus)
    monkeypatch.setattr(process, "process_limit", lambda: limit)
    assert process.usable_threads(asked) == expected
    assert len(caplog.records) == warnings


def test_cpu_count_follows_the_affinity_mask():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinity masks on this system")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert process.cpu_count() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("soft, expected", [(resource.RLIM_INFINITY, None), (900, 900)])
def test_process_limit(soft, expected, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, soft))
    assert process.process_limit() == expected


def test_libraries_get_one_thread(monkeypatch):
    for name in process.THREAD_VARIABLES:
        monkeypatch.setenv(name, "16")
    process.limit_library_threads()
    assert {os.environ[name] for name in process.THREAD_VARIABLES} == {"1"}


def test_help_goes_to_stdout(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.run(room(), "What it does.", ["--help"])
    assert stop.value.code == 0
    assert "What it does." in capsys.readouterr().out
