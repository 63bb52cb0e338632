"""Every entry script of a checkout starts, from any folder, as workflows of v2.0.2 start it."""

import subprocess
import sys
from pathlib import Path

import pytest

from clair3.cli.main import COMMANDS
from clair3.platforms import PLATFORMS

ROOT = Path(__file__).resolve().parents[2]
COMMAND_SCRIPTS = [*(ROOT / "preprocess").glob("*.py"), *(ROOT / "clair3").glob("[A-Z]*.py")]
PROGRAMS = ("clair3.py", "run_clair3.py", "convert_tf_checkpoint_to_torch.py", "train_multisample.py")


def run(*words, cwd: Path | str = "/") -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, cwd=cwd)


def test_each_sub_command_of_v2_has_a_script():
    assert {path.stem for path in COMMAND_SCRIPTS} == {name for name in COMMANDS if name[0].isupper()}


HELP_OF_EACH = """
import contextlib, io, runpy, sys
path = sys.path[1:]
for script in sys.argv[1:]:
    sys.path[:] = [script.rpartition("/")[0], *path]  # as `python SCRIPT` has it
    sys.argv = [script, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            assert not end.code, script
    assert "--help" in said.getvalue(), script
    print(script)
"""
"""Each script in the same process: most of the time of one alone goes into loading torch."""


def test_each_script_prints_its_help():
    scripts = [*COMMAND_SCRIPTS, *(ROOT / "scripts" / name for name in PROGRAMS)]
    done = run("-c", HELP_OF_EACH, *scripts)
    assert done.stdout.splitlines() == [*map(str, scripts)], done.stderr


@pytest.mark.parametrize("script", ["preprocess/CheckEnvs.py", "scripts/clair3.py"])
def test_a_script_alone_prints_its_help(script):
    done = run(ROOT / script, "--help")
    assert done.returncode == 0 and "--help" in done.stdout, done.stderr


@pytest.mark.parametrize("name, text", [("param_p", "[33 18]"), ("param_f", f"[{len(PLATFORMS)} 8]")])
def test_parameters_of_tensors_are_imported_by_path(name, text):
    """Each prints a number of its own and the number of channels; the first entry of sys.path stays findable."""
    number = "m.WINDOW" if name == "param_p" else "len(m.DEPTH)"
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location({name!r}, {str(ROOT / 'shared' / name) + '.py'!r})\n"
        "m = importlib.util.module_from_spec(spec)\n"
        "before = set(sys.path)\n"
        "spec.loader.exec_module(m)\n"
        f"assert before <= set(sys.path)\nprint([{number}, m.CHANNEL_COUNT])\n"
    )
    done = run("-c", code)
    assert done.stdout.replace(",", "").strip() == text, done.stderr


def test_folders_of_the_same_names_do_no_harm(tmp_path):
    """Python looks for modules in the working directory first; only the package is looked for there."""
    for name in ("shared", "preprocess", "scripts", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('not this one')")
    done = run("-m", "clair3", "CheckEnvs", "--help", cwd=tmp_path)
    assert done.returncode == 0 and "--bam_fn" in done.stdout, done.stderr


@pytest.mark.parametrize("program, words", [("clair3.py", ("--version",)), ("run_clair3.py", ("--version",))])
def test_installed_under_the_names_of_v2(tmp_path, program, words):
    """The scripts lie beside the command `clair3`, whose folder Python searches first for the package clair3."""
    for name in ("clair3.py", "run_clair3.py"):
        (tmp_path / name).write_text((ROOT / "scripts" / name).read_text())
    (tmp_path / "clair3").write_text("import sys\nfrom clair3.cli.main import main\nsys.exit(main())\n")
    for file in (program, "clair3"):
        done = run(tmp_path / file, *words)
        assert done.returncode == 0 and "v2.0.2" in done.stdout, done.stderr


def test_steps_without_a_network_load_no_torch():
    """A training workflow starts some of them for each contig; torch takes longer to load than they work."""
    modules = ("tensors", "truth", "select", "sort_vcf", "merge_vcf", "check_envs", "realign_reads")
    code = f"import sys, {', '.join(f'clair3.legacy.{name}' for name in modules)}\nprint('torch' in sys.modules)"
    done = run("-c", code)
    assert done.stdout.strip() == "False", done.stderr
