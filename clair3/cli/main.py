"""The installed command: `clair3 SUBMODULE options`, also `python -m clair3`."""

import sys
from importlib import import_module

from clair3.util.process import limit_library_threads, open_standard_streams

COMMANDS = {
    "run": ("clair3.cli.run", "Call variants with the options of run_clair3.sh."),
    "pileup": ("clair3.cli.run:Pileup", "Run the pileup stage alone: all pileup calls, before the final filters."),
    "convert_tf": ("clair3.cli.convert_tf", "Convert TensorFlow checkpoints of Clair3 v1, without TensorFlow."),
    "models": ("clair3.cli.models", "List, describe, check and fetch models."),
    "export": ("clair3.cli.export", "Export networks: TorchScript, ONNX, a model repository of Triton."),
    "CheckEnvs": (
        "clair3.legacy.check_envs:CheckEnvs",
        "Check the inputs and write the plan: contigs, chunks, padded intervals.",
    ),
    "CallVariantsFromCffi": (
        "clair3.legacy.call_chunk:CallVariantsFromCffi",
        "Call one chunk, or one file of candidates.",
    ),
    "CallVariantsFromCffiGPU": ("clair3.legacy.call_chunk:CallVariantsFromCffiGPU", "The same, on GPUs."),
    "CallVarBam": ("clair3.legacy.call_chunk:CallVarBam", "The same, with the options of v2.0.2's scripted pipeline."),
    "CallVariants": ("clair3.legacy.call_tensors:CallVariants", "Call candidates whose tensors come as text."),
    "SortVcf": ("clair3.legacy.sort_vcf:SortVcf", "Sort stdin, or the VCF files of a folder into one."),
    "SelectQual": ("clair3.legacy.select:SelectQual", "Write the quality cut-offs for phasing or full alignment."),
    "SelectHetSnp": ("clair3.legacy.select:SelectHetSnp", "Choose a contig's heterozygous SNPs for phasing."),
    "SelectCandidates": ("clair3.legacy.select:SelectCandidates", "Choose a contig's candidates for full alignment."),
    "MergeVcf": (
        "clair3.legacy.merge_vcf:MergeVcf",
        "Merge pileup and full-alignment calls of a contig, and its gVCF.",
    ),
    "AddBackMissingVariantsInGenotyping": (
        "clair3.legacy.merge_vcf:AddBackMissingVariantsInGenotyping",
        "Put known sites that were not called back into a VCF.",
    ),
    "Train": ("clair3.cli.train", "Train a network from bins of labelled tensors."),
    "CheckExitCode": ("clair3.legacy.sort_vcf:CheckExitCode", "Fail when a job in a log of parallel failed."),
    "GetOverallMetrics": (
        "clair3.legacy.happy_metrics:GetOverallMetrics",
        "Print precision, recall and F1 from hap.py's VCF.",
    ),
    "SwitchZygosityBasedOnSVCalls": (
        "clair3.legacy.postprocess:SwitchZygosityBasedOnSVCalls",
        "Make homozygous SNPs inside a heterozygous deletion heterozygous.",
    ),
    "UnifyRepresentation": (
        "clair3.legacy.truth:UnifyRepresentation",
        "Write the truth of a contig the way the alignments show it.",
    ),
    "AddPairEndAlleleDepth": (
        "clair3.legacy.postprocess:AddPairEndAlleleDepth",
        "Add the number of supporting read pairs (PEAD).",
    ),
    "GetTruth": ("clair3.legacy.truth:GetTruth", "Simplify a truth VCF for training."),
    "SplitExtendBed": (
        "clair3.legacy.truth:SplitExtendBed",
        "Write a contig's intervals of a BED file, widened and joined.",
    ),
    "CreateTrainingTensorDirect": (
        "clair3.legacy.tensors:CreateTrainingTensorDirect",
        "Make a training bin from the reads.",
    ),
    "CreateTrainingTensor": (
        "clair3.legacy.tensors:CreateTrainingTensor",
        "The same, with the options of v2.0.2's older way.",
    ),
    "CreateTensorPileup": ("clair3.legacy.tensors:CreateTensorPileup", "Write pileup tensors as text."),
    "CreateTensorPileupFromCffi": ("clair3.legacy.tensors:CreateTensorPileupFromCffi", "The same."),
    "CreateTensorFullAlignment": (
        "clair3.legacy.tensors:CreateTensorFullAlignment",
        "Write full-alignment tensors as text.",
    ),
    "CreateTensorFullAlignmentFromCffi": ("clair3.legacy.tensors:CreateTensorFullAlignmentFromCffi", "The same."),
    "RealignReads": (
        "clair3.legacy.realign_reads:RealignReads",
        "Realign a contig's short reads to locally assembled haplotypes.",
    ),
    "Tensor2Bin": ("clair3.legacy.tensors:Tensor2Bin", "Label tensors that come as text, and write a training bin."),
    "MergeBin": ("clair3.legacy.tensors:MergeBin", "Write the rows of training bins into one."),
    "subsample": ("clair3.cli.training_data:Subsample", "Write a fraction of the reads, chosen by their names."),
    "phase_truth": ("clair3.cli.training_data:PhaseTruth", "Phase the truth of a contig by the reads, and tag these."),
    "assemble_model": ("clair3.cli.train_workflow:AssembleModel", "Make a model folder of two trained networks."),
    "train_multisample": (
        "clair3.cli.train_workflow:TrainMultisample",
        "Train a model from reads and truths, in one command.",
    ),
    "train_simulated": (
        "clair3.cli.train_workflow:TrainSimulated",
        "Train a model from simulated reads, in one command.",
    ),
    "evaluate": ("clair3.cli.evaluate", "Precision, recall and F1 of calls, against a truth."),
    "inspect": ("clair3.cli.training_data:InspectBins", "Show what training bins hold."),
    "simulate": ("clair3.cli.simulate", "Make genomes with known variants, and reads of them."),
    "profile": ("clair3.cli.simulate:LearnProfile", "Learn an error profile from aligned reads."),
}
"""Name of each sub-command, its module or `module:class`, and what it does; CamelCase names are those of v2.0.2."""

