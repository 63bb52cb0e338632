"""Options syntax, error lines, exit codes, log and threads: what every command shares."""

import logging
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from clair3 import errors
from clair3.cli import arguments
from clair3.errors import ClairError, ConfigError, CoreError, InputError, UsageError, install_command
from clair3.util import log, process


def room(action=lambda args: None):
    def add_arguments(parser):
        arguments.add_switch(parser, "--loud", help="a switch")
        arguments.add_switch(parser, "--polite", default=True, help="a switch that is on")
        parser.add_argument("--name", type=arguments.optional_text)
        parser.add_argument("--number", type=int, default=3)

    return SimpleNamespace(add_arguments=add_arguments, run=action)


def parse(*argv):
    return arguments.make_parser(room(), "test").parse_args(argv)


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
        arguments.run(room(), "test", words)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("word, expected", [("EMPTY", None), ("a b", "a b"), ("empty", "empty")])
def test_empty_means_not_given(word, expected):
    assert parse(f"--name={word}").name == expected


def test_run_hands_over_the_command_line(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "argv", ["clair3.py"])
    assert arguments.run(room(seen.append), "test", ["--name", "two words"]) is None
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
        arguments.run(room(fail), "test", [])
    assert stop.value.code == code
    output = capsys.readouterr()
    assert output.err == line + "\n"
    assert output.out == ""


def test_a_defect_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        arguments.run(room(lambda args: 1 // 0), "test", [])


@pytest.mark.parametrize(
    "error, words",
    [
        (MemoryError(), "not enough memory; give fewer --threads"),
        (RuntimeError("can't start new thread"), "no more threads can be started here"),
    ],
)
def test_what_the_system_refuses_is_a_sentence(capsys, error, words):
    def refuse(args):
        raise error

    with pytest.raises(SystemExit) as stop:
        arguments.run(room(refuse), "test", [])
    assert stop.value.code == 1 and capsys.readouterr().err.startswith(f"[ERROR] {words}")


def test_reader_of_stdout_may_leave(tmp_path):
    script = tmp_path / "command.py"
    script.write_text(
        "from types import SimpleNamespace\nfrom clair3.cli.arguments import run\n"
        "def work(args):\n    for i in range(100000): print(i)\n"
        "run(SimpleNamespace(add_arguments=lambda parser: None, run=work), 'test', [])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as child:
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == arguments.EXIT_BROKEN_PIPE


ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("words", [[], ["--version"], ["run", "--help"]])
def test_nobody_reads_the_help(words):
    """As in `clair3 | true`: no traceback, and a code that a shell knows; argparse does not mind a long text's end."""
    reading, writing = os.pipe()
    os.close(reading)
    found = subprocess.run([sys.executable, "-m", "clair3", *words], stdout=writing, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(writing)
    assert found.stderr == b"" and found.returncode in (arguments.EXIT_BROKEN_PIPE, 0 if "run" in words else None)


@pytest.mark.parametrize("name", ["pysam", "numpy"])
def test_a_library_that_is_not_installed(name, tmp_path):
    """One line that says how to install, also when the program is started from the checkout."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {name!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Without())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(ROOT / "scripts" / "run_clair3.py"), "--help"]
    found = subprocess.run(command, capture_output=True, text=True, env=environment)
    expected = f"[ERROR] {name} is not installed; run {install_command()}\n"
    assert (found.returncode, found.stdout, found.stderr) == (1, "", expected)


def test_a_missing_module_of_ours_is_a_defect():
    def fail(args):
        raise ModuleNotFoundError("No module named 'clair3.nothing'", name="clair3.nothing")

    with pytest.raises(ModuleNotFoundError):
        arguments.run(room(fail), "test", [])


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
        errors.check_range("af", value, *limits)
    assert str(error.value) == message


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_range_holds_its_ends(value):
    errors.check_range("af", value, 0, 1)


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


def test_a_log_on_a_full_disk_ends_the_program_with_one_line(tmp_path, capsys):
    """logging prints a traceback for each message by itself."""
    (tmp_path / "run.log").symlink_to("/dev/full")

    def work(args):
        log.append_to(tmp_path / "run.log")
        with log.stage_log(tmp_path / "log" / "stage.log"):
            logging.getLogger("clair3.anything").info("first words")

    with pytest.raises(SystemExit) as stop:
        arguments.run(room(work), "test", [])
    assert stop.value.code == 1
    message = f"[ERROR] {tmp_path}/run.log: cannot be written (No space left on device); is the disk full?"
    assert capsys.readouterr().err == f"[INFO] first words\n{message}\n"


def test_a_log_is_opened_once(tmp_path):
    log.setup()
    for _ in range(2):
        log.append_to(tmp_path / "run.log")
    logging.getLogger("clair3.anything").info("words")
    log.setup()
    assert (tmp_path / "run.log").read_text() == "[INFO] words\n"


def test_lines_alike_are_few_but_in_the_log_of_the_stage(tmp_path, capsys):
    log.setup()
    log.append_to(tmp_path / "run.log")
    with log.stage_log(tmp_path / "log" / "stage.log"):
        for number in range(3 * log.MAX_REPEATS):
            logging.getLogger("clair3.anything").info("contig %d is done", number)
        logging.getLogger("clair3.anything").info("something else")
    for _ in range(2 * log.MAX_REPEATS):
        logging.getLogger("clair3.anything").info("no stage, no other log")
    log.setup()
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert capsys.readouterr().err.splitlines() == lines
    assert lines[log.MAX_REPEATS + 1 :] == ["[INFO] no stage, no other log"] * 2 * log.MAX_REPEATS
    assert lines[log.MAX_REPEATS - 1 : log.MAX_REPEATS + 1] == [
        f"[INFO] contig {log.MAX_REPEATS - 1} is done (more lines like this are only in the folder log)",
        "[INFO] something else",
    ]
    assert len((tmp_path / "log" / "stage.log").read_text().splitlines()) == 3 * log.MAX_REPEATS + 1


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
    assert log.LevelFormatter(colour=True).format(record) == text


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
        arguments.run(room(), "What it does.", ["--help"])
    assert stop.value.code == 0
    assert "What it does." in capsys.readouterr().out
