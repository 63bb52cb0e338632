"""The cffi build of the C core: setuptools runs it through setup.py, the program never imports it.

htslib comes from the system when pkg-config knows it, otherwise from the pysam wheel, which carries headers and the
shared library; then the extension finds that library by a path relative to itself. The environment variable
CLAIR3_HTSLIB=system or =pysam forces one of the two. CLAIR3_SANITIZE=1 builds with AddressSanitizer and UBSan.
CLAIR3_WERROR=1, which CI sets, makes errors of warnings; a user's compiler may know others than ours.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from cffi import FFI

CSRC = Path(__file__).resolve().parent / "csrc"
FOLDERS = {
    "": ("codes", "arrays", "letters", "parent_watchdog", "block_file"),
    "reads/": (
        *("alignments", "record_places", "reference_window", "alleles", "support", "columns", "pileup"),
        *("long_read_pileup", "haplotag", "full_alignment", "full_reads", "shuffle", "long_read_rows", "gvcf"),
        *("phase_alleles", "haplotypes"),
    ),
    "short_reads/": (
        *("mpileup", "pileup", "cigar", "local_alignment", "assembly", "realigned_read", "window_selector"),
        *("realign_window", "realigner", "candidates", "rows", "full_alignment"),
    ),
    "simulate/": ("read", "align", "bam"),
}
"""Headers of csrc by folder, each behind those whose declarations it uses."""

HEADERS = tuple(f"{folder}{name}.h" for folder, names in FOLDERS.items() for name in names)
SOURCES = tuple(source for name in HEADERS if (CSRC / (source := f"{name.removesuffix('.h')}.c")).exists())


def declarations() -> str:
    """Return the parts of the headers between `cdef: begin` and `cdef: end`, so that each signature is written once."""
    parts = []
    for name in HEADERS:
        text = (CSRC / name).read_text()
        parts += re.findall(r"/\* cdef: begin \*/(.*?)/\* cdef: end \*/", text, re.DOTALL)
    return re.sub(r"#define (\w+) (-?\d+)", r"#define \1 ...", "".join(parts))


def pkg_config(*arguments: str) -> list[str] | None:
    """Return the output of `pkg-config ARGUMENTS htslib`; None without htslib or pkg-config."""
    try:
        result = subprocess.run(["pkg-config", *arguments, "htslib"], capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return shlex.split(result.stdout)


def system_htslib() -> dict | None:
    """Return compiler and linker arguments for the system's htslib; None when it is absent."""
    compile_args, link_args = pkg_config("--cflags"), pkg_config("--libs")
    if compile_args is None or link_args is None:
        return None
    return {"extra_compile_args": compile_args, "extra_link_args": link_args}


def pysam_htslib() -> dict:
    """Return compiler and linker arguments for the htslib in the pysam wheel."""
    import pysam

    library = Path(next(path for path in pysam.get_libraries() if "libchtslib" in path))
    relative = "../../" + library.parent.name  # from clair3/core/ to its neighbour pysam/ in site-packages
    if sys.platform == "darwin":
        link_args = [str(library), f"-Wl,-rpath,@loader_path/{relative}"]
    else:
        link_args = [f"-L{library.parent}", f"-l:{library.name}", f"-Wl,-rpath,$ORIGIN/{relative}"]
    return {"include_dirs": pysam.get_include(), "extra_link_args": link_args}


def choose_htslib() -> dict:
    """Return the compiler and linker arguments of the htslib to use, as `FFI.set_source` takes them."""
    choice = os.environ.get("CLAIR3_HTSLIB", "")
    if choice not in ("", "system", "pysam"):
        raise SystemExit(f"CLAIR3_HTSLIB={choice}: expected system or pysam")
    arguments = system_htslib() if choice != "pysam" else None
    if arguments is None and choice == "system":
        raise SystemExit("CLAIR3_HTSLIB=system, but pkg-config does not find htslib; install libhts-dev (or unset it)")
    return arguments or pysam_htslib()


def make_ffibuilder() -> FFI:
    """Make the cffi builder that setuptools runs."""
    arguments = choose_htslib()
    arguments["include_dirs"] = [str(CSRC), *arguments.get("include_dirs", [])]
    flags = ["-std=c11", "-O3", "-fno-math-errno", "-fno-strict-aliasing"]
    flags += ["-Wall", "-Wextra", "-Wno-unused-parameter"]  # cffi's code leaves parameters unused
    if os.environ.get("CLAIR3_WERROR") == "1":
        flags.append("-Werror")
    if os.environ.get("CLAIR3_SANITIZE") == "1":
        sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
        flags = ["-std=c11", "-O1", "-g", *sanitize]
        arguments["extra_link_args"] = [*arguments.get("extra_link_args", []), *sanitize]
    arguments["extra_compile_args"] = [*flags, *arguments.get("extra_compile_args", [])]
    builder = FFI()
    builder.cdef(declarations())
    arguments["sources"], arguments["depends"] = (
        [os.path.relpath(CSRC / name, CSRC.parents[2]) for name in names] for names in (SOURCES, HEADERS)
    )
    builder.set_source("clair3.core._core", "".join(f'#include "{name}"\n' for name in HEADERS), **arguments)
    return builder


ffibuilder = make_ffibuilder()
