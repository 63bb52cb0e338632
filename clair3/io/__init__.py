"""Files read and written: VCF, gVCF, BED, FASTA, alignments, bins; complete or refused."""
