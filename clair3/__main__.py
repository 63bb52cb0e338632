"""The installed command: `clair3 SUBMODULE options`, also `python -m clair3`."""

import sys
from importlib import import_module

from shared.process import limit_library_threads

COMMANDS = {
    "run": ("clair3.pipeline", "Call variants with the options of run_clair3.sh."),
    "pileup": ("clair3.pileup_stage", "Run the pileup stage alone: all pileup calls, before the final filters."),
}
"""Name, room, and what it does."""

HELP = "Usage: clair3 SUBMODULE [options]; clair3 SUBMODULE --help lists them.\n\n" + "\n".join(
    f"    {name:10} {text}" for name, (_, text) in COMMANDS.items()
)


def main(argv=None):
    """Run one submodule; without one, list them (spec/cli.md 8)."""
    limit_library_threads()  # before NumPy and torch are loaded, which the next import does
    from shared.cli import run, stop
    from shared.log import setup
    from shared.version import COMPATIBLE_VERSION, VERSION

    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(HELP)
        return
    if argv[0] in ("-v", "--version"):
        print(f"clair3-torch {VERSION}, compatible with Clair3 v{COMPATIBLE_VERSION}")
        return
    if argv[0] not in COMMANDS:
        setup()
        stop(f"Submodule {argv[0]} not found.", 1)
    module, description = COMMANDS[argv[0]]
    run(import_module(module), description, argv[1:], f"clair3 {argv[0]}")


if __name__ == "__main__":
    main()