HELP = "Usage: clair3 SUBMODULE [options]; clair3 SUBMODULE --help lists them.\n\n" + "\n".join(
    f"    {name:34} {text}" for name, (_, text) in COMMANDS.items()
)


def main(argv=None):
    """Run one sub-command; without one, list them (spec/cli.md 8)."""
    open_standard_streams()
    limit_library_threads()  # before NumPy and torch are loaded, which loading the command does
    from clair3.cli.arguments import one_line_errors, stop
    from clair3.util.log import setup
    from clair3.version import COMPATIBLE_VERSION, VERSION

    argv = sys.argv[1:] if argv is None else argv
    setup()
    with one_line_errors():
        if not argv or argv[0] in ("-h", "--help"):
            print(HELP)
            return
        if argv[0] in ("-v", "--version"):
            print(f"clair3-torch {VERSION}, compatible with Clair3 v{COMPATIBLE_VERSION}")
            return
        if argv[0] not in COMMANDS:
            stop(f"Submodule {argv[0]} not found.", 1)
    run_command(argv[0], argv[1:], f"clair3 {argv[0]}")


def run_script(name: str) -> None:
    """Run a sub-command that was started by its entry script, e.g. `python preprocess/SortVcf.py`."""
    open_standard_streams()
    limit_library_threads()
    run_command(name, sys.argv[1:], None)


def run_command(name: str, argv: list[str], program: str | None) -> None:
    """Load the module or class of a sub-command and run it; program as in clair3.cli.arguments.run."""
    from clair3.cli.arguments import one_line_errors, run

    where, description = COMMANDS[name]
    module, _, attribute = where.partition(":")
    with one_line_errors():  # the C core is not built, or a library is missing
        command = import_module(module)
    run(getattr(command, attribute) if attribute else command, description, argv, program)


def convert_tf():
    """The installed command `clair3-convert-tf`."""
    main(["convert_tf", *sys.argv[1:]])


if __name__ == "__main__":
    main()
