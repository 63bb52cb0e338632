"""The installed command: `clair3 SUBMODULE options`, also `python -m clair3`."""

import sys
from importlib import import_module

from shared.process import limit_library_threads

COMMANDS = {
    "run": ("clair3.pipeline", "Call variants with the options of run_clair3.sh."),
    "pileup": ("clair3.pileup_stage", "Run the pileup stage alone: all pileup calls, before the final filters."),
    "convert_tf": ("clair3.convert_tf", "Convert TensorFlow checkpoints of Clair3 v1, without TensorFlow."),
    "models": ("clair3.model_commands", "List, describe, check and fetch models."),
    "export": ("clair3.export", "Export networks: TorchScript, ONNX, a model repository of Triton."),
    "CheckEnvs": ("preprocess.CheckEnvs", "Check the inputs and write the plan: contigs, chunks, padded intervals."),
    "CallVariantsFromCffi": ("clair3.CallVariantsFromCffi", "Call one chunk, or one file of candidates."),
    "CallVariantsFromCffiGPU": ("clair3.CallVariantsFromCffiGPU", "The same, on GPUs."),
    "CallVarBam": ("clair3.CallVarBam", "The same, with the options of v2.0.2's scripted pipeline."),
    "CallVariants": ("clair3.CallVariants", "Call candidates whose tensors come as text."),
    "SortVcf": ("preprocess.SortVcf", "Sort stdin, or the VCF files of a folder into one."),
    "SelectQual": ("preprocess.SelectQual", "Write the quality cut-offs for phasing or full alignment."),
    "SelectHetSnp": ("preprocess.SelectHetSnp", "Choose a contig's heterozygous SNPs for phasing."),
    "SelectCandidates": ("preprocess.SelectCandidates", "Choose a contig's candidates for full alignment."),
    "MergeVcf": ("preprocess.MergeVcf", "Merge pileup and full-alignment calls of a contig, and its gVCF."),
    "AddBackMissingVariantsInGenotyping": (
        "clair3.AddBackMissingVariantsInGenotyping",
        "Put known sites that were not called back into a VCF.",
    ),
    "Train": ("clair3.Train", "Train a network from bins of labelled tensors."),
    "CheckExitCode": ("preprocess.CheckExitCode", "Fail when a job in a log of parallel failed."),
    "GetOverallMetrics": ("preprocess.GetOverallMetrics", "Print precision, recall and F1 from hap.py's VCF."),
    "SwitchZygosityBasedOnSVCalls": (
        "preprocess.SwitchZygosityBasedOnSVCalls",
        "Make homozygous SNPs inside a heterozygous deletion heterozygous.",
    ),
    "UnifyRepresentation": (
        "preprocess.UnifyRepresentation",
        "Write the truth of a contig the way the alignments show it.",
    ),
    "AddPairEndAlleleDepth": ("preprocess.AddPairEndAlleleDepth", "Add the number of supporting read pairs (PEAD)."),
    "GetTruth": ("preprocess.GetTruth", "Simplify a truth VCF for training."),
    "SplitExtendBed": ("preprocess.SplitExtendBed", "Write a contig's intervals of a BED file, widened and joined."),
    "CreateTrainingTensorDirect": ("preprocess.CreateTrainingTensorDirect", "Make a training bin from the reads."),
    "CreateTrainingTensor": ("preprocess.CreateTrainingTensor", "The same, with the options of v2.0.2's older way."),
    "CreateTensorPileup": ("preprocess.CreateTensorPileup", "Write pileup tensors as text."),
    "CreateTensorPileupFromCffi": ("preprocess.CreateTensorPileupFromCffi", "The same."),
    "CreateTensorFullAlignment": ("preprocess.CreateTensorFullAlignment", "Write full-alignment tensors as text."),
    "CreateTensorFullAlignmentFromCffi": ("preprocess.CreateTensorFullAlignmentFromCffi", "The same."),
    "RealignReads": ("preprocess.RealignReads", "Realign a contig's short reads to locally assembled haplotypes."),
    "Tensor2Bin": ("preprocess.Tensor2Bin", "Label tensors that come as text, and write a training bin."),
    "MergeBin": ("preprocess.MergeBin", "Write the rows of training bins into one."),
    "subsample": ("preprocess.subsampling", "Write a fraction of the reads, chosen by their names."),
    "phase_truth": ("clair3.truth_phasing", "Phase the truth of a contig by the reads, and tag these."),
    "assemble_model": ("clair3.model_assembly", "Make a model folder of two trained networks."),
    "train_multisample": ("clair3.training_road", "Train a model from reads and truths, in one command."),
    "train_simulated": ("clair3.training_road.simulated", "Train a model from simulated reads, in one command."),
    "evaluate": ("clair3.evaluate", "Precision, recall and F1 of calls, against a truth."),
    "inspect": ("clair3.inspection", "Show what training bins hold."),
    "simulate": ("preprocess.simulate.commands", "Make genomes with known variants, and reads of them."),
    "profile": ("preprocess.simulate.learning", "Learn an error profile from aligned reads."),
}
"""Name, room or door, and what it does; CamelCase names are those of v2.0.2."""

HELP = "Usage: clair3 SUBMODULE [options]; clair3 SUBMODULE --help lists them.\n\n" + "\n".join(
    f"    {name:34} {text}" for name, (_, text) in COMMANDS.items()
)


def main(argv=None):
    """Run one submodule; without one, list them (spec/cli.md 8)."""
    limit_library_threads()  # before NumPy and torch are loaded, which the next import does
    from shared.cli import one_line_errors, run, stop
    from shared.log import setup
    from shared.version import COMPATIBLE_VERSION, VERSION

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
        module, description = COMMANDS[argv[0]]
        room = import_module(module)  # fails when the C core is not built, or a library is missing
    run(room, description, argv[1:], f"clair3 {argv[0]}")


def convert_tf():
    """The installed command `clair3-convert-tf`."""
    main(["convert_tf", *sys.argv[1:]])


if __name__ == "__main__":
    main()
