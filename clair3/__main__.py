"""The installed command: `clair3 SUBMODULE options`, also `python -m clair3`."""

import sys
from importlib import import_module

from shared.process import limit_library_threads

COMMANDS = {
    "run": ("clair3.pipeline", "Call variants with the options of run_clair3.sh."),
    "pileup": ("clair3.pileup_stage", "Run the pileup stage alone: all pileup calls, before the final filters."),
    "CheckEnvs": ("preprocess.CheckEnvs", "Check the inputs and write the plan: contigs, chunks, padded intervals."),
    "CallVariantsFromCffi": ("clair3.CallVariantsFromCffi", "Call one chunk, or one file of candidates."),
    "CallVarBam": ("clair3.CallVarBam", "The same, with the options of v2.0.2's scripted pipeline."),
    "SortVcf": ("preprocess.SortVcf", "Sort stdin, or the VCF files of a folder into one."),
    "SelectQual": ("preprocess.SelectQual", "Write the quality cut-offs for phasing or full alignment."),
    "SelectHetSnp": ("preprocess.SelectHetSnp", "Choose a contig's heterozygous SNPs for phasing."),
    "SelectCandidates": ("preprocess.SelectCandidates", "Choose a contig's candidates for full alignment."),
    "MergeVcf": ("preprocess.MergeVcf", "Merge pileup and full-alignment calls of a contig, and its gVCF."),
    "AddBackMissingVariantsInGenotyping": (
        "clair3.AddBackMissingVariantsInGenotyping",
        "Put known sites that were not called back into a VCF.",
    ),
    "CheckExitCode": ("preprocess.CheckExitCode", "Fail when a job in a log of parallel failed."),
    "GetOverallMetrics": ("preprocess.GetOverallMetrics", "Print precision, recall and F1 from hap.py's VCF."),
    "SwitchZygosityBasedOnSVCalls": (
        "preprocess.SwitchZygosityBasedOnSVCalls",
        "Make homozygous SNPs inside a heterozygous deletion heterozygous.",
    ),
    "AddPairEndAlleleDepth": ("preprocess.AddPairEndAlleleDepth", "Add the number of supporting read pairs (PEAD)."),
}
"""Name, room or door, and what it does; CamelCase names are those of v2.0.2."""

NOT_YET = (
    "GetTruth",
    "Tensor2Bin",
    "RealignReads",
    "CreateTensorPileup",
    "CreateTensorFullAlignment",
    "CreateTrainingTensor",
    "SplitExtendBed",
    "MergeBin",
    "UnifyRepresentation",
    "CreateTensorPileupFromCffi",
    "CreateTensorFullAlignmentFromCffi",
    "CreateTrainingTensorDirect",
    "CallVariants",
    "Train",
    "CallVariantsFromCffiGPU",
)
"""Names that v2.0.2 knows and this version does not (spec/cli.md 8)."""

HELP = "Usage: clair3 SUBMODULE [options]; clair3 SUBMODULE --help lists them.\n\n" + "\n".join(
    f"    {name:34} {text}" for name, (_, text) in COMMANDS.items()
)


def main(argv=None):
    """Run one submodule; without one, list them (spec/cli.md 8)."""
    limit_library_threads()  # before NumPy and torch are loaded, which the next import does
    from shared.cli import run, stop
    from shared.errors import ClairError
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
        if argv[0] in NOT_YET:
            stop(f"Submodule {argv[0]} is not in this version.", 1)
        stop(f"Submodule {argv[0]} not found.", 1)
    module, description = COMMANDS[argv[0]]
    try:
        room = import_module(module)
    except ClairError as error:  # the C core is not built
        setup()
        stop(str(error), error.exit_code)
    run(room, description, argv[1:], f"clair3 {argv[0]}")


if __name__ == "__main__":
    main()
