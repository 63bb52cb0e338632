"""`python -m clair3 SUBMODULE options`: the same as the installed command `clair3`."""

from clair3.cli.main import main

if __name__ == "__main__":
    main()
